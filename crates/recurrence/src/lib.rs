//! Recurrence: an RRULE of RFC 5545 in the wall-clock time of a time zone.
//!
//! The rule is expanded on wall-clock dates and times without a time zone, and each occurrence is then converted to an
//! instant: nine in the morning stays nine in the morning, whatever the zone's offset. A time that the zone skips uses
//! the offset before the gap; a time that occurs twice is the first one (RFC 5545, section 3.3.5).

mod occurrences;
mod rule;

use baton_errors::{Error, Result};
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use occurrences::Occurrences;
use rule::{Rule, Until};

/// Maximum age of a rule's start: a rule with COUNT has to be expanded from there.
const MAX_PAST_START: TimeDelta = TimeDelta::days(366);
/// Maximum distance of the next occurrence. The rarest day that rules name, a 29 February on a Monday, occurs within 40
/// years. It bounds the work of a rule: no later day is examined.
pub const MAX_HORIZON: TimeDelta = TimeDelta::days(50 * 366);
/// The last year that RFC 3339 can express.
const LAST_YEAR: i32 = 9999;

/// A rule and its time zone.
#[derive(Debug, Clone)]
pub struct Recurrence {
    rule: Rule,
    zone: Tz,
}

/// An occurrence of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    /// Wall-clock time.
    pub local: NaiveDateTime,
    /// The instant.
    pub at: DateTime<Utc>,
}

/// The time zone with this IANA name.
///
/// # Errors
/// VALIDATION_FAILED.
pub fn parse_timezone(name: &str, field: &str) -> Result<Tz> {
    name.parse().map_err(|_| Error::invalid(field, "must be an IANA time zone name"))
}

/// The stored form of a rule: upper case.
pub fn normalize(rule: &str) -> String {
    rule.trim().to_ascii_uppercase()
}

impl Recurrence {
    /// Parses a normalized rule; see [`normalize`].
    ///
    /// # Errors
    /// VALIDATION_FAILED, with a sentence about the first problem.
    pub fn parse(rule: &str, zone: Tz, field: &str) -> Result<Self> {
        let rule = rule.parse().map_err(|reason: String| Error::invalid(field, reason))?;
        Ok(Self { rule, zone })
    }

    /// Checks that the rule's parts may be combined, and that its times are at least an hour apart.
    ///
    /// # Errors
    /// VALIDATION_FAILED, with a sentence about the problem.
    pub fn check_parts(&self, field: &str) -> Result<()> {
        self.rule.check().map_err(|reason| Error::invalid(field, reason))
    }

    /// Checks that a task due at `due_at` can recur by this rule.
    ///
    /// # Errors
    /// VALIDATION_FAILED, with a sentence about the problem.
    pub fn check(&self, due_at: DateTime<Utc>, now: DateTime<Utc>, field: &str) -> Result<()> {
        if due_at < now - MAX_PAST_START {
            return Err(Error::invalid(field, "must not start at a due time more than a year ago"));
        }
        self.check_parts(field)?;
        let start = self.local(due_at);
        match self.next(start, start, due_at, &[]) {
            Some(_) => Ok(()),
            None => Err(Error::invalid(field, "must have a time in the fifty years after the due time")),
        }
    }

    /// Wall-clock time of an instant, in whole seconds.
    pub fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        at.with_timezone(&self.zone).naive_local().trunc_subsecs(0)
    }

    /// The first occurrence after `last` that is after `now` and not in `skipped`, within fifty years. The rule starts
    /// at `start`.
    pub fn next(
        &self,
        start: NaiveDateTime,
        last: NaiveDateTime,
        now: DateTime<Utc>,
        skipped: &[NaiveDateTime],
    ) -> Option<Occurrence> {
        let after = now.max(self.to_instant(last));
        self.first(start, after, start.max(self.local(after)) + MAX_HORIZON, skipped)
    }

    /// The first occurrence after an instant that is not in `skipped`, up to a wall-clock time.
    fn first(
        &self,
        start: NaiveDateTime,
        after: DateTime<Utc>,
        to: NaiveDateTime,
        skipped: &[NaiveDateTime],
    ) -> Option<Occurrence> {
        let skipped: Vec<_> = skipped.iter().map(|local| self.to_instant(*local)).collect();
        let mut first: Option<Occurrence> = None;
        for time in self.between(start, after, to) {
            // Only an occurrence in a gap can be later than one with a later wall-clock time.
            if first.is_some_and(|first| time.local > self.local(first.at)) {
                break;
            }
            if time.at > after && !skipped.contains(&time.at) && first.is_none_or(|first| time.at < first.at) {
                if self.local(time.at) == time.local {
                    return Some(time);
                }
                first = Some(time);
            }
        }
        first
    }

    /// Wall-clock time of the occurrence at this instant, if there is one. The rule starts at `start`.
    pub fn local_time_of(&self, start: NaiveDateTime, at: DateTime<Utc>) -> Option<NaiveDateTime> {
        let time = self.between(start, at, self.local(at)).find(|time| time.at == at)?;
        Some(time.local)
    }

    /// Candidates at or after this instant, up to a wall-clock time, in wall-clock order.
    fn between(
        &self,
        start: NaiveDateTime,
        from: DateTime<Utc>,
        to: NaiveDateTime,
    ) -> impl Iterator<Item = Occurrence> {
        let to = match self.rule.until {
            // A repeated hour may show later times than the end.
            Some(Until::Instant(until)) => to.min(self.local(until) + TimeDelta::days(1)),
            Some(Until::Day(day)) => day.and_hms_opt(23, 59, 59).map_or(to, |end| to.min(end)),
            None => to,
        };
        // An occurrence in a gap is up to a day later than its wall-clock time.
        let day = self.local(from).date() - TimeDelta::days(1);
        Occurrences { rule: &self.rule, start }
            .between(start.date().max(day), to.date())
            .take_while(move |local| *local <= to && local.year() <= LAST_YEAR)
            .map(|local| Occurrence { local, at: self.to_instant(local) })
            .filter(|time| match self.rule.until {
                Some(Until::Instant(until)) => time.at <= until,
                _ => true,
            })
    }

    /// The instant of a wall-clock time, also of one in a gap.
    pub fn to_instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
        match local.and_local_timezone(self.zone).earliest() {
            Some(time) => time.to_utc(),
            None => {
                // In a gap. No zone has skipped more than a day.
                let before = self.zone.offset_from_utc_datetime(&(local - TimeDelta::days(1))).fix();
                (local - before).and_utc()
            }
        }
    }
}

#[cfg(test)]
mod tests;
