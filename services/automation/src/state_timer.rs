//! States of tasks that have to last until a rule runs: for some time (`for_seconds`), or until some time before the due time
//! (`before_seconds`).

use baton_catalog::EventType;
use baton_rules::{Lasting, Occurrence, Trigger};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What has to last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// The name of the task's status.
    Status(String),
    /// The task's assignee.
    Assignee(Uuid),
    /// The due time of an open task.
    Due(DateTime<Utc>),
}

impl State {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Assignee(_) => "assignee",
            Self::Due(_) => "due",
        }
    }

    pub(crate) fn status(&self) -> Option<String> {
        match self {
            Self::Status(status) => Some(status.clone()),
            Self::Assignee(_) | Self::Due(_) => None,
        }
    }

    pub(crate) fn assignee(&self) -> Option<Uuid> {
        match self {
            Self::Status(_) | Self::Due(_) => None,
            Self::Assignee(id) => Some(*id),
        }
    }

    pub(crate) fn due_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Status(_) | Self::Assignee(_) => None,
            Self::Due(due_at) => Some(*due_at),
        }
    }

    /// Whether a task with this status, assignee and due time is in the state.
    pub(crate) fn holds(&self, status: &str, assignee: Option<Uuid>, due_at: Option<DateTime<Utc>>) -> bool {
        match self {
            Self::Status(wanted) => wanted == status,
            Self::Assignee(wanted) => assignee == Some(*wanted),
            Self::Due(wanted) => due_at.map(stored) == Some(*wanted) && is_open(status),
        }
    }
}

/// A time as the database has it. Events have it as the client sent it.
pub(crate) fn stored(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// Whether a task with this status can become overdue.
pub(crate) fn is_open(status: &str) -> bool {
    matches!(status, "pending" | "in_progress" | "paused")
}

/// A rule that waits for a state to last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateTimer {
    pub(crate) rule_id: Uuid,
    pub(crate) task_id: Uuid,
    pub(crate) state: State,
    pub(crate) since: DateTime<Utc>,
    pub(crate) fires_at: DateTime<Utc>,
    /// The event that began the state.
    pub(crate) occurrence: Occurrence,
}

impl StateTimer {
    /// The wait of a rule after an event that its trigger admits; `None` if the rule does not wait, or the event has no state.
    pub(crate) fn of(rule_id: Uuid, trigger: &Trigger, occurrence: &Occurrence) -> Option<Self> {
        let task_id = occurrence.task_id?;
        let task = occurrence.task.as_ref()?;
        if let Some(seconds) = trigger.before_seconds {
            let due_at = stored(task.due_at?);
            let fires_at = due_at - TimeDelta::seconds(seconds.into());
            let (state, since) = (State::Due(due_at), occurrence.occurred_at);
            // One announcement per due time, whatever has set it; nobody's action causes it.
            let occurrence = Occurrence {
                event_id: Uuid::new_v5(&rule_id, format!("{task_id}/{}/{seconds}", due_at.to_rfc3339()).as_bytes()),
                kind: EventType::TaskDueSoon.name().to_owned(),
                actor: None,
                changed_fields: Vec::new(),
                depth: 0,
                rule_id: None,
                in_state_since: None,
                ..occurrence.clone()
            };
            return Some(Self { rule_id, task_id, state, since, fires_at, occurrence });
        }
        let seconds = trigger.for_seconds?;
        let state = match trigger.kind.lasting()? {
            Lasting::Status => State::Status(task.status.clone()),
            Lasting::Assignee => State::Assignee(task.assignee?),
            Lasting::Due => State::Due(stored(task.due_at?)),
        };
        let since = occurrence.occurred_at;
        let in_state_since = occurrence.in_state_since.unwrap_or(since);
        let fires_at = (in_state_since + TimeDelta::seconds(seconds.into())).max(since);
        Some(Self { rule_id, task_id, state, since, fires_at, occurrence: occurrence.clone() })
    }
}

/// The state of a task after an event: it may have left another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateChange {
    pub(crate) task_id: Uuid,
    pub(crate) status: String,
    pub(crate) assignee: Option<Uuid>,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) occurred_at: DateTime<Utc>,
}

impl StateChange {
    /// The state after an event; `None` if the event does not say it. One about a task's blocker changes nothing of the task, and may
    /// say what a change that commits after it has left.
    pub(crate) fn of(occurrence: &Occurrence) -> Option<Self> {
        if occurrence.event_type() == Some(EventType::TaskUnblocked) {
            return None;
        }
        let task = occurrence.task.as_ref()?;
        Some(Self {
            task_id: occurrence.task_id?,
            status: task.status.clone(),
            assignee: task.assignee,
            due_at: task.due_at,
            occurred_at: occurrence.occurred_at,
        })
    }
}

/// Whether an event gives its open task a due time, or opens one that has it.
pub(crate) fn sets_due_time(occurrence: &Occurrence) -> bool {
    let Some(task) = &occurrence.task else { return false };
    let kind = occurrence.event_type();
    let begins = matches!(kind, Some(EventType::TaskCreated | EventType::TaskReopened))
        || occurrence.changed_fields.iter().any(|field| field == "due_at");
    begins && task.due_at.is_some() && is_open(&task.status)
}

/// What a batch of events in their order does to timers: those to set, after the states that were left were canceled. A state that
/// has lasted before it was left stays.
pub(crate) fn pending<'a>(events: impl IntoIterator<Item = (&'a Occurrence, Vec<StateTimer>)>) -> Vec<StateTimer> {
    let mut waits: Vec<StateTimer> = Vec::new();
    for (occurrence, begun) in events {
        if let Some(left) = StateChange::of(occurrence) {
            waits.retain(|wait| {
                let lasts =
                    wait.state.holds(&left.status, left.assignee, left.due_at) || left.occurred_at >= wait.fires_at;
                wait.task_id != left.task_id || lasts
            });
        }
        waits.extend(begun);
    }
    waits
}

#[cfg(test)]
mod tests {
    use baton_rules::{TaskState, TriggerType};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const STATUSES: [&str; 3] = ["paused", "in_progress", "completed"];

    fn event(task: u128, status: &str, second: i64) -> Occurrence {
        Occurrence {
            event_id: Uuid::from_u128(second as u128),
            kind: "task.paused".to_owned(),
            occurred_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
            actor: None,
            task_id: Some(Uuid::from_u128(task)),
            task: Some(TaskState {
                version: 1,
                status: status.to_owned(),
                previous_status: None,
                priority: "high".to_owned(),
                visibility: "private".to_owned(),
                creator: Uuid::nil(),
                assignee: None,
                due_at: None,
                estimated_seconds: None,
                started_at: None,
            }),
            changed_fields: Vec::new(),
            late: false,
            depth: 0,
            rule_id: None,
            in_state_since: None,
        }
    }

    fn trigger() -> Trigger {
        Trigger::parse(TriggerType::TaskPaused, json!({"for_seconds": 60}).as_object().unwrap(), "").unwrap()
    }

    proptest! {
        /// Every pause is waited for that was left by no event within its time.
        #[test]
        fn pause_is_waited_for_until_it_is_left(steps in prop::collection::vec((0..2u128, 0..3usize, 1..90i64), 0..20)) {
            let (mut second, mut events) = (0, Vec::new());
            for (task, status, later) in steps {
                second += later;
                events.push(event(task, STATUSES[status], second));
            }
            let is_paused = |event: &Occurrence| event.task.as_ref().is_some_and(|task| task.status == "paused");
            let begun = |event: &Occurrence| {
                if is_paused(event) { StateTimer::of(Uuid::nil(), &trigger(), event).into_iter().collect() } else { Vec::new() }
            };
            let found = pending(events.iter().map(|event| (event, begun(event))));
            let mut found: Vec<_> = found.into_iter().map(|wait| (wait.task_id, wait.since)).collect();
            found.sort_unstable();
            let is_left = |pause: &Occurrence, later: &Occurrence| {
                let end = pause.occurred_at + TimeDelta::seconds(60);
                later.task_id == pause.task_id && later.occurred_at < end && !is_paused(later)
            };
            let pauses = events.iter().enumerate().filter(|(_, event)| is_paused(event));
            let waited = pauses.filter(|(at, pause)| !events[at + 1..].iter().any(|later| is_left(pause, later)));
            let mut expected: Vec<_> =
                waited.filter_map(|(_, pause)| Some((pause.task_id?, pause.occurred_at))).collect();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
