//! The times of an RRULE on the wall, a period of its FREQ after the other: the days of the period that the BYxxx parts
//! let through, each at the rule's times of day (RFC 5545, section 3.3.10).
//!
//! The rrule crate, which reads and checks the rules, follows one that never has a time for a hundred thousand periods,
//! and each rule from its beginning. Here what is looked at is a range of days, and no more.

use chrono::{Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use rrule::{Frequency, NWeekday, RRule, Unvalidated};

/// A rule that begins at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times<'a> {
    pub(super) rule: &'a RRule<Unvalidated>,
    pub(super) start: NaiveDateTime,
}

/// The days of one period, with the last.
type Period = (NaiveDate, NaiveDate);

impl Times<'_> {
    /// The times from the period of the day `from` up to the day `to`, in order. A rule that counts its times is counted
    /// from its beginning.
    pub(super) fn between(self, from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = NaiveDateTime> {
        let from = if self.rule.get_count().is_some() { self.start.date() } else { from };
        let most = self.rule.get_count().and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        let times = self.periods(from, to).flat_map(move |period| self.of_period(period));
        times.skip_while(move |time| *time < self.start).take(most).take_while(move |time| time.date() <= to)
    }

    /// The periods that the rule's INTERVAL does not skip. By the hour, those are days all the same.
    pub(super) fn periods(self, from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = Period> {
        let first = self.nth_period(0);
        let between = |days: i64| u32::try_from(days.max(0)).unwrap_or(u32::MAX);
        let months = |day: NaiveDate| i64::from(day.year()) * 12 + i64::from(day.month0());
        let periods = first.map(|(first, _)| match self.rule.get_freq() {
            Frequency::Yearly => between(i64::from(from.year() - first.year())),
            Frequency::Monthly => between(months(from) - months(first)),
            Frequency::Weekly => between((from - first).num_days() / 7),
            _ => between((from - first).num_days()),
        });
        let nth = periods.unwrap_or_default() / self.interval();
        (nth..).map_while(move |nth| self.nth_period(nth)).take_while(move |(begin, _)| *begin <= to)
    }

    /// Periods from one to the next.
    fn interval(self) -> u32 {
        if self.rule.get_freq() < Frequency::Hourly { u32::from(self.rule.get_interval()).max(1) } else { 1 }
    }

    fn nth_period(self, nth: u32) -> Option<Period> {
        let (nth, day) = (nth.checked_mul(self.interval())?, self.start.date());
        let months = |begin: NaiveDate, length: u32| {
            let begin = begin.with_day(1)?.checked_add_months(Months::new(nth.checked_mul(length)?))?;
            Some((begin, begin.checked_add_months(Months::new(length))?.pred_opt()?))
        };
        match self.rule.get_freq() {
            Frequency::Yearly => months(day.with_ordinal0(0)?, 12),
            Frequency::Monthly => months(day, 1),
            Frequency::Weekly => {
                let begin = self.week_of(day)?.checked_add_days(Days::new(u64::from(nth) * 7))?;
                Some((begin, begin.checked_add_days(Days::new(6))?))
            }
            _ => day.checked_add_days(Days::new(u64::from(nth))).map(|day| (day, day)),
        }
    }

    /// The first day of a day's week.
    fn week_of(self, day: NaiveDate) -> Option<NaiveDate> {
        day.checked_sub_days(Days::new(u64::from(day.weekday().days_since(self.rule.get_week_start()))))
    }

    fn of_period(self, period: Period) -> Vec<NaiveDateTime> {
        let days = period.0.iter_days().take_while(|day| *day <= period.1).filter(|day| self.has(*day, period));
        let times = days.flat_map(|day| self.times_of(day).into_iter().map(move |time| day.and_time(time)));
        let mut times: Vec<_> = times.collect();
        let positions = self.rule.get_by_set_pos();
        if positions.is_empty() {
            return times;
        }
        if self.rule.get_freq() == Frequency::Hourly {
            // Each is the only one of its period, which is the hour.
            let only = positions.iter().any(|at| at.abs() == 1);
            return if only { times } else { Vec::new() };
        }
        let (mut nths, many) = (1.., i32::try_from(times.len()).unwrap_or(i32::MAX));
        times.retain(|_| {
            nths.next().is_some_and(|nth: i32| positions.iter().any(|at| [nth, nth - many - 1].contains(at)))
        });
        times
    }

    /// The times of a day that the rule has, in order.
    fn times_of(self, day: NaiveDate) -> Vec<NaiveTime> {
        let or = |named: &[u8], start: u32| if named.is_empty() { vec![start] } else { sorted(named) };
        let minutes = or(self.rule.get_by_minute(), self.start.minute());
        let seconds = or(self.rule.get_by_second(), self.start.second());
        let hours = if self.rule.get_freq() < Frequency::Hourly {
            or(self.rule.get_by_hour(), self.start.hour())
        } else {
            let named = sorted(self.rule.get_by_hour());
            let midnight = (day - self.start.date()).num_days() * 24 - i64::from(self.start.hour());
            let falls = |hour: u32| (midnight + i64::from(hour)) % i64::from(self.rule.get_interval().max(1)) == 0;
            (0..24).filter(|hour| falls(*hour) && (named.is_empty() || named.contains(hour))).collect()
        };
        let times = hours.iter().flat_map(|hour| minutes.iter().map(move |minute| (*hour, *minute)));
        let times = times.flat_map(|(hour, minute)| seconds.iter().map(move |second| (hour, minute, *second)));
        times.filter_map(|(hour, minute, second)| NaiveTime::from_hms_opt(hour, minute, second)).collect()
    }

    /// Whether the BYxxx parts let a day of the period through. What a rule does not name it has from its beginning.
    fn has(self, day: NaiveDate, period: Period) -> bool {
        let rule = self.rule;
        let (months, days, weekdays) = (rule.get_by_month(), rule.get_by_month_day(), rule.get_by_weekday());
        let (year_days, weeks) = (rule.get_by_year_day(), rule.get_by_week_no());
        if !months.is_empty() && !months.iter().any(|&month| u32::from(month) == day.month()) {
            return false;
        }
        if days.is_empty() && weekdays.is_empty() && year_days.is_empty() && weeks.is_empty() {
            return match rule.get_freq() {
                Frequency::Yearly if months.is_empty() => {
                    (day.month(), day.day()) == (self.start.month(), self.start.day())
                }
                Frequency::Yearly | Frequency::Monthly => day.day() == self.start.day(),
                Frequency::Weekly => day.weekday() == self.start.weekday(),
                _ => true,
            };
        }
        let length = day.num_days_in_month().into();
        let year = if day.leap_year() { 366 } else { 365 };
        (days.is_empty() || any_is(days, day.day().into(), length))
            && (year_days.is_empty() || any_is(year_days, day.ordinal().into(), year))
            && (weeks.is_empty() || self.week(day).is_some_and(|(nth, of)| any_is(weeks, nth, of)))
            && (weekdays.is_empty() || weekdays.iter().any(|named| self.is_weekday(*named, day, period)))
    }

    /// Whether a day is this weekday: which one of its year or month, when that is named.
    fn is_weekday(self, named: NWeekday, day: NaiveDate, period: Period) -> bool {
        match named {
            NWeekday::Every(weekday) => day.weekday() == weekday,
            NWeekday::Nth(nth, weekday) => {
                let of_year = self.rule.get_freq() == Frequency::Yearly && self.rule.get_by_month().is_empty();
                let (before, after) = if of_year {
                    (i64::from(day.ordinal0()), (period.1 - day).num_days())
                } else {
                    (i64::from(day.day0()), i64::from(day.num_days_in_month()) - i64::from(day.day()))
                };
                let nth = i64::from(nth);
                day.weekday() == weekday && (nth == before / 7 + 1 || nth == -(after / 7) - 1)
            }
        }
    }

    /// Which week of its year a day is in, and how many there are: the first is the one with four days in the year.
    fn week(self, day: NaiveDate) -> Option<(i64, i64)> {
        let middle = |day: NaiveDate| self.week_of(day)?.checked_add_days(Days::new(3));
        let fourth = middle(day)?;
        // The 28th of December is always in the last.
        let last = middle(NaiveDate::from_ymd_opt(fourth.year(), 12, 28)?)?;
        let nth = |fourth: NaiveDate| i64::from(fourth.ordinal0()) / 7 + 1;
        Some((nth(fourth), nth(last)))
    }
}

/// Whether one of these numbers, which count from the end when they are negative, is the `nth` of so many.
fn any_is<N: Copy + Into<i64>>(named: &[N], nth: i64, of: i64) -> bool {
    named.iter().any(|&named| [nth, nth - of - 1].contains(&named.into()))
}

fn sorted(named: &[u8]) -> Vec<u32> {
    let mut named: Vec<u32> = named.iter().map(|&one| u32::from(one)).collect();
    named.sort_unstable();
    named.dedup();
    named
}
