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
                let user_id: Option<Uuid> = member.user_id.parse().ok();
                pausing::creator_left(tx, user_id, None).await
            }
            Some(Payload::DelegationEnded(delegation)) if delegation.service == SERVICE => {
                let account_id = delegation.account_id.parse().map_err(Error::internal)?;
                let delegation_id: Uuid = delegation.delegation_id.parse().map_err(Error::internal)?;
                tx.switch(Tenant::account(account_id)).await?;
                pausing::creator_left(tx, None, Some(delegation_id)).await
            }
            Some(Payload::DelegationEnded(_)) | None => Ok(()),
            Some(_) => self.dispatcher.dispatch(tx, vec![occurrence(event)?]).await,
        }
    }

    async fn handle_all(&self, tx: &mut Tx, events: &[&Delivery]) -> Result<()> {
        let kind = |delivery: &Delivery| EventType::of(&delivery.event);
        let ends_rights = |delivery: &&&Delivery| {
            matches!(kind(delivery), Some(EventType::MemberRemoved | EventType::DelegationEnded))
        };
        let occurrences =
            events.iter().filter(|delivery| !ends_rights(delivery)).map(|delivery| occurrence(&delivery.event));
        let occurrences = occurrences.collect::<Result<Vec<_>>>()?;
        self.dispatcher.dispatch(tx, occurrences).await?;
        let tenant = tx.tenant();
        // After the others: whoever has left may have caused some of them, and does not act any more.
        for delivery in events.iter().filter(ends_rights) {
            self.handle(tx, &delivery.event).await?;
            if tx.tenant() != tenant {
                tx.switch(tenant).await?;
            }
        }
        Ok(())
    }
}
