//! Events of timers.

use baton_catalog::Payload;
use baton_proto::baton::task::v1::{ReminderEvent, TaskEvent};
use baton_store::Event;
use uuid::Uuid;

use crate::{
    convert::{to_status, to_visibility},
    task::Task,
};

/// A task is due soon or overdue. Its version does not change.
pub(crate) fn due(kind: fn(TaskEvent) -> Payload, task: &Task, late: bool) -> Event {
    let or_empty = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let event = TaskEvent {
        task_id: task.id.to_string(),
        version: task.version,
        status: to_status(task.status).into(),
        created_by: task.created_by.to_string(),
        assigned_to: or_empty(task.assigned_to),
        previously_assigned_to: or_empty(task.assigned_to),
        assigned_by: or_empty(task.assigned_by),
        late,
        visibility: to_visibility(task.fields.visibility).into(),
        ..TaskEvent::default()
    };
    Event::new(kind(event), task.account_id, task.id)
}

/// A reminder was created, deleted or fired.
pub(crate) fn reminder(
    kind: fn(ReminderEvent) -> Payload,
    account_id: Uuid,
    reminder_id: Uuid,
    task_id: Uuid,
    user_id: Uuid,
    late: bool,
) -> Event {
    let payload = ReminderEvent {
        reminder_id: reminder_id.to_string(),
        task_id: task_id.to_string(),
        user_id: user_id.to_string(),
        late,
    };
    Event::new(kind(payload), account_id, reminder_id)
}

/// A series waits until its creator's quota allows another open task.
pub(crate) fn series_paused(account_id: Uuid, series_id: Uuid, task_id: Uuid, user_id: Uuid) -> Event {
    let payload =
        ReminderEvent { task_id: task_id.to_string(), user_id: user_id.to_string(), ..ReminderEvent::default() };
    Event::new(Payload::SeriesPaused(payload), account_id, series_id)
}
