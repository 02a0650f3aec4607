//! How long people worked on a task, and how long it lay aside: what the timer notes, and what people may say of it.
//!
//! A task's `actual_seconds` is the sum of its working intervals that are over. It stays so because both change in one
//! transaction that holds the task's row: a stretch of work adds its whole seconds when it ends ([`Task::worked`]), and
//! a correction the difference that it makes ([`Task::correct_time`]).

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    policy::visibility::Actor,
    task::{Status, Task},
};

/// The longest interval that people can enter.
const LONGEST: TimeDelta = TimeDelta::hours(24);

/// What an interval was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IntervalKind {
    Working,
    Paused,
}

impl IntervalKind {
    /// The kind as it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Paused => "paused",
        }
    }

    /// The kind with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Working, Self::Paused].into_iter().find(|kind| kind.name() == name)
    }
}

/// Where an interval comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntrySource {
    Timer,
    Manual,
}

impl EntrySource {
    /// The source as it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::Manual => "manual",
        }
    }

    /// The source with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Timer, Self::Manual].into_iter().find(|source| source.name() == name)
    }
}

/// An interval that is over: from its start to just before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) ended_at: DateTime<Utc>,
}

impl Interval {
    /// One that a person says they worked; `field` is where they said its end.
    ///
    /// # Errors
    /// VALIDATION_FAILED when it is reversed, empty, too long, or not over yet.
    pub(crate) fn said(self, field: &str, now: DateTime<Utc>) -> Result<Self> {
        if self.ended_at <= self.started_at {
            return Err(Error::invalid(field, "is not after the start"));
        }
        if self.ended_at - self.started_at > LONGEST {
            return Err(Error::invalid(field, "is more than 24 hours after the start"));
        }
        if self.ended_at > now {
            return Err(Error::invalid(field, "is in the future"));
        }
        Ok(self)
    }

    /// Its length in whole seconds.
    pub(crate) fn seconds(self) -> i32 {
        whole((self.ended_at - self.started_at).num_seconds())
    }
}

/// Seconds as the contract has them: none below zero, and none that no number holds.
pub(crate) fn whole(seconds: i64) -> i32 {
    i32::try_from(seconds.max(0)).unwrap_or(i32::MAX)
}

/// An interval of a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimeEntry {
    pub(crate) id: Uuid,
    pub(crate) task_id: Uuid,
    /// Whose time it is.
    pub(crate) user_id: Uuid,
    pub(crate) kind: IntervalKind,
    pub(crate) source: EntrySource,
    pub(crate) started_at: DateTime<Utc>,
    /// `None` while it runs.
    pub(crate) ended_at: Option<DateTime<Utc>>,
    pub(crate) note: String,
    pub(crate) created_by: Uuid,
    pub(crate) version: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl TimeEntry {
    /// Its length in whole seconds, up to now while it runs.
    pub(crate) fn seconds(&self, now: DateTime<Utc>) -> i32 {
        Interval { started_at: self.started_at, ended_at: self.ended_at.unwrap_or(now) }.seconds()
    }

    /// The work that can be corrected: not what runs, nor a pause, which both are the timer's.
    ///
    /// # Errors
    /// TIME_ENTRY_FIXED.
    pub(crate) fn work(&self) -> Result<Interval> {
        match (self.kind, self.ended_at) {
            (IntervalKind::Working, Some(ended_at)) => Ok(Interval { started_at: self.started_at, ended_at }),
            _ => Err(Reason::TimeEntryFixed.into()),
        }
    }
}

/// What somebody does to an interval by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CorrectionAction {
    Created,
    Updated,
    Deleted,
}

impl CorrectionAction {
    /// The action as it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }

    /// The action with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Created, Self::Updated, Self::Deleted].into_iter().find(|action| action.name() == name)
    }
}

/// What a correction makes of an interval: what it was, if it was there, and what it is, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Adjustment {
    pub(crate) action: CorrectionAction,
    pub(crate) old: Option<Interval>,
    pub(crate) new: Option<Interval>,
}

impl Adjustment {
    /// An interval is entered.
    pub(crate) fn created(new: Interval) -> Self {
        Self { action: CorrectionAction::Created, old: None, new: Some(new) }
    }

    /// Its times change.
    pub(crate) fn updated(old: Interval, new: Interval) -> Self {
        Self { action: CorrectionAction::Updated, old: Some(old), new: Some(new) }
    }

    /// It is taken out.
    pub(crate) fn deleted(old: Interval) -> Self {
        Self { action: CorrectionAction::Deleted, old: Some(old), new: None }
    }
}

/// What the timer notes when a task changes: the interval that ran ends, and another may begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TimerChange {
    pub(crate) task_id: Uuid,
    pub(crate) at: DateTime<Utc>,
    /// What begins, and whose time it is.
    pub(crate) next: Option<(IntervalKind, Uuid)>,
}

impl TimerChange {
    /// What a change of a task at `now` is to its timer, if anything; and the time of the change, which is never before
    /// the one of the change before. A clock that was set back would have intervals overlap otherwise: work begins
    /// when it says, but not before the task changed last, and ends when it has the seconds that the task counted.
    pub(crate) fn of(before: &Task, after: &mut Task, now: DateTime<Utc>) -> (DateTime<Utc>, Option<Self>) {
        let now = now.max(before.updated_at);
        let next = running(after);
        if next == running(before) {
            return (now, None);
        }
        let mut at = now;
        if let Some(since) = before.running_since {
            let worked = after.actual_seconds.saturating_sub(before.actual_seconds);
            let least = since + TimeDelta::seconds(worked.into());
            at = now.clamp(least, least + TimeDelta::microseconds(999_999));
        }
        if let Some(since) = &mut after.running_since {
            *since = before.updated_at.max(*since);
            at = *since;
        }
        (now.max(at), Some(Self { task_id: after.id, at, next }))
    }
}

/// What a task's time goes to, and whose it is.
fn running(task: &Task) -> Option<(IntervalKind, Uuid)> {
    let kind = match task.status {
        _ if task.deleted_at.is_some() => return None,
        Status::InProgress => IntervalKind::Working,
        Status::Paused => IntervalKind::Paused,
        Status::Pending | Status::Completed | Status::Archived | Status::Canceled => return None,
    };
    Some((kind, task.worker()))
}

impl Task {
    /// Counts work that was entered, corrected or taken out by hand.
    pub(crate) fn correct_time(&mut self, difference: Adjustment) {
        let seconds = |span: Option<Interval>| span.map_or(0, Interval::seconds);
        let without = self.actual_seconds.saturating_sub(seconds(difference.old));
        let corrected = without.saturating_add(seconds(difference.new));
        self.actual_seconds = corrected.max(0);
    }
}

impl Actor<'_> {
    /// They may enter this person's work on the task: their own while the task is theirs to work on, and that of
    /// people they stand above on tasks that they may change.
    ///
    /// # Errors
    /// TASK_CHANGE_NOT_ALLOWED.
    pub(crate) fn can_enter_time(self, task: &Task, person: Uuid) -> Result<()> {
        if person == self.id { self.can_work_on(task) } else { self.can_correct_time(task, person) }
    }

    /// They may correct this person's work on a task that they see: their own, whoever has the task now, and that of
    /// people they stand above on tasks that they may change.
    ///
    /// # Errors
    /// TASK_CHANGE_NOT_ALLOWED.
    pub(crate) fn can_correct_time(self, task: &Task, person: Uuid) -> Result<()> {
        if person == self.id {
            return Ok(());
        }
        if !self.is_account_admin() && !self.manages(person) {
            return Err(Reason::TaskChangeNotAllowed.into());
        }
        self.can_change(task)
    }
}

/// What the intervals of a task sum up to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TimeTotals {
    pub(crate) working_seconds: i64,
    pub(crate) paused_seconds: i64,
    pub(crate) pauses: i64,
    pub(crate) first_started_at: Option<DateTime<Utc>>,
    /// Each person's working seconds and intervals.
    pub(crate) people: Vec<(Uuid, i64, i64)>,
}

#[cfg(test)]
mod tests;
