//! An event, as far as rules look at it: ids and states. It is stored with the work that it causes.

use baton_catalog::EventType;
use baton_conditions::{
    EventFacts, Facts, TaskFacts,
    choice::{Priority, Status, Visibility},
};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::trigger::TriggerType;

/// Length of the longest chain of causes: an event at its end runs no rule.
pub const MAX_DEPTH: u16 = 5;

/// The kind of the times of schedules, which no event stands behind.
pub const SCHEDULE: &str = "schedule";

/// An event that may run rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// Id of the event.
    pub event_id: Uuid,
    /// Name of the event's type.
    pub kind: String,
    /// Time of the event.
    pub occurred_at: DateTime<Utc>,
    /// Who caused it; `None` for the platform.
    pub actor: Option<Uuid>,
    /// The task that it is about.
    pub task_id: Option<Uuid>,
    /// The task after the event, if the event says it.
    pub task: Option<TaskState>,
    /// Names of the fields that changed.
    pub changed_fields: Vec<String>,
    /// Whether it is late, because the platform was down at its time.
    pub late: bool,
    /// Length of the chain of causes that led to it; 0 for an action of a person.
    pub depth: u16,
    /// The rule that caused it.
    pub rule_id: Option<Uuid>,
    /// Since when the task has been in the state that it has after the event, if longer than since the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_state_since: Option<DateTime<Utc>>,
}

/// The state of a task after an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// Version of the task.
    pub version: i32,
    /// Name of the status.
    pub status: String,
    /// Name of the status before the event; `None` for a new task.
    pub previous_status: Option<String>,
    /// Name of the priority.
    pub priority: String,
    /// Name of the visibility.
    pub visibility: String,
    /// Who created it.
    pub creator: Uuid,
    /// To whom it is assigned.
    pub assignee: Option<Uuid>,
    /// When it is due.
    pub due_at: Option<DateTime<Utc>>,
    /// The estimated working time, in seconds.
    pub estimated_seconds: Option<i64>,
    /// When work on it began.
    pub started_at: Option<DateTime<Utc>>,
}

impl Occurrence {
    /// A time of a schedule of a rule, for a task if given.
    pub fn of_schedule(rule_id: Uuid, at: DateTime<Utc>, task_id: Option<Uuid>) -> Self {
        let name = task_id.map_or_else(|| at.to_rfc3339(), |task_id| format!("{}/{task_id}", at.to_rfc3339()));
        Self {
            event_id: Uuid::new_v5(&rule_id, name.as_bytes()),
            kind: SCHEDULE.to_owned(),
            occurred_at: at,
            actor: None,
            task_id,
            task: None,
            changed_fields: Vec::new(),
            late: false,
            depth: 0,
            rule_id: None,
            in_state_since: None,
        }
    }

    /// The types of trigger that it fires.
    pub fn triggers(&self) -> &'static [TriggerType] {
        if self.kind == SCHEDULE {
            return &[TriggerType::Schedule];
        }
        self.event_type().map_or(&[], TriggerType::of_event)
    }

    /// The type of the event; `None` for one that only a newer version knows, and for a time of a schedule.
    pub fn event_type(&self) -> Option<EventType> {
        EventType::from_name(&self.kind)
    }

    /// The status before and after the event, if the event changes it.
    pub fn status_change(&self) -> (Option<Status>, Option<Status>) {
        let status = |name: &str| Status::from_name(name);
        let Some(task) = &self.task else { return (None, None) };
        let (before, after) = (task.previous_status.as_deref().and_then(status), status(&task.status));
        if before == after { (None, None) } else { (before, after) }
    }

    /// What the event says, for a rule that acts for `me`. The time is the event's, so that a run that comes later has the same
    /// facts.
    pub fn facts(&self, me: Uuid, timezone: Tz) -> Facts {
        let mut facts = Facts::new(me, self.occurred_at, timezone);
        let (from, to) = self.status_change();
        facts.event = EventFacts {
            actor: Some(self.actor),
            from: Some(from),
            to: Some(to),
            changed_fields: Some(self.changed_fields.clone()),
        };
        if let Some(task) = &self.task {
            facts.task = TaskFacts {
                status: Status::from_name(&task.status),
                priority: Priority::from_name(&task.priority),
                visibility: Visibility::from_name(&task.visibility),
                assignee: Some(task.assignee),
                creator: Some(task.creator),
                due_at: Some(task.due_at),
                estimated_seconds: Some(task.estimated_seconds),
                started_at: Some(task.started_at),
                ..TaskFacts::default()
            };
        }
        facts
    }
}
