//! Consumes events of all services: those that may run rules, and those that end the rights with which rules act.

use async_trait::async_trait;
use baton_catalog::{EventType, Payload};
use baton_errors::{Error, Result};
use baton_events::Delivery;
use baton_proto::baton::events::v1::Envelope;
use baton_store::{Tenant, Tx};
use uuid::Uuid;

use crate::{
    application::{dispatch::Dispatcher, pausing},
    convert::event::{SERVICE, is_handled, occurrence},
};

/// The service's event handler.
#[derive(Debug, Default)]
pub(crate) struct Handler {
    dispatcher: Dispatcher,
}

#[async_trait]
impl baton_events::Handler for Handler {
    fn handles(&self, kind: Option<EventType>) -> bool {
        kind.is_some_and(is_handled)
    }

    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        match Payload::decode(event).map_err(Error::internal)? {
            Some(Payload::MemberRemoved(member)) => {
                // An invitation that ended has no user.
                match member.user_id.parse() {
                    Ok(user_id) => pausing::person_left(tx, user_id).await,
                    Err(_) => Ok(()),
                }
            }
            Some(Payload::DelegationEnded(delegation)) if delegation.service == SERVICE => {
                let account_id = delegation.account_id.parse().map_err(Error::internal)?;
                let delegation_id: Uuid = delegation.delegation_id.parse().map_err(Error::internal)?;
                tx.switch(Tenant::account(account_id)).await?;
                pausing::grant_ended(tx, delegation_id).await
            }
            Some(Payload::DelegationEnded(_)) | None => Ok(()),
            Some(_) => self.dispatcher.dispatch(tx, vec![occurrence(event)?]).await,
        }
    }

    async fn handle_all(&self, tx: &mut Tx, events: &[&Delivery]) -> Result<()> {
        let is_revocation = |delivery: &&&Delivery| {
            let kind = EventType::of(&delivery.event);
            matches!(kind, Some(EventType::MemberRemoved | EventType::DelegationEnded))
        };
        let tenant = tx.tenant();
        // First, because the positions in the queue are taken last everywhere.
        for delivery in events.iter().filter(is_revocation) {
            self.handle(tx, &delivery.event).await?;
            if tx.tenant() != tenant {
                tx.switch(tenant).await?;
            }
        }
        let others = events.iter().filter(|delivery| !is_revocation(delivery));
        let occurrences = others.map(|delivery| occurrence(&delivery.event)).collect::<Result<Vec<_>>>()?;
        self.dispatcher.dispatch(tx, occurrences).await
    }
}
