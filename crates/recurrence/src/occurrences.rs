//! Expands an RRULE in wall-clock time, one period of its FREQ after the other: the days of the period that the BYxxx
//! parts select, each at the rule's times of day (RFC 5545, section 3.3.10).
//!
//! It examines a bounded range of days, so a rule without occurrences ends like any other.

use std::collections::BTreeSet;

use chrono::{Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

use super::rule::{DayOfWeek, Frequency, Rule};

/// Seconds per day.
const DAY: u32 = 86_400;

/// A rule with its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occurrences<'a> {
    pub(super) rule: &'a Rule,
    pub(super) start: NaiveDateTime,
}

/// First and last day of a period.
type Period = (NaiveDate, NaiveDate);

impl Occurrences<'_> {
    /// The occurrences from the period of the day `from` up to the day `to`, in order. A rule with COUNT is counted
    /// from its start.
    pub(super) fn between(self, from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = NaiveDateTime> {
        let from = if self.rule.count.is_some() { self.start.date() } else { from };
        let most = self.rule.count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        let times = self.periods(from, to).flat_map(move |period| self.of_period(period));
        times.skip_while(move |time| *time < self.start).take(most).take_while(move |time| time.date() <= to)
    }

    /// The periods that INTERVAL selects. For frequencies below a day, every day is a period.
    pub(super) fn periods(self, from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = Period> {
        let first = self.nth_period(0);
        let between = |days: i64| u32::try_from(days.max(0)).unwrap_or(u32::MAX);
        let months = |day: NaiveDate| i64::from(day.year()) * 12 + i64::from(day.month0());
        let periods = first.map(|(first, _)| match self.rule.frequency {
            Frequency::Yearly => between(i64::from(from.year() - first.year())),
            Frequency::Monthly => between(months(from) - months(first)),
            Frequency::Weekly => between((from - first).num_days() / 7),
            _ => between((from - first).num_days()),
        });
        let nth = periods.unwrap_or_default() / self.interval();
        (nth..).map_while(move |nth| self.nth_period(nth)).take_while(move |(begin, _)| *begin <= to)
    }

    /// Periods from one occurrence to the next.
    fn interval(self) -> u32 {
        if self.rule.frequency < Frequency::Hourly { self.rule.interval } else { 1 }
    }

    fn nth_period(self, nth: u32) -> Option<Period> {
        let (nth, day) = (nth.checked_mul(self.interval())?, self.start.date());
        let months = |begin: NaiveDate, length: u32| {
            let begin = begin.with_day(1)?.checked_add_months(Months::new(nth.checked_mul(length)?))?;
            Some((begin, begin.checked_add_months(Months::new(length))?.pred_opt()?))
        };
        match self.rule.frequency {
            Frequency::Yearly => months(day.with_ordinal0(0)?, 12),
            Frequency::Monthly => months(day, 1),
            Frequency::Weekly => {
                let begin = self.week_of(day)?.checked_add_days(Days::new(u64::from(nth) * 7))?;
                Some((begin, begin.checked_add_days(Days::new(6))?))
            }
            _ => day.checked_add_days(Days::new(u64::from(nth))).map(|day| (day, day)),
        }
    }

    /// First day of the day's week.
    fn week_of(self, day: NaiveDate) -> Option<NaiveDate> {
        day.checked_sub_days(Days::new(u64::from(day.weekday().days_since(self.rule.week_start))))
    }

    fn of_period(self, period: Period) -> Vec<NaiveDateTime> {
        let positions = &self.rule.positions;
        // `Rule::check` allows one occurrence per period that is shorter than a day.
        let one_each = self.rule.frequency >= Frequency::Hourly;
        if one_each && !positions.is_empty() && !positions.iter().any(|at| at.abs() == 1) {
            return Vec::new();
        }
        let days = period.0.iter_days().take_while(|day| *day <= period.1).filter(|day| self.has(*day, period));
        let times: Vec<_> =
            days.flat_map(|day| self.times_of(day).into_iter().map(move |time| day.and_time(time))).collect();
        if one_each || positions.is_empty() {
            return times;
        }
        let index = |at: i32| match usize::try_from(at) {
            Ok(at) => at.checked_sub(1),
            Err(_) => times.len().checked_sub(usize::try_from(at.unsigned_abs()).ok()?),
        };
        let chosen: BTreeSet<usize> = positions.iter().filter_map(|&at| index(at)).collect();
        chosen.into_iter().filter_map(|index| times.get(index).copied()).collect()
    }

    /// The rule's times on a day, in order.
    fn times_of(self, day: NaiveDate) -> Vec<NaiveTime> {
        let (rule, start) = (self.rule, self.start.time());
        // From the period, else from the BYxxx part, else from the start.
        let each = |named: &[i32], fixed: Option<u32>, start: u32| match fixed {
            Some(fixed) => vec![fixed],
            None if named.is_empty() => vec![start],
            None => named.iter().filter_map(|&one| u32::try_from(one).ok()).collect(),
        };
        let lets_through =
            |named: &[i32], fixed: Option<u32>| named.is_empty() || fixed.is_none_or(|fixed| has(named, fixed));
        let mut times = Vec::new();
        for (hour, minute, second) in self.periods_of(day) {
            let periods = [(&rule.hours, hour), (&rule.minutes, minute), (&rule.seconds, second)];
            if !periods.iter().all(|(named, fixed)| lets_through(named, *fixed)) {
                continue;
            }
            for &hour in &each(&rule.hours, hour, start.hour()) {
                for &minute in &each(&rule.minutes, minute, start.minute()) {
                    let seconds = each(&rule.seconds, second, start.second());
                    times.extend(seconds.iter().filter_map(|&second| NaiveTime::from_hms_opt(hour, minute, second)));
                }
            }
        }
        times
    }

    /// The periods within a day, as hour, minute and second.
    fn periods_of(self, day: NaiveDate) -> Vec<(Option<u32>, Option<u32>, Option<u32>)> {
        let start = self.start.time();
        let (unit, into_unit) = match self.rule.frequency {
            Frequency::Hourly => (3_600, start.num_seconds_from_midnight() % 3_600),
            Frequency::Minutely => (60, start.second()),
            Frequency::Secondly => (1, 0),
            _ => return vec![(None, None, None)],
        };
        let step = i64::from(self.rule.interval) * unit;
        let first_period = self.start - TimeDelta::seconds(into_unit.into());
        let since = (day.and_time(NaiveTime::MIN) - first_period).num_seconds();
        // The first one on this day, in seconds after midnight.
        let mut next = (step - since.rem_euclid(step)) % step;
        let mut periods = Vec::new();
        while let Ok(second @ 0..DAY) = u32::try_from(next) {
            let fixed = |size: u32, unit_of: i64| (unit <= unit_of).then_some(second / size);
            periods.push((fixed(3_600, 3_600), fixed(60, 60).map(|m| m % 60), fixed(1, 1).map(|s| s % 60)));
            next += step;
        }
        periods
    }

    /// Whether the BYxxx parts select a day of the period. A missing part is taken from the start.
    fn has(self, day: NaiveDate, period: Period) -> bool {
        let (rule, start) = (self.rule, self.start);
        if !rule.months.is_empty() && !has(&rule.months, day.month()) {
            return false;
        }
        if !rule.weeks.is_empty() && !self.week(day).is_some_and(|(nth, of)| any_is(&rule.weeks, nth, of)) {
            return false;
        }
        if rule.month_days.is_empty() && rule.weekdays.is_empty() && rule.year_days.is_empty() {
            return match rule.frequency {
                Frequency::Yearly if !rule.weeks.is_empty() => day.weekday() == start.weekday(),
                Frequency::Yearly if rule.months.is_empty() => (day.month(), day.day()) == (start.month(), start.day()),
                Frequency::Yearly | Frequency::Monthly => day.day() == start.day(),
                Frequency::Weekly => day.weekday() == start.weekday(),
                _ => true,
            };
        }
        let length = day.num_days_in_month().into();
        let year = if day.leap_year() { 366 } else { 365 };
        (rule.month_days.is_empty() || any_is(&rule.month_days, day.day().into(), length))
            && (rule.year_days.is_empty() || any_is(&rule.year_days, day.ordinal().into(), year))
            && (rule.weekdays.is_empty() || rule.weekdays.iter().any(|named| self.is_weekday(*named, day, period)))
    }

    /// Whether a day is this weekday, and the nth of its year or month if numbered.
    fn is_weekday(self, named: DayOfWeek, day: NaiveDate, period: Period) -> bool {
        let Some(nth) = named.nth else { return day.weekday() == named.weekday };
        let of_year = self.rule.frequency == Frequency::Yearly && self.rule.months.is_empty();
        let (before, after) = if of_year {
            (i64::from(day.ordinal0()), (period.1 - day).num_days())
        } else {
            (i64::from(day.day0()), i64::from(day.num_days_in_month()) - i64::from(day.day()))
        };
        let nth = i64::from(nth);
        day.weekday() == named.weekday && (nth == before / 7 + 1 || nth == -(after / 7) - 1)
    }

    /// The number of the day's week in its year, and the number of weeks in that year (ISO 8601: the first week has
    /// four days of the year).
    fn week(self, day: NaiveDate) -> Option<(i64, i64)> {
        let middle = |day: NaiveDate| self.week_of(day)?.checked_add_days(Days::new(3));
        let fourth = middle(day)?;
        // 28 December is always in the last week.
        let last = middle(NaiveDate::from_ymd_opt(fourth.year(), 12, 28)?)?;
        let nth = |fourth: NaiveDate| i64::from(fourth.ordinal0()) / 7 + 1;
        Some((nth(fourth), nth(last)))
    }
}

/// Whether one of `named` is `nth` of `of`; negative numbers count from the end.
fn any_is(named: &[i32], nth: i64, of: i64) -> bool {
    named.iter().any(|&named| [nth, nth - of - 1].contains(&named.into()))
}

fn has(named: &[i32], number: u32) -> bool {
    named.iter().any(|&one| u32::try_from(one) == Ok(number))
}
