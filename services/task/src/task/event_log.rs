//! The event log of a task. An entry has the new values of the changed fields; replaying all entries yields the task.

use baton_errors::{Error, Result};
use baton_runtime::Via;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::task::{Status, Task, event_kind::EventKind, rank};

/// Versions between two snapshots of a task.
pub(crate) const SNAPSHOT_EVERY: i32 = 50;

/// Field names and values.
pub(crate) type Values = Map<String, Value>;

/// A stored entry of a task's log.
#[derive(Debug, Clone)]
pub(crate) struct StoredEntry {
    pub(crate) version: i32,
    /// `None` for a kind that this release does not know.
    pub(crate) kind: Option<EventKind>,
    pub(crate) actor_id: Uuid,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) changes: Values,
    pub(crate) reason: Option<String>,
}

/// An entry of a timeline: a stored entry, its id, and the service that acted for the actor.
#[derive(Debug, Clone)]
pub(crate) struct TimelineEntry {
    pub(crate) id: Uuid,
    pub(crate) via: Option<Via>,
    pub(crate) logged: StoredEntry,
}

/// The next entry of a task's log, with the task `after` it.
#[derive(Debug, Clone)]
pub(crate) struct LogEntry {
    pub(crate) kind: EventKind,
    pub(crate) changes: Values,
    pub(crate) reason: Option<String>,
    pub(crate) after: Task,
}

/// The entry for the change from `before` to `after`, and the next version; `None` if nothing changed.
pub(crate) fn next(
    before: &Task,
    after: &Task,
    kind: EventKind,
    mut reason: Option<String>,
    now: DateTime<Utc>,
) -> Option<LogEntry> {
    let mut changes = after.changes_since(before);
    if kind == EventKind::TimeCorrected {
        // Moving work without changing its length is a correction too.
        changes.entry("actual_seconds").or_insert(json!(after.actual_seconds));
    }
    if changes.is_empty() {
        return None;
    }
    let mut after = Task { version: before.version + 1, updated_at: now, ..after.clone() };
    if changes.contains_key("status") && after.status == Status::Paused {
        // The reason is stored in the entry only.
        reason = reason.or_else(|| after.pause_reason.take());
        after.pause_reason.clone_from(&reason);
    }
    Some(LogEntry { kind, changes, reason, after })
}

/// A task's fields between two entries of its log: the content of a snapshot.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ReplayedState(pub(crate) Values);

impl ReplayedState {
    /// Applies the next entry.
    pub(crate) fn apply(&mut self, entry: StoredEntry) {
        let StoredEntry { version, kind, actor_id, occurred_at, mut changes, reason } = entry;
        let time = json!(occurred_at);
        if self.0.is_empty() {
            self.0.insert("created_at".to_owned(), time.clone());
            self.0.insert("created_by".to_owned(), json!(actor_id));
        }
        if let Some(status) = changes.get("status") {
            let (paused, running) = (status == Status::Paused.name(), status == Status::InProgress.name());
            // Timelines store the reason separately, so that it can be erased.
            self.0.insert("pause_reason".to_owned(), json!(reason.filter(|_| paused)));
            // Entries of the first releases lack these two fields.
            changes.entry("running_since").or_insert(if running { time.clone() } else { Value::Null });
        }
        if kind == Some(EventKind::Deleted) {
            changes.entry("deleted_at").or_insert(time.clone());
        }
        self.0.extend(changes);
        self.0.insert("updated_at".to_owned(), time);
        self.0.insert("version".to_owned(), json!(version));
    }

    /// The replayed task.
    ///
    /// # Errors
    /// INTERNAL when the log does not describe a task.
    pub(crate) fn task(mut self, account_id: Uuid, id: Uuid) -> Result<Task> {
        self.0.insert("id".to_owned(), json!(id));
        self.0.insert("account_id".to_owned(), json!(account_id));
        let mut task: Task = serde_json::from_value(Value::Object(self.0)).map_err(Error::internal)?;
        // Logs from before ranks existed have none.
        task.rank.get_or_insert_with(|| rank::initial(id));
        Ok(task)
    }
}

/// Fields that no log contains: they belong to all of its entries.
const IDENTITY: [&str; 2] = ["id", "account_id"];
/// Fields that follow from the entries themselves: their number, times, and the reason of a pause.
const DERIVED: [&str; 4] = ["version", "created_at", "updated_at", "pause_reason"];

impl Task {
    /// Names and values of the fields that differ from `before`, as the contract shows them.
    pub(crate) fn changes_since(&self, before: &Self) -> Values {
        let before = before.logged_fields();
        self.logged_fields().into_iter().filter(|(name, value)| before.get(name) != Some(value)).collect()
    }

    /// Names and values of a new task that are not defaults.
    pub(crate) fn initial_values(&self) -> Values {
        self.logged_fields().into_iter().filter(|(name, value)| !is_default(name, value)).collect()
    }

    /// The state that replaying this task's log up to now yields.
    pub(crate) fn replayed_state(&self) -> ReplayedState {
        let is_kept = |name: &str, value: &Value| DERIVED.contains(&name) || !is_default(name, value);
        ReplayedState(self.values().into_iter().filter(|(name, value)| is_kept(name, value)).collect())
    }

    /// Names of the fields that differ, sorted.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let other = other.values();
        let differing = self.values().into_iter().filter(|(name, value)| other.get(name) != Some(value));
        differing.map(|(name, _)| name).collect()
    }

    /// Fields that log entries contain when they change.
    fn logged_fields(&self) -> Values {
        self.values().into_iter().filter(|(name, _)| !DERIVED.contains(&name.as_str())).collect()
    }

    /// Names and values of all fields but the identity.
    fn values(&self) -> Values {
        let Value::Object(mut values) = json!(self) else { unreachable!("a struct is an object") };
        values.retain(|name, _| !IDENTITY.contains(&name.as_str()));
        values
    }
}

/// Whether a log without the value implies it.
fn is_default(name: &str, value: &Value) -> bool {
    match name {
        "description" => value == "",
        "tags" | "skipped_times" | "custom_fields" => value == &json!([]) || value == &json!({}),
        "actual_seconds" | "reassignment_count" => value == 0,
        _ => value.is_null(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        policy::{
            assignment::take_over,
            visibility::tests::{OWNER, anyone},
        },
        task::{
            Priority, Visibility,
            tests::{NamedTransition, any_transition, apply_named, at, task},
        },
    };

    #[derive(Debug, Clone)]
    enum Step {
        Transition(NamedTransition),
        Hand { from: Uuid, to: Uuid },
        Write(&'static str, u8),
        Delete,
        Restore,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let field = prop::sample::select(vec![
            "title",
            "description",
            "priority",
            "due_at",
            "tags",
            "visibility",
            "estimate",
            "custom",
            "parent",
            "recurrence",
            "rank",
        ]);
        prop_oneof![
            6 => any_transition().prop_map(Step::Transition),
            3 => (anyone(), anyone()).prop_map(|(from, to)| Step::Hand { from, to }),
            3 => (field, 0..3u8).prop_map(|(field, value)| Step::Write(field, value)),
            1 => Just(Step::Delete),
            1 => Just(Step::Restore),
        ]
    }

    fn write(task: &mut Task, field: &str, value: u8) {
        let some = value > 0;
        match field {
            "title" => task.fields.title = format!("Title {value}"),
            "description" => task.fields.description = "\"\u{e9}\\n".repeat(value.into()),
            "priority" => task.fields.priority = Priority::ALL[usize::from(value)],
            "visibility" => task.fields.visibility = Visibility::ALL[usize::from(value)],
            "due_at" => task.fields.due_at = some.then(|| at(value.into()) + TimeDelta::microseconds(123_456)),
            "tags" => task.fields.tags = vec!["a".to_owned(); value.into()],
            "estimate" => task.fields.estimated_seconds = (value != 1).then_some(value.into()),
            "custom" => {
                task.fields.custom_fields = some.then(|| ("n".to_owned(), json!({"x": value}))).into_iter().collect()
            }
            "parent" => task.fields.parent_task_id = some.then(|| Uuid::from_u128(value.into())),
            "recurrence" => {
                task.recurrence_rule = some.then(|| format!("FREQ=DAILY;INTERVAL={value}"));
                task.recurrence_timezone =
                    some.then(|| ["Europe/Berlin", "Asia/Tokyo"][usize::from(value) - 1].to_owned());
                task.series_id = some.then(|| Uuid::from_u128(value.into())).or(task.series_id);
                task.skipped_times = vec![at(value.into()).naive_utc(); value.into()];
            }
            _ => task.rank = Some("i".repeat(usize::from(value) + 1)),
        }
    }

    fn happens(task: &mut Task, step: &Step, now: DateTime<Utc>) -> EventKind {
        match *step {
            Step::Transition(way) => drop(apply_named(task, way, now)),
            Step::Hand { from, to } if task.is_open() => return take_over(task, from, to, now),
            Step::Write(field, value) => write(task, field, value),
            Step::Delete => {
                task.delete(now);
                return EventKind::Deleted;
            }
            Step::Restore => task.restore(),
            Step::Hand { .. } => {}
        }
        EventKind::Updated
    }

    fn entry(it: &LogEntry, actor_id: Uuid) -> StoredEntry {
        // Round trip, as through Postgres.
        let changes = serde_json::from_str(&serde_json::to_string(&it.changes).unwrap()).unwrap();
        let LogEntry { kind, reason, after, .. } = it;
        let (version, occurred_at) = (after.version, after.updated_at);
        StoredEntry { version, kind: Some(*kind), actor_id, occurred_at, changes, reason: reason.clone() }
    }

    proptest! {
        #[test]
        fn replaying_the_log_yields_the_task(
            steps in prop::collection::vec((any_step(), anyone(), -9i64..99), 0..60),
            from in 0usize..60,
        ) {
            let mut task = task(OWNER);
            let first = LogEntry { kind: EventKind::Created, changes: task.initial_values(), reason: None, after: task.clone() };
            let mut lines = vec![entry(&first, OWNER)];
            let mut snapshots = vec![task.replayed_state()];
            let mut now = at(0);
            for (step, actor, seconds) in steps {
                now += TimeDelta::seconds(seconds);
                let before = task.clone();
                let kind = happens(&mut task, &step, now);
                match next(&before, &task, kind, None, now) {
                    Some(it) => {
                        lines.push(entry(&it, actor));
                        task = it.after;
                        snapshots.push(task.replayed_state());
                    }
                    None => prop_assert_eq!(&task, &before, "a change that no line tells"),
                }
            }
            // From the start, and from any snapshot.
            let from = from.min(snapshots.len() - 1);
            for (mut state, rest) in [(ReplayedState::default(), &lines[..]), (snapshots[from].clone(), &lines[from + 1..])] {
                for entry in rest {
                    state.apply(entry.clone());
                }
                let stored = state.task(task.account_id, task.id).unwrap();
                prop_assert_eq!(stored.differences(&task), Vec::<String>::new());
                prop_assert_eq!(&stored, &task);
            }
        }
    }

    #[test]
    fn logged_names_are_those_of_the_columns() {
        let names =
            |names: Vec<Value>| names.into_iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(Status::ALL.map(|status| json!(status)).into()), Status::ALL.map(Status::name));
        assert_eq!(names(Priority::ALL.map(|priority| json!(priority)).into()), Priority::ALL.map(Priority::name));
        assert_eq!(names(Visibility::ALL.map(|one| json!(one)).into()), Visibility::ALL.map(Visibility::name));
        let all = task(OWNER).values();
        assert!(DERIVED.iter().all(|name| all.contains_key(*name)), "{all:?}");
        assert_eq!(all.len(), 31, "a new column belongs into the log");
    }

    #[test]
    fn changes_contain_differing_fields_only() {
        let before = task(OWNER);
        let mut after = before.clone();
        assert!(after.changes_since(&before).is_empty());
        after.start(at(5)).unwrap();
        let time = "1970-01-01T00:00:05Z";
        assert_eq!(
            Value::Object(after.changes_since(&before)),
            json!({"status": "in_progress", "running_since": time, "started_at": time})
        );
        assert_eq!(
            Value::Object(before.initial_values()),
            json!({
                "title": "Sweep", "priority": "medium", "visibility": "private", "status": "pending",
                "created_by": OWNER, "rank": before.rank,
            })
        );
    }

    #[test]
    fn entries_of_the_first_releases_replay() {
        let entry = |version, kind, changes: Value, reason: Option<&str>| {
            let Value::Object(changes) = changes else { panic!("an object") };
            let reason = reason.map(str::to_owned);
            StoredEntry { version, kind: Some(kind), actor_id: OWNER, occurred_at: at(version.into()), changes, reason }
        };
        let created = json!({"title": "Sweep", "priority": "medium", "visibility": "private", "status": "pending"});
        let mut state = ReplayedState::default();
        let mut tell = |next: StoredEntry| {
            state.apply(next);
            state.clone().task(Uuid::nil(), Uuid::from_u128(99)).unwrap()
        };
        let mut task = task(OWNER);
        (task.created_at, task.updated_at) = (at(1), at(1));
        assert_eq!(tell(entry(1, EventKind::Created, created, None)), task);
        let started = json!({"status": "in_progress", "started_at": "1970-01-01T00:00:02Z"});
        let stored = tell(entry(2, EventKind::Started, started, None));
        assert_eq!((stored.running_since, stored.created_by), (Some(at(2)), OWNER));
        let stored = tell(entry(3, EventKind::Paused, json!({"status": "paused", "actual_seconds": 1}), Some("lunch")));
        assert_eq!((stored.running_since, stored.pause_reason.as_deref()), (None, Some("lunch")));
        assert_eq!(tell(entry(4, EventKind::Deleted, json!({}), None)).deleted_at, Some(at(4)));
    }

    #[test]
    fn invalid_log_is_an_error() {
        assert!(ReplayedState::default().task(Uuid::nil(), Uuid::nil()).is_err());
    }
}
