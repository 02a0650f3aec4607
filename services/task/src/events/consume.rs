//! Events that the service consumes.

use baton_errors::{Error, Result};
use baton_proto::baton::{events::v1::Envelope, tenancy::v1::MemberEvent};
use baton_store::{Tenant, Tx};
use uuid::Uuid;

use crate::{offboarding, store};

const MEMBER_JOINED: &str = "member.joined";
const MEMBER_REMOVED: &str = "member.removed";

/// Offboards members who have left, and clears the departure of members who return.
#[derive(Debug)]
pub(crate) struct Handler;

#[tonic::async_trait]
impl baton_events::Handler for Handler {
    fn handles(&self, kind: &str) -> bool {
        matches!(kind, MEMBER_REMOVED | MEMBER_JOINED)
    }

    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        let payload = event.payload.as_ref().ok_or_else(|| Error::internal("the event has no payload"))?;
        let member: MemberEvent = payload.to_msg().map_err(Error::internal)?;
        let id = |text: &str| text.parse::<Uuid>().map_err(Error::internal);
        if event.r#type == MEMBER_JOINED {
            return store::offboarding::clear_departure(tx, id(&member.user_id)?).await;
        }
        // An invitation that ended leaves no tasks.
        if member.hand_over_to.is_empty() {
            return Ok(());
        }
        let (from, to) = (id(&member.user_id)?, id(&member.hand_over_to)?);
        // Timelines and events name the member who removed this one; a member who leaves is their own actor.
        let user_id = if event.actor_id.is_empty() { from } else { id(&event.actor_id)? };
        tx.switch(Tenant { account_id: tx.tenant().account_id, user_id }).await?;
        offboarding::offboard(tx, from, to).await
    }
}
