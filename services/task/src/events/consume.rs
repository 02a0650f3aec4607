//! Events that the service consumes.

use baton_catalog::{EventType, Payload};
use baton_errors::{Error, Result};
use baton_proto::baton::events::v1::Envelope;
use baton_store::{Tenant, Tx};
use uuid::Uuid;

use crate::{application::offboarding, store};

/// Offboards members who have left, and clears the departure of members who return.
#[derive(Debug)]
pub(crate) struct Handler;

#[tonic::async_trait]
impl baton_events::Handler for Handler {
    fn handles(&self, kind: Option<EventType>) -> bool {
        matches!(kind, Some(EventType::MemberRemoved | EventType::MemberJoined))
    }

    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        let id = |text: &str| text.parse::<Uuid>().map_err(Error::internal);
        let member = match Payload::decode(event).map_err(Error::internal)? {
            Some(Payload::MemberJoined(member)) => {
                return store::offboarding::clear_departure(tx, id(&member.user_id)?).await;
            }
            Some(Payload::MemberRemoved(member)) => member,
            _ => return Ok(()),
        };
        // An invitation that ended leaves no tasks.
        if member.hand_over_to.is_empty() {
            return Ok(());
        }
        let (from, to) = (id(&member.user_id)?, id(&member.hand_over_to)?);
        // Timelines and events name the member who removed this one; a member who leaves is their own actor.
        let user_id = if event.actor_id.is_empty() { from } else { id(&event.actor_id)? };
        let Tenant { account_id, .. } = tx.tenant();
        tx.switch(Tenant { account_id, user_id }).await?;
        offboarding::offboard(tx, from, to).await
    }
}
