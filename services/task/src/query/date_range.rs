//! Named date ranges: `today`, `this_week`, `next_7_days`.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

/// Start (inclusive) and end (exclusive).
pub(crate) type Range = (DateTime<Utc>, DateTime<Utc>);

/// The unit of a range. Weeks start on Monday (ISO 8601).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// A number of whole calendar units. `first` is relative to the current unit: -1 is the previous one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamedRange {
    unit: Unit,
    first: i32,
    count: i32,
}

impl NamedRange {
    /// Parses a name; `None` when it is unknown. `TaskFilter.due` in the contract documents the grammar.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "today" => return Some(Self { unit: Unit::Day, first: 0, count: 1 }),
            "yesterday" => return Some(Self { unit: Unit::Day, first: -1, count: 1 }),
            "tomorrow" => return Some(Self { unit: Unit::Day, first: 1, count: 1 }),
            _ => {}
        }
        let (which, what) = name.split_once('_')?;
        if let Some((count, units)) = what.split_once('_') {
            let is_number = count.len() <= 3 && !count.starts_with('0') && count.bytes().all(|c| c.is_ascii_digit());
            let count: i32 = count.parse().ok().filter(|_| is_number)?;
            let unit = match units {
                "days" => Unit::Day,
                "weeks" => Unit::Week,
                "months" => Unit::Month,
                _ => return None,
            };
            return match which {
                "last" => Some(Self { unit, first: 1 - count, count }),
                "next" => Some(Self { unit, first: 0, count }),
                _ => None,
            };
        }
        let unit = match what {
            "week" => Unit::Week,
            "month" => Unit::Month,
            "quarter" => Unit::Quarter,
            "year" => Unit::Year,
            _ => return None,
        };
        let first = match which {
            "this" => 0,
            "last" => -1,
            "next" => 1,
            _ => return None,
        };
        Some(Self { unit, first, count: 1 })
    }

    /// Start (inclusive) and end (exclusive) in this time zone at `now`; `None` beyond the calendar.
    pub(crate) fn at(self, now: DateTime<Utc>, timezone: Tz) -> Option<Range> {
        let today = now.with_timezone(&timezone).date_naive();
        let months = |first: u32, each: i32| -> Option<(NaiveDate, NaiveDate)> {
            let begin = NaiveDate::from_ymd_opt(today.year(), first, 1)?;
            Some((months_later(begin, self.first * each)?, months_later(begin, (self.first + self.count) * each)?))
        };
        let days = |begin: NaiveDate, each: i32| -> Option<(NaiveDate, NaiveDate)> {
            Some((days_later(begin, self.first * each)?, days_later(begin, (self.first + self.count) * each)?))
        };
        let (from, to) = match self.unit {
            Unit::Day => days(today, 1),
            Unit::Week => days(days_later(today, -(today.weekday().num_days_from_monday() as i32))?, 7),
            Unit::Month => months(today.month(), 1),
            Unit::Quarter => months(today.month0() / 3 * 3 + 1, 3),
            Unit::Year => months(1, 12),
        }?;
        Some((start_of_day(from, timezone)?, start_of_day(to, timezone)?))
    }
}

/// Start of a day: midnight, or the first valid time where clocks skip it.
pub(crate) fn start_of_day(day: NaiveDate, timezone: Tz) -> Option<DateTime<Utc>> {
    let midnight = day.and_time(NaiveTime::MIN);
    // At most two days: an island that crosses the date line skips a whole one.
    let times = (0..=2 * 24 * 60).map(|minute| midnight.checked_add_signed(TimeDelta::minutes(minute)));
    times
        .map_while(|time| time)
        .find_map(|time| time.and_local_timezone(timezone).earliest())
        .map(|begin| begin.to_utc())
}

fn days_later(day: NaiveDate, days: i32) -> Option<NaiveDate> {
    let by = Days::new(days.unsigned_abs().into());
    if days < 0 { day.checked_sub_days(by) } else { day.checked_add_days(by) }
}

fn months_later(day: NaiveDate, months: i32) -> Option<NaiveDate> {
    let by = Months::new(months.unsigned_abs());
    if months < 0 { day.checked_sub_months(by) } else { day.checked_add_months(by) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    fn range(name: &str, now: &str, timezone: Tz) -> (String, String) {
        let (from, to) = NamedRange::parse(name).unwrap().at(at(now), timezone).unwrap();
        let formatted = |time: DateTime<Utc>| time.format("%Y-%m-%dT%H:%MZ").to_string();
        (formatted(from), formatted(to))
    }

    #[test]
    fn ranges_are_whole_calendar_days() {
        // A Wednesday.
        let now = "2026-02-11T12:00:00Z";
        for (name, from, to) in [
            ("today", "2026-02-11", "2026-02-12"),
            ("yesterday", "2026-02-10", "2026-02-11"),
            ("tomorrow", "2026-02-12", "2026-02-13"),
            ("this_week", "2026-02-09", "2026-02-16"),
            ("last_week", "2026-02-02", "2026-02-09"),
            ("next_week", "2026-02-16", "2026-02-23"),
            ("this_month", "2026-02-01", "2026-03-01"),
            ("last_month", "2026-01-01", "2026-02-01"),
            ("next_month", "2026-03-01", "2026-04-01"),
            ("this_quarter", "2026-01-01", "2026-04-01"),
            ("last_quarter", "2025-10-01", "2026-01-01"),
            ("this_year", "2026-01-01", "2027-01-01"),
            ("next_year", "2027-01-01", "2028-01-01"),
            ("last_7_days", "2026-02-05", "2026-02-12"),
            ("next_7_days", "2026-02-11", "2026-02-18"),
            ("next_1_days", "2026-02-11", "2026-02-12"),
            ("last_2_weeks", "2026-02-02", "2026-02-16"),
            ("next_14_months", "2026-02-01", "2027-04-01"),
        ] {
            let expected = (format!("{from}T00:00Z"), format!("{to}T00:00Z"));
            assert_eq!(range(name, now, Tz::UTC), expected, "{name}");
        }
    }

    #[test]
    fn days_follow_the_timezone_across_clock_changes() {
        let expect = |name, now, timezone, from: &str, to: &str| {
            assert_eq!(range(name, now, timezone), (from.to_owned(), to.to_owned()), "{name} {timezone}");
        };
        // A day of 23 hours and one of 25.
        expect("today", "2026-03-29T10:00:00Z", Tz::Europe__Berlin, "2026-03-28T23:00Z", "2026-03-29T22:00Z");
        expect("today", "2026-10-25T10:00:00Z", Tz::Europe__Berlin, "2026-10-24T22:00Z", "2026-10-25T23:00Z");
        expect("this_week", "2026-03-29T10:00:00Z", Tz::Europe__Berlin, "2026-03-22T23:00Z", "2026-03-29T22:00Z");
        // Already the next day there.
        expect("today", "2026-02-11T12:00:00Z", Tz::Pacific__Auckland, "2026-02-11T11:00Z", "2026-02-12T11:00Z");
        // Clocks skip midnight: the day starts at one.
        expect("today", "2025-04-25T12:00:00Z", Tz::Africa__Cairo, "2025-04-24T22:00Z", "2025-04-25T21:00Z");
        // Samoa skipped 30 December 2011.
        expect("tomorrow", "2011-12-29T12:00:00Z", Tz::Pacific__Apia, "2011-12-30T10:00Z", "2011-12-30T10:00Z");
    }

    #[test]
    fn unknown_names_are_none() {
        for name in [
            "",
            "_",
            "Today",
            "today ",
            "now",
            "this",
            "this_",
            "this_day",
            "this_weeks",
            "last_0_days",
            "last_07_days",
            "last_1000_days",
            "last_-1_days",
            "last_+1_days",
            "last_7_day",
            "next_7_years",
            "this_7_days",
            "last_7_days_",
            "last__days",
            "überm_week",
            "next_٣_days",
        ] {
            assert_eq!(NamedRange::parse(name), None, "{name}");
        }
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("today".to_owned()),
            "(this|last|next)_(week|month|quarter|year)",
            "(last|next)_[1-9][0-9]{0,2}_(days|weeks|months)",
        ]
    }

    proptest! {
        #[test]
        fn every_named_range_ends_after_it_starts(
            name in name(), seconds in 0_i64..4_000_000_000, zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
        ) {
            let now = DateTime::from_timestamp(seconds, 0).unwrap();
            let (from, to) = NamedRange::parse(&name).unwrap().at(now, zone).unwrap();
            prop_assert!(from < to);
            if !["last_week", "last_month", "last_quarter", "last_year"].contains(&&*name)
                && !["next_week", "next_month", "next_quarter", "next_year"].contains(&&*name)
            {
                prop_assert!(from <= now && now < to, "{} of {}: {} to {}", name, now, from, to);
            }
        }

        #[test]
        fn adjacent_ranges_leave_no_gap(
            unit in "(week|month|quarter|year)", seconds in 0_i64..4_000_000_000,
            zone in prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec()),
        ) {
            let now = DateTime::from_timestamp(seconds, 0).unwrap();
            let at = |which: &str| NamedRange::parse(&format!("{which}_{unit}")).unwrap().at(now, zone).unwrap();
            prop_assert_eq!(at("last").1, at("this").0);
            prop_assert_eq!(at("this").1, at("next").0);
        }

        #[test]
        fn contract_and_parser_accept_the_same_names(
            name in prop_oneof![name(), "[a-z0-9_]{0,16}", "(this|last|next|in)_[0-9]{0,4}_?(day|days|week|weeks|month|year)", ".{0,8}"],
        ) {
            use baton_proto::baton::task::v1::{ListTasksRequest, TaskFilter};
            use prost_protovalidate::Validate as _;
            let filter = TaskFilter { due: Some(name.clone()), ..Default::default() };
            let request = ListTasksRequest { filter: Some(filter), page: None };
            prop_assert_eq!(request.validate().is_ok(), NamedRange::parse(&name).is_some(), "{}", name);
        }
    }
}
