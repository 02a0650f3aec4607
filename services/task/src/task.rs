//! A task: the states of its work, and the time that it took.

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::fields::Fields;

/// Where the work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    Pending,
    InProgress,
    Paused,
    Completed,
}

impl Status {
    /// All states, in the order of the work.
    pub(crate) const ALL: [Self; 4] = [Self::Pending, Self::InProgress, Self::Paused, Self::Completed];

    /// The state as it is stored and shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Paused => "paused",
            Self::Completed => "completed",
        }
    }

    /// The state with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// How much a task matters, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Priority {
    Low = 1,
    Medium,
    High,
    Urgent,
}

impl Priority {
    pub(crate) const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Urgent];

    /// The priority as it is stored: a number that sorts.
    pub(crate) fn level(self) -> i16 {
        self as i16
    }

    /// The priority with this level.
    pub(crate) fn from_level(level: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.level() == level)
    }

    /// The priority as it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
}

/// Who sees a task besides those it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Visibility {
    Private,
    Team,
    Account,
}

impl Visibility {
    pub(crate) const ALL: [Self; 3] = [Self::Private, Self::Team, Self::Account];

    /// The visibility as it is stored and shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Team => "team",
            Self::Account => "account",
        }
    }

    /// The visibility with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|visibility| visibility.name() == name)
    }
}

/// A piece of work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    /// What people write into it.
    pub(crate) fields: Fields,
    pub(crate) status: Status,
    pub(crate) created_by: Uuid,
    pub(crate) assigned_to: Option<Uuid>,
    pub(crate) assigned_by: Option<Uuid>,
    pub(crate) accepted_at: Option<DateTime<Utc>>,
    /// Time worked in stretches that are over; see [`Task::worked`].
    pub(crate) actual_seconds: i32,
    pub(crate) running_since: Option<DateTime<Utc>>,
    pub(crate) pause_reason: Option<String>,
    pub(crate) version: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
}

impl Task {
    /// A new task, held by nobody.
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
        }
    }

    /// Begins the work.
    ///
    /// # Errors
    /// TASK_WRONG_STATE, as for pausing, resuming and completing.
    pub(crate) fn start(&mut self, now: DateTime<Utc>) -> Result<()> {
        self.leave(&[Status::Pending], Status::InProgress)?;
        self.started_at.get_or_insert(now);
        self.run(now);
        Ok(())
    }

    /// Lays the work aside.
    pub(crate) fn pause(&mut self, reason: String, now: DateTime<Utc>) -> Result<()> {
        self.leave(&[Status::InProgress], Status::Paused)?;
        self.lay_aside(reason, now);
        Ok(())
    }

    /// Pauses work that is in progress.
    pub(crate) fn lay_aside(&mut self, reason: String, now: DateTime<Utc>) {
        self.status = Status::Paused;
        self.stop(now);
        self.pause_reason = Some(reason);
    }

    /// Goes on with the work.
    pub(crate) fn resume(&mut self, now: DateTime<Utc>) -> Result<()> {
        self.leave(&[Status::Paused], Status::InProgress)?;
        self.run(now);
        Ok(())
    }

    /// Ends the work.
    pub(crate) fn complete(&mut self, now: DateTime<Utc>) -> Result<()> {
        self.leave(&[Status::InProgress, Status::Paused], Status::Completed)?;
        self.stop(now);
        self.pause_reason = None;
        self.completed_at = Some(now);
        self.take_on(now);
        Ok(())
    }

    /// Whether there is still work to do: what the quota of its creator counts.
    pub(crate) fn is_open(&self) -> bool {
        self.status != Status::Completed
    }

    /// Whose work it is: the holder's, or the creator's while nobody holds it.
    pub(crate) fn worker(&self) -> Uuid {
        self.assigned_to.unwrap_or(self.created_by)
    }

    /// Seconds worked, the running stretch included. A clock that was set back adds nothing.
    pub(crate) fn worked(&self, now: DateTime<Utc>) -> i32 {
        let running = self.running_since.map_or(0, |since| (now - since).num_seconds().max(0));
        self.actual_seconds.saturating_add(i32::try_from(running).unwrap_or(i32::MAX))
    }

    /// Whether it is late: past its due time and not done.
    pub(crate) fn overdue(&self, now: DateTime<Utc>) -> bool {
        self.status != Status::Completed && self.fields.due_at.is_some_and(|due| due < now)
    }

    /// Names and values of what differs from `before`, as the contract shows them.
    pub(crate) fn changes_since(&self, before: &Self) -> Map<String, Value> {
        self.shown()
            .into_iter()
            .zip(before.shown())
            .filter(|(now, before)| now != before)
            .map(|(now, _)| own(now))
            .collect()
    }

    /// Names and values of what a new task has.
    pub(crate) fn first_values(&self) -> Map<String, Value> {
        let empty = [Value::Null, json!(""), json!([]), json!({}), json!(0)];
        self.shown().into_iter().filter(|(_, value)| !empty.contains(value)).map(own).collect()
    }

    /// What can change and is shown. Not what follows from it, such as the version; and not the reason of a
    /// pause, which timelines keep by itself, so that it can be erased.
    fn shown(&self) -> [(&'static str, Value); 16] {
        let time = |time: Option<DateTime<Utc>>| json!(time.map(|t| t.to_rfc3339_opts(SecondsFormat::AutoSi, true)));
        let fields = &self.fields;
        [
            ("title", json!(fields.title)),
            ("description", json!(fields.description)),
            ("priority", json!(fields.priority.name())),
            ("due_at", time(fields.due_at)),
            ("tags", json!(fields.tags)),
            ("visibility", json!(fields.visibility.name())),
            ("estimated_seconds", json!(fields.estimated_seconds)),
            ("custom_fields", json!(fields.custom_fields)),
            ("parent_task_id", json!(fields.parent_task_id)),
            ("status", json!(self.status.name())),
            ("assigned_to", json!(self.assigned_to)),
            ("assigned_by", json!(self.assigned_by)),
            ("accepted_at", time(self.accepted_at)),
            ("actual_seconds", json!(self.actual_seconds)),
            ("started_at", time(self.started_at)),
            ("completed_at", time(self.completed_at)),
        ]
    }

    fn leave(&mut self, from: &[Status], to: Status) -> Result<()> {
        if !from.contains(&self.status) {
            return Err(self.wrong_state(to));
        }
        self.status = to;
        Ok(())
    }

    /// Its state does not lead to `to`.
    pub(crate) fn wrong_state(&self, to: Status) -> Error {
        Error::from(Reason::TaskWrongState).with("from", self.status.name()).with("to", to.name())
    }

    fn run(&mut self, now: DateTime<Utc>) {
        self.running_since = Some(now);
        self.pause_reason = None;
        self.take_on(now);
    }

    fn stop(&mut self, now: DateTime<Utc>) {
        self.actual_seconds = self.worked(now);
        self.running_since = None;
    }

    /// Who works on a task that was handed to them has accepted it.
    fn take_on(&mut self, now: DateTime<Utc>) {
        if self.assigned_to.is_some() {
            self.accepted_at.get_or_insert(now);
        }
    }
}

fn own((name, value): (&'static str, Value)) -> (String, Value) {
    (name.to_owned(), value)
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::fields::tests::fields;

    pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    pub(crate) fn task(created_by: Uuid) -> Task {
        Task::new(Uuid::from_u128(99), Uuid::nil(), created_by, fields("Sweep"), at(0))
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Step {
        Start,
        Pause,
        Resume,
        Complete,
    }

    fn step(task: &mut Task, step: Step, now: DateTime<Utc>) -> Result<()> {
        match step {
            Step::Start => task.start(now),
            Step::Pause => task.pause("lunch".to_owned(), now),
            Step::Resume => task.resume(now),
            Step::Complete => task.complete(now),
        }
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop::sample::select(vec![Step::Start, Step::Pause, Step::Resume, Step::Complete])
    }

    /// The whole machine, as a table: what is not in it is refused.
    fn leads_to(from: Status, step: Step) -> Option<Status> {
        match (from, step) {
            (Status::Pending, Step::Start) | (Status::Paused, Step::Resume) => Some(Status::InProgress),
            (Status::InProgress, Step::Pause) => Some(Status::Paused),
            (Status::InProgress | Status::Paused, Step::Complete) => Some(Status::Completed),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn only_the_table_moves_a_task(steps in prop::collection::vec((any_step(), -50i64..500), 0..20)) {
            let mut task = task(Uuid::from_u128(1));
            let (mut now, mut worked) = (at(0), 0);
            for (next, seconds) in steps {
                now += TimeDelta::seconds(seconds);
                let before = task.clone();
                match leads_to(before.status, next) {
                    Some(to) => {
                        prop_assert!(step(&mut task, next, now).is_ok());
                        prop_assert_eq!(task.status, to);
                    }
                    None => {
                        let error = step(&mut task, next, now).unwrap_err();
                        prop_assert_eq!(error.reason(), Reason::TaskWrongState);
                        prop_assert_eq!(&task, &before);
                    }
                }
                // What the database checks as well.
                prop_assert_eq!(task.status == Status::InProgress, task.running_since.is_some());
                prop_assert_eq!(task.status == Status::Completed, task.completed_at.is_some());
                prop_assert_eq!(task.status == Status::Paused, task.pause_reason.is_some());
                // Time never runs backwards, not even when the clock does.
                prop_assert!(task.actual_seconds >= worked && task.worked(now) >= task.actual_seconds);
                worked = task.actual_seconds;
            }
        }

        #[test]
        fn worked_is_the_sum_of_the_stretches(stretches in prop::collection::vec((0i64..10_000, 0i64..10_000), 1..10)) {
            let mut task = task(Uuid::from_u128(1));
            let (mut now, mut sum) = (at(0), 0);
            for (index, (work, rest)) in stretches.into_iter().enumerate() {
                if index == 0 { task.start(now) } else { task.resume(now) }.unwrap();
                now += TimeDelta::seconds(work);
                sum += work;
                prop_assert_eq!(i64::from(task.worked(now)), sum);
                task.pause("lunch".to_owned(), now).unwrap();
                now += TimeDelta::seconds(rest);
                prop_assert_eq!(i64::from(task.worked(now)), sum);
            }
        }
    }

    #[test]
    fn a_wrong_state_names_both() {
        let mut task = task(Uuid::from_u128(1));
        let status = tonic::Status::from(task.complete(at(1)).unwrap_err());
        let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
        assert_eq!((info.metadata["from"].as_str(), info.metadata["to"].as_str()), ("pending", "completed"));
    }

    #[test]
    fn time_that_no_number_holds_is_the_largest() {
        let mut task = task(Uuid::from_u128(1));
        task.start(at(0)).unwrap();
        assert_eq!(task.worked(at(i64::from(i32::MAX) + 5)), i32::MAX);
        task.actual_seconds = i32::MAX;
        assert_eq!(task.worked(at(5)), i32::MAX);
    }

    #[test]
    fn late_is_past_due_and_not_done() {
        let mut task = task(Uuid::from_u128(1));
        assert!(!task.overdue(at(100)));
        task.fields.due_at = Some(at(10));
        assert!(!task.overdue(at(10)) && task.overdue(at(11)));
        task.start(at(11)).unwrap();
        task.complete(at(12)).unwrap();
        assert!(!task.overdue(at(13)));
    }

    #[test]
    fn changes_are_what_differs() {
        let before = task(Uuid::from_u128(1));
        let mut after = before.clone();
        assert!(after.changes_since(&before).is_empty());
        after.start(at(5)).unwrap();
        let changes = after.changes_since(&before);
        assert_eq!(Value::Object(changes), json!({"status": "in_progress", "started_at": "1970-01-01T00:00:05Z"}));
        let first = before.first_values();
        assert_eq!(
            Value::Object(first),
            json!({"title": "Sweep", "priority": "medium", "visibility": "private", "status": "pending"})
        );
    }
}
