//! Consumes events of all services: creates notifications.

use async_trait::async_trait;
use baton_catalog::EventType;
use baton_errors::{Error, Result};
use baton_proto::baton::events::v1::Envelope;
use baton_store::{Restrictions, Tx};
use uuid::Uuid;

use super::publish::notification_created;
use crate::{
    convert,
    notification::Notification,
    routing::{self, Notice},
    store,
};

/// The service's event handler.
#[derive(Debug)]
pub(crate) struct Handler {
    /// People who are told nothing: their data is only stored.
    pub(crate) restrictions: Restrictions,
}

#[async_trait]
impl baton_events::Handler for Handler {
    fn handles(&self, kind: Option<EventType>) -> bool {
        kind.is_some_and(routing::is_notifiable)
    }

    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        let Some(notice) = route(event)? else { return Ok(()) };
        let source_event_id: Uuid = event.id.parse().map_err(Error::internal)?;
        let account_id = tx.tenant().account_id;
        if account_id.is_nil() {
            return Err(Error::internal("the event has no account"));
        }
        let clock = tx.db().clock().clone();
        let notifications: Vec<Notification> = notice
            .recipients
            .into_iter()
            .filter(|&user_id| !self.restrictions.contains(user_id))
            .map(|user_id| Notification {
                id: clock.new_id(),
                account_id,
                user_id,
                kind: notice.kind,
                task_id: notice.task_id,
                actor_id: notice.actor_id,
                read_at: None,
                created_at: clock.now(),
                text: None,
            })
            .collect();
        let added = store::notification::add(tx, source_event_id, &notifications).await?;
        tx.publish_all(notifications.iter().filter(|n| added.contains(&n.id)).map(notification_created)).await
    }
}

/// The notice of an event; `None` when its type causes no notifications.
///
/// # Errors
/// INTERNAL when the payload does not match the event type.
fn route(event: &Envelope) -> Result<Option<Notice>> {
    Ok(convert::event::parse(event)?.and_then(routing::route))
}

#[cfg(test)]
mod tests;
