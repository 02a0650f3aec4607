//! Consumes events: people whose deactivation cannot be undone any more are erased.

use async_trait::async_trait;
use baton_catalog::{EventType, Payload};
use baton_errors::{Error, Result};
use baton_proto::baton::events::v1::Envelope;
use baton_store::Tx;
use uuid::Uuid;

use crate::{
    convert,
    erasure::{Erasure, Origin},
    request::{RequestKind, RequestState},
    store,
};

/// The service's event handler.
#[derive(Debug)]
pub(crate) struct Handler;

#[async_trait]
impl baton_events::Handler for Handler {
    fn handles(&self, kind: Option<EventType>) -> bool {
        kind == Some(EventType::UserRetentionEnded)
    }

    /// The event comes again until the person is erased; one erasure of a person is open at a time.
    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        let clock = tx.db().clock().clone();
        let now = clock.now();
        let erasure = Erasure {
            request_id: clock.new_id(),
            user_id: event.subject_id.parse().map_err(Error::internal)?,
            origin: Origin::Deactivation,
            reason: String::new(),
            nonce: Uuid::new_v4(),
            requested_at: now,
            erase_at: now,
            account: None,
        };
        // One that was published before the person was erased may arrive after it.
        if store::erasure::was_erased(tx, erasure.user_id).await? {
            return Ok(());
        }
        if store::erasure::insert(tx, &erasure).await? {
            let (id, user_id) = (erasure.request_id, erasure.user_id);
            let (kind, state) = (RequestKind::Erasure, RequestState::Scheduled);
            tx.publish(convert::event(Payload::PrivacyRequestCreated, id, user_id, kind, state)).await?;
        }
        Ok(())
    }
}
