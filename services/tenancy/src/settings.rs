//! How an account wants things done.

use baton_errors::{Error, Result};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// The settings of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) managers_may_reassign: bool,
    pub(crate) rejection_enabled: bool,
    pub(crate) require_second_factor: bool,
    pub(crate) working_hours: WorkingHours,
    pub(crate) timezone: String,
    pub(crate) default_visibility: Visibility,
    pub(crate) ai_enabled: bool,
    pub(crate) analytics_enabled: bool,
    pub(crate) one_running_timer: bool,
}

/// Who sees a task besides those it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    Private,
    Team,
    Account,
}

/// A stretch of a day, in minutes since its beginning.
pub(crate) type Interval = (u16, u16);

/// When people work: seven days, from Monday, each with its stretches in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct WorkingHours(pub(crate) [Vec<Interval>; 7]);

impl Default for Settings {
    /// Those of a new account, as the table has them.
    fn default() -> Self {
        Self {
            managers_may_reassign: false,
            rejection_enabled: true,
            require_second_factor: false,
            working_hours: WorkingHours::default(),
            timezone: "UTC".to_owned(),
            default_visibility: Visibility::Private,
            ai_enabled: true,
            analytics_enabled: false,
            one_running_timer: false,
        }
    }
}

impl Default for WorkingHours {
    /// Monday to Friday, 09:00 to 17:00.
    fn default() -> Self {
        let day = || vec![(9 * 60, 17 * 60)];
        Self([day(), day(), day(), day(), day(), Vec::new(), Vec::new()])
    }
}

impl Settings {
    /// Names of what differs from `before`, as the contract has them.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<&'static str> {
        [
            ("managers_may_reassign", self.managers_may_reassign != before.managers_may_reassign),
            ("rejection_enabled", self.rejection_enabled != before.rejection_enabled),
            ("require_second_factor", self.require_second_factor != before.require_second_factor),
            ("working_hours", self.working_hours != before.working_hours),
            ("timezone", self.timezone != before.timezone),
            ("default_visibility", self.default_visibility != before.default_visibility),
            ("ai_enabled", self.ai_enabled != before.ai_enabled),
            ("analytics_enabled", self.analytics_enabled != before.analytics_enabled),
            ("one_running_timer", self.one_running_timer != before.one_running_timer),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

impl Visibility {
    const ALL: [Self; 3] = [Self::Private, Self::Team, Self::Account];

    /// As it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Team => "team",
            Self::Account => "account",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|visibility| visibility.name() == name)
    }
}

/// The name of a time zone that there is, as the IANA database writes it.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn timezone(name: &str, field: &str) -> Result<String> {
    let zone: Tz = name
        .parse()
        .map_err(|_| Error::invalid(field, "must be a time zone of the IANA database, such as Europe/Berlin"))?;
    Ok(zone.name().to_owned())
}

/// The stretches of a day, put in order.
///
/// # Errors
/// VALIDATION_FAILED when one ends before it begins, or two overlap.
pub(crate) fn day(mut intervals: Vec<Interval>, field: &str) -> Result<Vec<Interval>> {
    if intervals.iter().any(|(from, to)| from >= to) {
        return Err(Error::invalid(field, "has an interval that does not end after its beginning"));
    }
    intervals.sort_unstable();
    if intervals.windows(2).any(|two| two[1].0 < two[0].1) {
        return Err(Error::invalid(field, "has intervals that overlap"));
    }
    Ok(intervals)
}

/// `HH:MM` as minutes. Its form was checked when the message was decoded.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn minutes(text: &str, field: &str) -> Result<u16> {
    let parsed = text.split_once(':').and_then(|(hour, minute)| {
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour <= 24 && minute < 60).then_some(hour * 60 + minute).filter(|&minutes| minutes <= 24 * 60)
    });
    parsed.ok_or_else(|| Error::invalid(field, "must be HH:MM"))
}

/// Minutes as `HH:MM`.
pub(crate) fn clock(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn minutes_are_read_back(n in 0u16..=1440) {
            prop_assert_eq!(minutes(&clock(n), "f").unwrap(), n);
        }

        #[test]
        fn a_day_is_in_order_and_without_overlap(intervals in prop::collection::vec((0u16..1440, 0u16..=1440), 0..8)) {
            let apart = |a: &Interval, b: &Interval| a.1 <= b.0 || b.1 <= a.0;
            let fine = intervals.iter().all(|(from, to)| from < to)
                && intervals.iter().enumerate().all(|(n, a)| intervals[n + 1..].iter().all(|b| apart(a, b)));
            match day(intervals, "f") {
                Ok(day) => {
                    prop_assert!(fine);
                    prop_assert!(day.windows(2).all(|two| two[0].1 <= two[1].0));
                }
                Err(_) => prop_assert!(!fine),
            }
        }
    }

    #[test]
    fn only_zones_that_there_are() {
        assert_eq!(timezone("Europe/Berlin", "f").unwrap(), "Europe/Berlin");
        assert_eq!(timezone("UTC", "f").unwrap(), "UTC");
        for name in ["", "Berlin", "Europe/Atlantis", "+01:00", "../../etc/passwd"] {
            assert!(timezone(name, "f").is_err(), "{name}");
        }
    }

    #[test]
    fn odd_times_are_none() {
        for text in ["", "24:01", "9:60", "25:00", "ab:cd", "0900"] {
            assert!(minutes(text, "f").is_err(), "{text}");
        }
    }
}
