//! Events that the service publishes.

pub(crate) mod attachment;
pub(crate) mod comment;
pub(crate) mod custom_field;
pub(crate) mod dependency;
pub(crate) mod saved_view;
pub(crate) mod schedule;

use baton_catalog::Payload;
use baton_proto::{
    baton::{
        task::v1::{TaskEvent, TaskStatus, TimeCorrectionAction, TimeEntryEvent},
        tenancy::v1::{Quota, UsageChanged},
    },
    convert::timestamp,
};
use baton_store::Event;
use uuid::Uuid;

use crate::{
    convert::{time_entry::to_action, to_event_kind, to_priority, to_status, to_visibility},
    task::{
        Task,
        event_kind::EventKind,
        time_entry::{CorrectionAction, TimeEntry},
    },
};

/// The event for the change from `before` to `after`; a new task has no `before`. `watchers` are notified.
pub(crate) fn task_event(
    kind: EventKind,
    before: Option<&Task>,
    after: &Task,
    changed_fields: Vec<String>,
    watchers: &[Uuid],
) -> Event {
    let event = TaskEvent {
        kind: to_event_kind(kind).into(),
        changed_fields,
        watcher_ids: watchers.iter().map(Uuid::to_string).collect(),
        ..payload(before, after)
    };
    Event::new(payload_of(kind)(event), after.account_id, after.id)
}

/// Ids and states of a task before and after an event.
fn payload(before: Option<&Task>, after: &Task) -> TaskEvent {
    let or_empty = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    TaskEvent {
        task_id: after.id.to_string(),
        version: after.version,
        status: to_status(after.status).into(),
        created_by: after.created_by.to_string(),
        assigned_to: or_empty(after.assigned_to),
        previously_assigned_to: or_empty(before.and_then(|task| task.assigned_to)),
        assigned_by: or_empty(before.and_then(|task| task.assigned_by)),
        visibility: to_visibility(after.fields.visibility).into(),
        previous_status: before.map_or(TaskStatus::Unspecified, |task| to_status(task.status)).into(),
        due_at: after.fields.due_at.map(timestamp),
        priority: to_priority(after.fields.priority).into(),
        estimated_seconds: after.fields.estimated_seconds.unwrap_or_default(),
        actual_seconds: after.actual_seconds,
        parent_task_id: or_empty(after.fields.parent_task_id),
        started_at: after.started_at.map(timestamp),
        ended_at: after.completed_at.or(after.canceled_at).map(timestamp),
        ..TaskEvent::default()
    }
}

/// The number of open tasks that a member has created.
pub(crate) fn usage_changed(account_id: Uuid, user_id: Uuid, used: i32) -> Event {
    let payload = UsageChanged { quota: Quota::OpenTasksPerUser.into(), user_id: user_id.to_string(), used };
    Event::new(Payload::UsageReported(payload), account_id, user_id)
}

/// A manual change of an interval; `None` when only its note changed.
pub(crate) fn time_entry_event(task: &Task, entry: &TimeEntry, action: Option<CorrectionAction>) -> Event {
    let payload = TimeEntryEvent {
        time_entry_id: entry.id.to_string(),
        task_id: entry.task_id.to_string(),
        user_id: entry.user_id.to_string(),
        action: action.map_or(TimeCorrectionAction::Unspecified, to_action).into(),
        version: entry.version,
    };
    let kind = match action {
        Some(CorrectionAction::Created) => Payload::TimeEntryCreated,
        Some(CorrectionAction::Updated) | None => Payload::TimeEntryUpdated,
        Some(CorrectionAction::Deleted) => Payload::TimeEntryDeleted,
    };
    Event::new(kind(payload), task.account_id, entry.id)
}

/// The payload type of each kind.
fn payload_of(kind: EventKind) -> fn(TaskEvent) -> Payload {
    match kind {
        EventKind::Created => Payload::TaskCreated,
        EventKind::Updated => Payload::TaskUpdated,
        EventKind::Deleted => Payload::TaskDeleted,
        EventKind::Started => Payload::TaskStarted,
        EventKind::Paused => Payload::TaskPaused,
        EventKind::Resumed => Payload::TaskResumed,
        EventKind::Completed => Payload::TaskCompleted,
        EventKind::Assigned => Payload::TaskAssigned,
        EventKind::Reassigned => Payload::TaskReassigned,
        EventKind::Accepted => Payload::TaskAccepted,
        EventKind::Rejected => Payload::TaskRejected,
        EventKind::Archived => Payload::TaskArchived,
        EventKind::Canceled => Payload::TaskCanceled,
        EventKind::Reopened => Payload::TaskReopened,
        EventKind::Restored => Payload::TaskRestored,
        EventKind::Moved => Payload::TaskMoved,
        EventKind::TimeCorrected => Payload::TaskTimeCorrected,
    }
}
