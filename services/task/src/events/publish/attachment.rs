//! Attachment events. They carry ids, no names.

use baton_catalog::Payload;
use baton_proto::baton::{
    task::v1::AttachmentEvent,
    tenancy::v1::{Quota, UsageChanged},
};
use baton_store::Event;
use uuid::Uuid;

use crate::task::{Task, attachment::Attachment};

/// An attachment was completed.
pub(crate) fn added(attachment: &Attachment, task: &Task) -> Event {
    about(Payload::AttachmentAdded, attachment, task)
}

/// An attachment was deleted.
pub(crate) fn removed(attachment: &Attachment, task: &Task) -> Event {
    about(Payload::AttachmentRemoved, attachment, task)
}

fn about(kind: fn(AttachmentEvent) -> Payload, attachment: &Attachment, task: &Task) -> Event {
    let payload = AttachmentEvent {
        attachment_id: attachment.id.to_string(),
        task_id: task.id.to_string(),
        uploaded_by: attachment.uploaded_by.to_string(),
        created_by: task.created_by.to_string(),
        assigned_to: task.assigned_to.map(|id| id.to_string()).unwrap_or_default(),
    };
    Event::new(kind(payload), attachment.account_id, attachment.id)
}

/// The account's storage usage in MiB; `None` when it equals `before`.
pub(crate) fn storage_changed(account_id: Uuid, (before, used): (i32, i32)) -> Option<Event> {
    let quota = Quota::StorageMebibytes.into();
    let payload = UsageChanged { quota, user_id: String::new(), used };
    (before != used).then(|| Event::new(Payload::UsageReported(payload), account_id, account_id))
}
