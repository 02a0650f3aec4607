//! Settings of an account, and their validation.

use baton_access::TaskVisibility as Visibility;
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

/// Start and end within a day, in minutes since midnight.
pub(crate) type Interval = (u16, u16);

/// Working hours: seven days from Monday, each with its intervals in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct WorkingHours(pub(crate) [Vec<Interval>; 7]);

impl Default for Settings {
    /// The settings of a new account. They equal the column defaults.
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
    /// The contract's names of the fields that differ from `before`.
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

/// Validates a time zone name.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn parse_timezone(name: &str, field: &str) -> Result<String> {
    let zone: Tz = name.parse().map_err(|_| Error::invalid(field, "must be an IANA time zone name"))?;
    Ok(zone.name().to_owned())
}

/// Validates and sorts the intervals of a day.
///
/// # Errors
/// VALIDATION_FAILED when an interval does not end after its start, or two overlap.
pub(crate) fn parse_day(mut intervals: Vec<Interval>, field: &str) -> Result<Vec<Interval>> {
    if intervals.iter().any(|(from, to)| from >= to) {
        return Err(Error::invalid(field, "must not have an interval that does not end after its start"));
    }
    intervals.sort_unstable();
    if intervals.windows(2).any(|two| two[1].0 < two[0].1) {
        return Err(Error::invalid(field, "must not have overlapping intervals"));
    }
    Ok(intervals)
}

/// Parses `HH:MM` into minutes since midnight. The codec has already validated its form.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn parse_minutes(text: &str, field: &str) -> Result<u16> {
    let parsed = text.split_once(':').and_then(|(hour, minute)| {
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour <= 24 && minute < 60).then_some(hour * 60 + minute).filter(|&minutes| minutes <= 24 * 60)
    });
    parsed.ok_or_else(|| Error::invalid(field, "must be HH:MM"))
}

/// Formats minutes since midnight as `HH:MM`.
pub(crate) fn format_minutes(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn minutes_round_trip(n in 0u16..=1440) {
            prop_assert_eq!(parse_minutes(&format_minutes(n), "f").unwrap(), n);
        }

        #[test]
        fn a_valid_day_is_sorted_and_without_overlap(intervals in prop::collection::vec((0u16..1440, 0u16..=1440), 0..8)) {
            let apart = |a: &Interval, b: &Interval| a.1 <= b.0 || b.1 <= a.0;
            let fine = intervals.iter().all(|(from, to)| from < to)
                && intervals.iter().enumerate().all(|(n, a)| intervals[n + 1..].iter().all(|b| apart(a, b)));
            match parse_day(intervals, "f") {
                Ok(day) => {
                    prop_assert!(fine);
                    prop_assert!(day.windows(2).all(|two| two[0].1 <= two[1].0));
                }
                Err(_) => prop_assert!(!fine),
            }
        }
    }

    #[test]
    fn only_iana_time_zones_are_accepted() {
        assert_eq!(parse_timezone("Europe/Berlin", "f").unwrap(), "Europe/Berlin");
        assert_eq!(parse_timezone("UTC", "f").unwrap(), "UTC");
        for name in ["", "Berlin", "Europe/Atlantis", "+01:00", "../../etc/passwd"] {
            assert!(parse_timezone(name, "f").is_err(), "{name}");
        }
    }

    #[test]
    fn malformed_times_are_refused() {
        for text in ["", "24:01", "9:60", "25:00", "ab:cd", "0900"] {
            assert!(parse_minutes(text, "f").is_err(), "{text}");
        }
    }
}
