//! Time tracking: intervals of the timer, and corrections by members.
//!
//! A task's `actual_seconds` is the sum of its closed working intervals. Both change in one transaction that locks the
//! task's row: the timer adds an interval's whole seconds when it ends ([`Task::worked_seconds`]), a correction adds
//! the difference ([`Task::correct_time`]).

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    policy::visibility::Actor,
    task::{Status, Task},
};

/// Maximum duration of an entered interval.
const MAX_DURATION: TimeDelta = TimeDelta::hours(24);

/// The kind of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IntervalKind {
    Working,
    Paused,
}

impl IntervalKind {
    /// The stored name.
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

/// The source of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntrySource {
    Timer,
    Manual,
}

impl EntrySource {
    /// The stored name.
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

/// A closed, half-open interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) ended_at: DateTime<Utc>,
}

impl Interval {
    /// Validates an entered interval. `field` names its end in errors.
    ///
    /// # Errors
    /// VALIDATION_FAILED when it is reversed, empty, too long, or not over yet.
    pub(crate) fn validated(self, field: &str, now: DateTime<Utc>) -> Result<Self> {
        if self.ended_at <= self.started_at {
            return Err(Error::invalid(field, "must be after the start"));
        }
        if self.ended_at - self.started_at > MAX_DURATION {
            return Err(Error::invalid(field, "must be at most 24 hours after the start"));
        }
        if self.ended_at > now {
            return Err(Error::invalid(field, "must not be in the future"));
        }
        Ok(self)
    }

    /// Duration in whole seconds.
    pub(crate) fn seconds(self) -> i32 {
        clamp_seconds((self.ended_at - self.started_at).num_seconds())
    }
}

/// Seconds clamped to the range of the contract: from 0 to `i32::MAX`.
pub(crate) fn clamp_seconds(seconds: i64) -> i32 {
    i32::try_from(seconds.max(0)).unwrap_or(i32::MAX)
}

/// An interval of a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimeEntry {
    pub(crate) id: Uuid,
    pub(crate) task_id: Uuid,
    /// The person whose time it is.
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
    /// Duration in whole seconds, up to `now` while it runs.
    pub(crate) fn seconds(&self, now: DateTime<Utc>) -> i32 {
        Interval { started_at: self.started_at, ended_at: self.ended_at.unwrap_or(now) }.seconds()
    }

    /// The working interval, if it can be corrected. Running and paused intervals belong to the timer.
    ///
    /// # Errors
    /// TIME_ENTRY_FIXED.
    pub(crate) fn correctable(&self) -> Result<Interval> {
        match (self.kind, self.ended_at) {
            (IntervalKind::Working, Some(ended_at)) => Ok(Interval { started_at: self.started_at, ended_at }),
            _ => Err(Reason::TimeEntryFixed.into()),
        }
    }
}

/// A manual correction of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CorrectionAction {
    Created,
    Updated,
    Deleted,
}

impl CorrectionAction {
    /// The stored name.
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

/// An interval before and after a correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Adjustment {
    pub(crate) action: CorrectionAction,
    pub(crate) old: Option<Interval>,
    pub(crate) new: Option<Interval>,
}

impl Adjustment {
    /// The interval is entered.
    pub(crate) fn created(new: Interval) -> Self {
        Self { action: CorrectionAction::Created, old: None, new: Some(new) }
    }

    /// The interval's times change.
    pub(crate) fn updated(old: Interval, new: Interval) -> Self {
        Self { action: CorrectionAction::Updated, old: Some(old), new: Some(new) }
    }

    /// The interval is deleted.
    pub(crate) fn deleted(old: Interval) -> Self {
        Self { action: CorrectionAction::Deleted, old: Some(old), new: None }
    }
}

/// A manual correction of an interval, as stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Correction {
    pub(crate) id: Uuid,
    pub(crate) time_entry_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) action: CorrectionAction,
    pub(crate) actor_id: Uuid,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) old_started_at: Option<DateTime<Utc>>,
    pub(crate) old_ended_at: Option<DateTime<Utc>>,
    pub(crate) new_started_at: Option<DateTime<Utc>>,
    pub(crate) new_ended_at: Option<DateTime<Utc>>,
    pub(crate) actual_seconds: i32,
}

/// The timer's part of a task change: the running interval ends, and another may start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TimerChange {
    pub(crate) task_id: Uuid,
    pub(crate) at: DateTime<Utc>,
    /// Kind and person of the interval that starts.
    pub(crate) next: Option<(IntervalKind, Uuid)>,
}

impl TimerChange {
    /// The timer change that follows from a task change, and the time of the change, which is never before the previous
    /// one. If the clock was set back, an interval starts no earlier than the task's last change, and ends after the
    /// seconds that the task counted, so that intervals do not overlap.
    pub(crate) fn of(before: &Task, after: &mut Task, now: DateTime<Utc>) -> (DateTime<Utc>, Option<Self>) {
        let now = now.max(before.updated_at).max(after.updated_at);
        let next = running_interval(after);
        if next == running_interval(before) {
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

/// Kind and person of the task's running interval.
fn running_interval(task: &Task) -> Option<(IntervalKind, Uuid)> {
    let kind = match task.status {
        _ if task.deleted_at.is_some() => return None,
        Status::InProgress => IntervalKind::Working,
        Status::Paused => IntervalKind::Paused,
        Status::Pending | Status::Completed | Status::Archived | Status::Canceled => return None,
    };
    Some((kind, task.worker()))
}

impl Task {
    /// Applies a correction to `actual_seconds`. The task's own time is not before the end of the corrected interval: an
    /// interval that is started after it does not overlap with it, even if the clock is set back.
    pub(crate) fn correct_time(&mut self, adjustment: Adjustment) {
        let seconds = |span: Option<Interval>| span.map_or(0, Interval::seconds);
        let without = self.actual_seconds.saturating_sub(seconds(adjustment.old));
        let corrected = without.saturating_add(seconds(adjustment.new));
        self.actual_seconds = corrected.max(0);
        if let Some(new) = adjustment.new {
            self.updated_at = self.updated_at.max(new.ended_at);
        }
    }
}

impl Actor<'_> {
    /// Checks that the actor may enter this person's time: their own while they work on the task, and their reports' on
    /// tasks that they may change.
    ///
    /// # Errors
    /// TASK_CHANGE_NOT_ALLOWED.
    pub(crate) fn can_enter_time(self, task: &Task, person: Uuid) -> Result<()> {
        if person == self.id { self.can_work_on(task) } else { self.can_correct_time(task, person) }
    }

    /// Checks that the actor may correct this person's time on a visible task: their own, whoever holds the task now,
    /// and their reports' on tasks that they may change.
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

/// Totals of a task's intervals.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TimeTotals {
    pub(crate) working_seconds: i64,
    pub(crate) paused_seconds: i64,
    pub(crate) pauses: i64,
    pub(crate) first_started_at: Option<DateTime<Utc>>,
    /// Working seconds and number of intervals per person.
    pub(crate) by_user: Vec<(Uuid, i64, i64)>,
}

#[cfg(test)]
mod tests;
