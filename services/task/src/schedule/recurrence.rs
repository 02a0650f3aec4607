//! When a task comes again: an RRULE of RFC 5545, read as wall-clock time in a timezone.
//!
//! The rule is worked out without a timezone, on the dates and times that a clock on the wall shows, and each of them
//! then becomes an instant: nine in the morning stays nine in the morning, whatever the zone does to its offset. A
//! time that the zone skips is read with the offset before the gap, one that it has twice is the first of both (RFC
//! 5545, section 3.3.5).

mod occurrences;
mod rule;

use baton_errors::{Error, Result};
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use occurrences::Occurrences;
use rule::{Rule, Until};

/// A rule that counts its times, and began longer before the present, would have to be followed all the way.
const MAX_PAST_START: TimeDelta = TimeDelta::days(366);
/// How far ahead the next time may be. The rarest day that people name, a 29th of February on a Monday, comes after 40
/// years at most. It bounds the work that a rule makes: so many days are looked at, and no more.
pub(crate) const MAX_HORIZON: TimeDelta = TimeDelta::days(50 * 366);
/// The last year that JSON can show.
const LAST_YEAR: i32 = 9999;

/// A rule and the timezone that it is read in.
#[derive(Debug, Clone)]
pub(crate) struct Recurrence {
    rule: Rule,
    zone: Tz,
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
pub(crate) fn parse_timezone(name: &str, field: &str) -> Result<Tz> {
    name.parse().map_err(|_| Error::invalid(field, "must be a time zone of the IANA database, such as Europe/Berlin"))
}

/// A rule as it is kept: in upper case.
pub(crate) fn normalize(rule: &str) -> String {
    rule.trim().to_ascii_uppercase()
}

impl Recurrence {
    /// Reads a rule, as [`normalize`] leaves it.
    ///
    /// # Errors
    /// VALIDATION_FAILED, with a sentence about the first thing that is wrong.
    pub(crate) fn parse(rule: &str, zone: Tz, field: &str) -> Result<Self> {
        let rule = rule.parse().map_err(|why: String| Error::invalid(field, why))?;
        Ok(Self { rule, zone })
    }

    /// Whether tasks can come by this rule from `due_at` on.
    ///
    /// # Errors
    /// VALIDATION_FAILED, with a sentence about what is wrong.
    pub(crate) fn check(&self, due_at: DateTime<Utc>, now: DateTime<Utc>, field: &str) -> Result<()> {
        if due_at < now - MAX_PAST_START {
            return Err(Error::invalid(field, "begins at a due time that is more than a year ago"));
        }
        self.rule.check().map_err(|why| Error::invalid(field, why))?;
        let start = self.local(due_at);
        match self.next(start, start, due_at, &[]) {
            Some(_) => Ok(()),
            None => Err(Error::invalid(field, "has no time in the fifty years after the due time")),
        }
    }

    /// What a clock on the wall shows at this instant, in whole seconds.
    pub(crate) fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        at.with_timezone(&self.zone).naive_local().trunc_subsecs(0)
    }

    /// The first time of the rule after `last` that is in the future of `now` and not `skipped`, if there is one in the
    /// next fifty years. The rule begins at `start`.
    pub(crate) fn next(
        &self,
        start: NaiveDateTime,
        last: NaiveDateTime,
        now: DateTime<Utc>,
        skipped: &[NaiveDateTime],
    ) -> Option<Occurrence> {
        let after = now.max(self.instant(last));
        self.first(start, after, start.max(self.local(after)) + MAX_HORIZON, skipped)
    }

    /// The first time of the rule that is later than an instant and not `skipped`, up to what a clock on the wall shows.
    fn first(
        &self,
        start: NaiveDateTime,
        after: DateTime<Utc>,
        to: NaiveDateTime,
        skipped: &[NaiveDateTime],
    ) -> Option<Occurrence> {
        let skipped: Vec<_> = skipped.iter().map(|local| self.instant(*local)).collect();
        let mut first: Option<Occurrence> = None;
        for time in self.between(start, after, to) {
            // Only a time that its zone skips can be later than one that shows more.
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

    /// What the wall shows at the rule's time that is this instant, if it has such a time. The rule begins at `start`.
    pub(crate) fn falls(&self, start: NaiveDateTime, at: DateTime<Utc>) -> Option<NaiveDateTime> {
        let time = self.between(start, at, self.local(at)).find(|time| time.at == at)?;
        Some(time.local)
    }

    /// The times of the rule that may be this instant or later, up to what a clock on the wall shows, in the order of
    /// what it shows.
    fn between(
        &self,
        start: NaiveDateTime,
        from: DateTime<Utc>,
        to: NaiveDateTime,
    ) -> impl Iterator<Item = Occurrence> {
        let to = match self.rule.until {
            // An hour that comes twice may show more than the end does.
            Some(Until::Instant(until)) => to.min(self.local(until) + TimeDelta::days(1)),
            Some(Until::Day(day)) => day.and_hms_opt(23, 59, 59).map_or(to, |end| to.min(end)),
            None => to,
        };
        // A time that the zone skips is up to a day later than it shows.
        let day = self.local(from).date() - TimeDelta::days(1);
        Occurrences { rule: &self.rule, start }
            .between(start.date().max(day), to.date())
            .take_while(move |local| *local <= to && local.year() <= LAST_YEAR)
            .map(|local| Occurrence { local, at: self.instant(local) })
            .filter(|time| match self.rule.until {
                Some(Until::Instant(until)) => time.at <= until,
                _ => true,
            })
    }

    /// The instant at which a clock on the wall shows this, or would.
    pub(crate) fn instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
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

#[cfg(test)]
mod tests;
