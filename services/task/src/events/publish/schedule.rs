//! Events of timers.

use baton_catalog::Payload;
use baton_proto::baton::task::v1::{ReminderEvent, TaskEvent};
use baton_store::Event;
use uuid::Uuid;

use crate::task::Task;

/// A task is due soon or overdue. Its version does not change.
pub(crate) fn due(kind: fn(TaskEvent) -> Payload, task: &Task, late: bool) -> Event {
    let event = TaskEvent { late, ..super::payload(Some(task), task) };
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
