//! Conversions between contract and domain types.

use baton_proto::{baton::notification::v1 as proto, convert::timestamp};

use crate::store::notification::Notification;

impl From<Notification> for proto::Notification {
    fn from(notification: Notification) -> Self {
        let Notification { kind, account_id, task_id, .. } = notification;
        Self {
            id: notification.id.to_string(),
            account_id: account_id.to_string(),
            r#type: kind.to_proto().into(),
            title: kind.title().to_owned(),
            task_id: task_id.map(|id| id.to_string()),
            actor_id: notification.actor_id.map(|id| id.to_string()),
            action_url: kind.action_url(account_id, task_id),
            read_at: notification.read_at.map(timestamp),
            created_at: Some(timestamp(notification.created_at)),
        }
    }
}
