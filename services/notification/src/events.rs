//! The events that the service takes in, and those that it publishes.

use async_trait::async_trait;
use baton_errors::{Error, Result};
use baton_proto::baton::{events::v1::Envelope, notification::v1::NotificationEvent};
use baton_store::{Event, Tx};
use uuid::Uuid;

use crate::{
    deletion,
    store::{self, notification::Notification},
    told,
};

/// Makes notifications from events, and has an account's deleted with it.
#[derive(Debug)]
pub(crate) struct Handler;

#[async_trait]
impl baton_events::Handler for Handler {
    fn handles(&self, kind: &str) -> bool {
        kind == deletion::EVENT || told::concerns(kind)
    }

    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        if event.r#type == deletion::EVENT {
            return deletion::begin(tx).await;
        }
        let Some(news) = told::news(event)? else { return Ok(()) };
        let source_event_id: Uuid = event.id.parse().map_err(Error::internal)?;
        let account_id = tx.tenant().account_id;
        if account_id.is_nil() {
            return Err(Error::internal("the event belongs to no account"));
        }
        let clock = tx.db().clock().clone();
        let notifications: Vec<Notification> = news
            .readers
            .into_iter()
            .map(|user_id| Notification {
                id: clock.new_id(),
                account_id,
                user_id,
                kind: news.kind,
                task_id: news.task_id,
                actor_id: news.actor_id,
                read_at: None,
                created_at: clock.now(),
            })
            .collect();
        let added = store::notification::add(tx, source_event_id, &notifications).await?;
        tx.publish_all(notifications.iter().filter(|n| added.contains(&n.id)).map(notification_created)).await
    }
}

/// Somebody has a new notification.
fn notification_created(notification: &Notification) -> Event {
    about("notification.created", notification)
}

/// Somebody has read a notification.
pub(crate) fn notification_read(notification: &Notification) -> Event {
    about("notification.read", notification)
}

/// Somebody has marked all that they had not read as read.
pub(crate) fn notifications_read(account_id: Uuid, user_id: Uuid) -> Event {
    let payload = NotificationEvent { user_id: user_id.to_string(), ..NotificationEvent::default() };
    Event::new("notification.all_read", account_id, user_id, &payload)
}

/// Somebody has deleted a notification.
pub(crate) fn notification_deleted(account_id: Uuid, user_id: Uuid, notification_id: Uuid) -> Event {
    let payload = NotificationEvent {
        notification_id: notification_id.to_string(),
        user_id: user_id.to_string(),
        ..NotificationEvent::default()
    };
    Event::new("notification.deleted", account_id, notification_id, &payload)
}

fn about(kind: &'static str, notification: &Notification) -> Event {
    let payload = NotificationEvent {
        notification_id: notification.id.to_string(),
        user_id: notification.user_id.to_string(),
        r#type: notification.kind.to_proto().into(),
        task_id: notification.task_id.map(|id| id.to_string()).unwrap_or_default(),
    };
    Event::new(kind, notification.account_id, notification.id, &payload)
}
