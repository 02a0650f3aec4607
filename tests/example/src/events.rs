//! The event in.

use baton_catalog::{EventType, Payload};
use baton_errors::{Error, Result};
use baton_proto::baton::events::v1::Envelope;
use baton_store::Tx;

use crate::{convert, greeting::Greeting, store};

/// Creates a greeting for everybody who joins.
#[derive(Debug)]
pub(crate) struct Handler;

#[async_trait::async_trait]
impl baton_events::Handler for Handler {
    fn handles(&self, kind: Option<EventType>) -> bool {
        kind == Some(EventType::MemberJoined)
    }

    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        let Some(Payload::MemberJoined(member)) = Payload::decode(event).map_err(Error::internal)? else {
            return Ok(());
        };
        let user_id = member.user_id.parse().map_err(Error::internal)?;
        let clock = tx.db().clock();
        let greeting = Greeting { id: clock.new_id(), user_id, created_at: clock.now() };
        if store::insert(tx, &greeting).await? {
            tx.publish(convert::greeting_created(tx.tenant().account_id, &greeting)).await?;
        }
        Ok(())
    }
}
