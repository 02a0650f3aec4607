//! What is told of dependencies and custom fields: ids, no text.

use baton_proto::baton::task::v1::{CustomFieldEvent, DependencyEvent};
use baton_store::Event;
use uuid::Uuid;

use crate::task::Task;

/// A task waits for another, or does not any more.
pub(crate) fn dependency(task: &Task, blocked_by: Uuid, waits: bool) -> Event {
    let payload = DependencyEvent {
        task_id: task.id.to_string(),
        blocked_by: blocked_by.to_string(),
        created_by: task.created_by.to_string(),
        assigned_to: task.assigned_to.map(|id| id.to_string()).unwrap_or_default(),
    };
    let kind = if waits { "dependency.added" } else { "dependency.removed" };
    Event::new(kind, task.account_id, task.id, &payload)
}

/// A custom field was defined, its definition changed, or it ended: `kind` says which.
pub(crate) fn custom_field(kind: &'static str, account_id: Uuid, id: Uuid, changed_fields: Vec<String>) -> Event {
    Event::new(kind, account_id, id, &CustomFieldEvent { custom_field_id: id.to_string(), changed_fields })
}
