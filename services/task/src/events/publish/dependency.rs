//! Dependency events. They carry ids, no text.

use baton_catalog::Payload;
use baton_proto::baton::task::v1::{DependencyEvent, TaskEvent};
use baton_store::Event;
use uuid::Uuid;

use crate::task::Task;

/// `task` depends on `blocked_by` (`waits`), or no longer does.
pub(crate) fn dependency(task: &Task, blocked_by: Uuid, waits: bool) -> Event {
    let payload = DependencyEvent {
        task_id: task.id.to_string(),
        blocked_by: blocked_by.to_string(),
        created_by: task.created_by.to_string(),
        assigned_to: task.assigned_to.map(|id| id.to_string()).unwrap_or_default(),
    };
    let kind = if waits { Payload::DependencyAdded } else { Payload::DependencyRemoved };
    Event::new(kind(payload), task.account_id, task.id)
}

/// A task waits for no other open task any more. Its version does not change.
pub(crate) fn unblocked(task: &Task) -> Event {
    let changed_fields = vec!["blocked".to_owned()];
    let event = TaskEvent { changed_fields, ..super::payload(Some(task), task) };
    Event::new(Payload::TaskUnblocked(event), task.account_id, task.id)
}
