//! When a task comes again: an RRULE of RFC 5545, read as wall-clock time in a timezone.
//!
//! The rule is worked out without a timezone, on the dates and times that a clock on the wall shows, and each of them
//! then becomes an instant: nine in the morning stays nine in the morning, whatever the zone does to its offset. A
//! time that the zone skips is read with the offset before the gap, one that it has twice is the first of both (RFC
//! 5545, section 3.3.5).

mod times;

use baton_errors::{Error, Result};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use rrule::{Frequency, NWeekday, RRule, Unvalidated};
use times::Times;

/// A rule that counts its times, and began longer before the present, would have to be followed all the way.
const LONGEST_BEGUN: TimeDelta = TimeDelta::days(366);
/// How far ahead the next time may be. The rarest day that people name, a 29th of February on a Monday, comes after 40
/// years at most. It bounds the work that a rule makes: so many days are looked at, and no more.
const FURTHEST: TimeDelta = TimeDelta::days(50 * 366);
/// The last year that JSON can show.
const LAST_YEAR: i32 = 9999;

/// A rule and the timezone that it is read in.
#[derive(Debug, Clone)]
pub(crate) struct Recurrence {
    rule: RRule<Unvalidated>,
    until: Option<Until>,
    zone: Tz,
}

/// The last time that a rule may give.
#[derive(Debug, Clone, Copy)]
enum Until {
    Instant(DateTime<Utc>),
    Day(NaiveDate),
}

/// One of the times of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occurrence {
    /// What a clock on the wall shows.
    pub(crate) local: NaiveDateTime,
    /// The instant.
    pub(crate) at: DateTime<Utc>,
}

/// The zone with this IANA name.
///
/// # Errors
/// VALIDATION_FAILED.
pub(crate) fn zone(name: &str, field: &str) -> Result<Tz> {
    name.parse().map_err(|_| Error::invalid(field, "must be a time zone of the IANA database, such as Europe/Berlin"))
}

/// A rule as it is kept: in upper case.
pub(crate) fn tidy(rule: &str) -> String {
    rule.trim().to_ascii_uppercase()
}

impl Recurrence {
    /// Reads a rule, as [`tidy`] leaves it.
    ///
    /// # Errors
    /// VALIDATION_FAILED, with a sentence about the first thing that is wrong.
    pub(crate) fn parse(rule: &str, zone: Tz, field: &str) -> Result<Self> {
        let refused = |why: &str| Error::invalid(field, why);
        // Neither a line more, such as a DTSTART, nor anything else that an RRULE's value does not have.
        if !rule.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b";=,+-".contains(&b)) {
            return Err(refused("is not the value of an RRULE (RFC 5545): FREQ=WEEKLY;BYDAY=MO"));
        }
        let (until, rest): (Vec<&str>, Vec<&str>) = rule.split(';').partition(|part| part.starts_with("UNTIL="));
        let until = match until.as_slice() {
            [] => None,
            [until] => Some(Until::parse(&until["UNTIL=".len()..]).ok_or_else(|| {
                refused("has an UNTIL that is neither a date (20301231) nor a time in UTC (20301231T170000Z)")
            })?),
            _ => return Err(refused("has more than one UNTIL")),
        };
        let rule: RRule<Unvalidated> =
            rest.join(";").parse().map_err(|error| refused(&format!("is not an RRULE (RFC 5545): {error}")))?;
        if until.is_some() && rule.get_count().is_some() {
            return Err(refused("has both UNTIL and COUNT"));
        }
        if rule.get_interval() == 0 || rule.get_count() == Some(0) {
            return Err(refused("has an INTERVAL or a COUNT of 0"));
        }
        let too_often =
            rule.get_freq() > Frequency::Hourly || rule.get_by_minute().len() > 1 || rule.get_by_second().len() > 1;
        if too_often {
            return Err(refused("has times that are less than an hour apart"));
        }
        let counts_days = rule.get_by_weekday().iter().any(|day| matches!(day, NWeekday::Nth(..)));
        if counts_days && rule.get_freq() > Frequency::Monthly {
            return Err(refused("has a number in BYDAY, which only MONTHLY and YEARLY have"));
        }
        Ok(Self { rule, until, zone })
    }

    /// Whether tasks can come by this rule from `due_at` on.
    ///
    /// # Errors
    /// VALIDATION_FAILED, with a sentence about what is wrong.
    pub(crate) fn check(&self, due_at: DateTime<Utc>, now: DateTime<Utc>, field: &str) -> Result<()> {
        if due_at < now - LONGEST_BEGUN {
            return Err(Error::invalid(field, "begins at a due time that is more than a year ago"));
        }
        let start = self.local(due_at);
        let valid = self.rule.clone().validate(rrule::Tz::UTC.from_utc_datetime(&start));
        valid.map_err(|why| Error::invalid(field, format!("is not an RRULE (RFC 5545): {why}")))?;
        match self.next(start, start, due_at) {
            Some(_) => Ok(()),
            None => Err(Error::invalid(field, "has no time in the fifty years after the due time")),
        }
    }

    /// What a clock on the wall shows at this instant, in whole seconds.
    pub(crate) fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        at.with_timezone(&self.zone).naive_local().trunc_subsecs(0)
    }

    /// The first time of the rule after `last` that is in the future of `now`, if there is one in the next fifty years.
    /// The rule begins at `start`.
    pub(crate) fn next(&self, start: NaiveDateTime, last: NaiveDateTime, now: DateTime<Utc>) -> Option<Occurrence> {
        let after = now.max(self.instant(last));
        let day = self.local(after).date();
        // A time that the zone skips is up to a day later than it shows.
        let from = start.date().max(day - TimeDelta::days(1));
        let times = Times { rule: &self.rule, start }.between(from, start.date().max(day) + FURTHEST);
        times
            .take_while(|local| local.year() <= LAST_YEAR)
            .filter(|&local| local > last)
            .map(|local| Occurrence { local, at: self.instant(local) })
            .take_while(|time| self.until.is_none_or(|until| until.allows(*time)))
            .find(|time| time.at > after)
    }

    fn instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
        match local.and_local_timezone(self.zone).earliest() {
            Some(time) => time.to_utc(),
            None => {
                // A gap: no zone has skipped more than a day.
                let before = self.zone.offset_from_utc_datetime(&(local - TimeDelta::days(1))).fix();
                (local - before).and_utc()
            }
        }
    }
}

impl Until {
    fn parse(text: &str) -> Option<Self> {
        let time = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").map(|time| Self::Instant(time.and_utc()));
        let day = || NaiveDate::parse_from_str(text, "%Y%m%d").map(Self::Day);
        time.or_else(|_| day()).ok()
    }

    fn allows(self, time: Occurrence) -> bool {
        match self {
            Self::Instant(until) => time.at <= until,
            Self::Day(until) => time.local.date() <= until,
        }
    }
}

#[cfg(test)]
mod tests;
