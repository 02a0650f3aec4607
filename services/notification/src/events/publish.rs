//! Events that the service publishes.

use baton_catalog::Payload;
use baton_proto::baton::notification::v1::NotificationEvent;
use baton_store::Event;
use uuid::Uuid;

use crate::{convert, notification::Notification};

/// A notification was created.
pub(crate) fn notification_created(notification: &Notification) -> Event {
    notification_event(Payload::NotificationCreated, notification)
}

/// A notification was marked as read.
pub(crate) fn notification_read(notification: &Notification) -> Event {
    notification_event(Payload::NotificationRead, notification)
}

/// All unread notifications of a user were marked as read.
pub(crate) fn notifications_read(account_id: Uuid, user_id: Uuid) -> Event {
    let payload = NotificationEvent { user_id: user_id.to_string(), ..NotificationEvent::default() };
    Event::new(Payload::NotificationAllRead(payload), account_id, user_id)
}

/// A notification was deleted.
pub(crate) fn notification_deleted(account_id: Uuid, user_id: Uuid, notification_id: Uuid) -> Event {
    let payload = NotificationEvent {
        notification_id: notification_id.to_string(),
        user_id: user_id.to_string(),
        ..NotificationEvent::default()
    };
    Event::new(Payload::NotificationDeleted(payload), account_id, notification_id)
}

fn notification_event(kind: fn(NotificationEvent) -> Payload, notification: &Notification) -> Event {
    let payload = NotificationEvent {
        notification_id: notification.id.to_string(),
        user_id: notification.user_id.to_string(),
        r#type: convert::notification_type(notification.kind).into(),
        task_id: notification.task_id.map(|id| id.to_string()).unwrap_or_default(),
    };
    Event::new(kind(payload), notification.account_id, notification.id)
}
