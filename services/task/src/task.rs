//! A task and its lifecycle. Submodules hold what is attached to a task, its changes and its log.

pub(crate) mod action;
pub(crate) mod attachment;
pub(crate) mod bulk;
pub(crate) mod change;
pub(crate) mod comment;
pub(crate) mod custom_field;
pub(crate) mod dependency;
pub(crate) mod event_kind;
pub(crate) mod event_log;
pub(crate) mod fields;
pub(crate) mod lifecycle;
pub(crate) mod mention;
pub(crate) mod rank;
pub(crate) mod subtasks;
pub(crate) mod time_entry;

use baton_errors::{Error, Result};
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::{fields::Fields, lifecycle::Transition};

pub(crate) use self::lifecycle::Status;

/// Pause reason of a task that was running when it was deleted.
const DELETED_REASON: &str = "deleted";

/// Priority, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Priority {
    Low = 1,
    Medium,
    High,
    Urgent,
}

impl Priority {
    pub(crate) const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Urgent];

    /// The stored number, which sorts.
    pub(crate) fn level(self) -> i16 {
        self as i16
    }

    /// The priority with this level.
    pub(crate) fn from_level(level: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.level() == level)
    }

    /// The name that is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }

    /// The priority with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.name() == name)
    }
}

pub(crate) use baton_access::TaskVisibility as Visibility;

/// A task. Serialized, it has the names and values that logs and the contract show; what the first logs lack has the value
/// of a new task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    /// The fields that members write.
    #[serde(flatten)]
    pub(crate) fields: Fields,
    pub(crate) status: Status,
    pub(crate) created_by: Uuid,
    pub(crate) assigned_to: Option<Uuid>,
    pub(crate) assigned_by: Option<Uuid>,
    pub(crate) accepted_at: Option<DateTime<Utc>>,
    /// Worked time in closed intervals, in seconds; see [`Task::worked_seconds`].
    #[serde(default)]
    pub(crate) actual_seconds: i32,
    pub(crate) running_since: Option<DateTime<Utc>>,
    pub(crate) pause_reason: Option<String>,
    pub(crate) version: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) canceled_at: Option<DateTime<Utc>>,
    pub(crate) archived_at: Option<DateTime<Utc>>,
    /// Time of deletion, while the task is in the trash.
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    /// Number of reassignments from one person to another.
    #[serde(default)]
    pub(crate) reassignment_count: i32,
    /// Position in the manual order.
    pub(crate) rank: Option<String>,
    /// RRULE (RFC 5545), in the time zone below.
    pub(crate) recurrence_rule: Option<String>,
    pub(crate) recurrence_timezone: Option<String>,
    /// The series of which this is an instance.
    pub(crate) series_id: Option<Uuid>,
    /// Skipped times of the series, sorted, as wall-clock times in its time zone.
    #[serde(default)]
    pub(crate) skipped_times: Vec<NaiveDateTime>,
}

impl Task {
    /// A new, unassigned task.
    pub(crate) fn new(id: Uuid, account_id: Uuid, created_by: Uuid, fields: Fields, now: DateTime<Utc>) -> Self {
        Self {
            id,
            account_id,
            fields,
            status: Status::Pending,
            created_by,
            assigned_to: None,
            assigned_by: None,
            accepted_at: None,
            actual_seconds: 0,
            running_since: None,
            pause_reason: None,
            version: 1,
            created_at: now,
            updated_at: now,
            started_at: None,
            completed_at: None,
            canceled_at: None,
            archived_at: None,
            deleted_at: None,
            reassignment_count: 0,
            rank: Some(rank::initial(id)),
            recurrence_rule: None,
            recurrence_timezone: None,
            series_id: None,
            skipped_times: Vec::new(),
        }
    }

    /// Starts the work.
    ///
    /// # Errors
    /// TASK_WRONG_STATE, as for all transitions.
    pub(crate) fn start(&mut self, now: DateTime<Utc>) -> Result<()> {
        self.transition(&Transition::START)?;
        self.started_at.get_or_insert(now);
        self.start_timer(now);
        Ok(())
    }

    /// Pauses the work.
    pub(crate) fn pause(&mut self, reason: String, now: DateTime<Utc>) -> Result<()> {
        self.transition(&Transition::PAUSE)?;
        self.pause_work(reason, now);
        Ok(())
    }

    /// Pauses work that is in progress, without checking the transition.
    pub(crate) fn pause_work(&mut self, reason: String, now: DateTime<Utc>) {
        self.status = Status::Paused;
        self.stop_timer(now);
        self.pause_reason = Some(reason);
    }

    /// Resumes the work.
    pub(crate) fn resume(&mut self, now: DateTime<Utc>) -> Result<()> {
        self.transition(&Transition::RESUME)?;
        self.start_timer(now);
        Ok(())
    }

    /// Completes the task.
    pub(crate) fn complete(&mut self, now: DateTime<Utc>) -> Result<()> {
        self.transition(&Transition::COMPLETE)?;
        self.stop_timer(now);
        self.pause_reason = None;
        self.completed_at = Some(now);
        self.accept_implicitly(now);
        Ok(())
    }

    /// Cancels the task.
    pub(crate) fn cancel(&mut self, now: DateTime<Utc>) -> Result<()> {
        self.transition(&Transition::CANCEL)?;
        self.stop_timer(now);
        self.pause_reason = None;
        self.canceled_at = Some(now);
        Ok(())
    }

    /// Archives a closed task.
    pub(crate) fn archive(&mut self, now: DateTime<Utc>) -> Result<()> {
        self.transition(&Transition::ARCHIVE)?;
        self.archived_at = Some(now);
        Ok(())
    }

    /// Makes a closed task pending again. Holder and worked time remain.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        self.transition(&Transition::REOPEN)?;
        (self.completed_at, self.canceled_at, self.archived_at) = (None, None, None);
        Ok(())
    }

    /// Moves the task to the trash and pauses it.
    pub(crate) fn delete(&mut self, now: DateTime<Utc>) {
        if self.status == Status::InProgress {
            self.pause_work(DELETED_REASON.to_owned(), now);
        }
        self.deleted_at = Some(now);
    }

    /// Takes the task out of the trash.
    pub(crate) fn restore(&mut self) {
        self.deleted_at = None;
    }

    /// Whether the task counts as open for its creator's quota.
    pub(crate) fn is_open(&self) -> bool {
        self.status.is_open() && self.deleted_at.is_none()
    }

    /// The person who works on the task: its holder, or its creator while it is unassigned.
    pub(crate) fn worker(&self) -> Uuid {
        self.assigned_to.unwrap_or(self.created_by)
    }

    /// Worked seconds up to `now`, including the running interval. A clock that was set back adds nothing.
    pub(crate) fn worked_seconds(&self, now: DateTime<Utc>) -> i32 {
        let running = self.running_since.map_or(0, |since| (now - since).num_seconds().max(0));
        self.actual_seconds.saturating_add(i32::try_from(running).unwrap_or(i32::MAX))
    }

    /// Whether the task is open and past its due time.
    pub(crate) fn is_overdue(&self, now: DateTime<Utc>) -> bool {
        self.is_open() && self.fields.due_at.is_some_and(|due| due < now)
    }

    fn transition(&mut self, transition: &Transition) -> Result<()> {
        self.status = transition.apply(self.status)?;
        Ok(())
    }

    /// TASK_WRONG_STATE for a transition to `to`.
    pub(crate) fn wrong_state_error(&self, to: Status) -> Error {
        self.status.transition_error(to)
    }

    fn start_timer(&mut self, now: DateTime<Utc>) {
        self.running_since = Some(now);
        self.pause_reason = None;
        self.accept_implicitly(now);
    }

    fn stop_timer(&mut self, now: DateTime<Utc>) {
        self.actual_seconds = self.worked_seconds(now);
        self.running_since = None;
    }

    /// Working on an assigned task accepts it.
    fn accept_implicitly(&mut self, now: DateTime<Utc>) {
        if self.assigned_to.is_some() {
            self.accepted_at.get_or_insert(now);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use baton_errors::Reason;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::task::{fields::tests::fields, lifecycle::tests::TRANSITIONS};

    pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    pub(crate) fn task(created_by: Uuid) -> Task {
        Task::new(Uuid::from_u128(99), Uuid::nil(), created_by, fields("Sweep"), at(0))
    }

    /// A transition and its name.
    pub(crate) type NamedTransition = (&'static str, &'static Transition);

    pub(crate) fn apply_named(task: &mut Task, (name, _): NamedTransition, now: DateTime<Utc>) -> Result<()> {
        match name {
            "start" => task.start(now),
            "pause" => task.pause("lunch".to_owned(), now),
            "resume" => task.resume(now),
            "complete" => task.complete(now),
            "cancel" => task.cancel(now),
            "archive" => task.archive(now),
            "reopen" => task.reopen(),
            name => panic!("a new way, {name}, to be tested"),
        }
    }

    pub(crate) fn any_transition() -> impl Strategy<Value = NamedTransition> {
        prop::sample::select(TRANSITIONS.to_vec())
    }

    proptest! {
        #[test]
        fn only_listed_transitions_change_a_task(transitions in prop::collection::vec((any_transition(), -50i64..500), 0..30)) {
            let mut task = task(Uuid::from_u128(1));
            let (mut now, mut worked) = (at(0), 0);
            for (named, seconds) in transitions {
                now += TimeDelta::seconds(seconds);
                let (transition, before) = (named.1, task.clone());
                if transition.from.contains(&before.status) {
                    prop_assert!(apply_named(&mut task, named, now).is_ok());
                    prop_assert_eq!(task.status, transition.to);
                } else {
                    let error = apply_named(&mut task, named, now).unwrap_err();
                    prop_assert_eq!(error.reason(), Reason::TaskWrongState);
                    prop_assert_eq!(&task, &before);
                }
                // The database checks these as well.
                let archived = task.status == Status::Archived;
                prop_assert_eq!(task.status == Status::InProgress, task.running_since.is_some());
                prop_assert_eq!(task.status == Status::Paused, task.pause_reason.is_some());
                prop_assert_eq!(archived, task.archived_at.is_some());
                prop_assert!(archived || (task.status == Status::Completed) == task.completed_at.is_some());
                prop_assert!(archived || (task.status == Status::Canceled) == task.canceled_at.is_some());
                prop_assert!(!archived || task.completed_at.is_some() != task.canceled_at.is_some());
                // Time never runs backwards, even if the clock does.
                prop_assert!(task.actual_seconds >= worked && task.worked_seconds(now) >= task.actual_seconds);
                worked = task.actual_seconds;
            }
        }

        #[test]
        fn worked_seconds_are_the_sum_of_intervals(stretches in prop::collection::vec((0i64..10_000, 0i64..10_000), 1..10)) {
            let mut task = task(Uuid::from_u128(1));
            let (mut now, mut sum) = (at(0), 0);
            for (index, (work, rest)) in stretches.into_iter().enumerate() {
                if index == 0 { task.start(now) } else { task.resume(now) }.unwrap();
                now += TimeDelta::seconds(work);
                sum += work;
                prop_assert_eq!(i64::from(task.worked_seconds(now)), sum);
                task.pause("lunch".to_owned(), now).unwrap();
                now += TimeDelta::seconds(rest);
                prop_assert_eq!(i64::from(task.worked_seconds(now)), sum);
            }
        }
    }

    #[test]
    fn wrong_state_error_contains_both_states() {
        let mut task = task(Uuid::from_u128(1));
        let status = tonic::Status::from(task.complete(at(1)).unwrap_err());
        let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
        assert_eq!((info.metadata["from"].as_str(), info.metadata["to"].as_str()), ("pending", "completed"));
    }

    #[test]
    fn worked_seconds_saturate() {
        let mut task = task(Uuid::from_u128(1));
        task.start(at(0)).unwrap();
        assert_eq!(task.worked_seconds(at(i64::from(i32::MAX) + 5)), i32::MAX);
        task.actual_seconds = i32::MAX;
        assert_eq!(task.worked_seconds(at(5)), i32::MAX);
    }

    #[test]
    fn overdue_means_past_due_and_open() {
        let mut task = task(Uuid::from_u128(1));
        assert!(!task.is_overdue(at(100)));
        task.fields.due_at = Some(at(10));
        assert!(!task.is_overdue(at(10)) && task.is_overdue(at(11)));
        task.start(at(11)).unwrap();
        task.complete(at(12)).unwrap();
        assert!(!task.is_overdue(at(13)));
    }

    #[test]
    fn deleted_task_is_paused() {
        let mut task = task(Uuid::from_u128(1));
        task.start(at(0)).unwrap();
        task.delete(at(10));
        assert_eq!((task.is_open(), task.worked_seconds(at(100))), (false, 10));
        task.restore();
        assert_eq!(
            (task.is_open(), task.status, task.pause_reason.as_deref()),
            (true, Status::Paused, Some(DELETED_REASON))
        );
    }
}
