//! Consumes events of all services, its own included: activity log, usage reports, offboarding, changed addresses.

use std::collections::BTreeMap;

use async_trait::async_trait;
use baton_catalog::EventType;
use baton_errors::{Error, Result};
use baton_events::Delivery;
use baton_proto::baton::events::v1::Envelope;
use baton_store::Tx;
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    application::{member_email, offboarding, usage},
    convert, store,
    tier::Tiers,
};

/// The service's event handler.
#[derive(Debug)]
pub(crate) struct Handler(pub(crate) Tiers);

#[async_trait]
impl baton_events::Handler for Handler {
    /// The activity log records every event.
    fn handles(&self, _: Option<EventType>) -> bool {
        true
    }

    async fn handle(&self, tx: &mut Tx, event: &Envelope) -> Result<()> {
        match EventType::of(event) {
            // Not logged: the number follows from other events, each of which is logged.
            Some(EventType::UsageReported) => usage::record(tx, &self.0, &convert::usage_report(event)?).await,
            // Not logged: user events belong to no account. Their effects in each account publish events of their own.
            Some(EventType::UserDeactivated) => offboarding::leave_all_accounts(tx, parse_user_id(event)?).await,
            Some(EventType::UserEmailChanged) => member_email::enqueue_refresh(tx, parse_user_id(event)?).await,
            _ => store::activity::append(tx, convert::activity(event)?.into_iter().collect()).await,
        }
    }

    /// Logs all events of an account in one statement, since every change of the platform arrives here. Of several
    /// usage reports for one quota, only the last is stored.
    async fn handle_all(&self, tx: &mut Tx, events: &[&Delivery]) -> Result<()> {
        let (mut activities, mut reports) = (Vec::new(), BTreeMap::new());
        for delivery in events {
            match EventType::of(&delivery.event) {
                Some(EventType::UsageReported) => {
                    let report = convert::usage_report(&delivery.event)?;
                    reports.insert((report.quota, report.user_id), (report, &delivery.span));
                }
                Some(EventType::UserDeactivated | EventType::UserEmailChanged) => {
                    self.handle(tx, &delivery.event).instrument(delivery.span.clone()).await?;
                }
                _ => activities.extend(convert::activity(&delivery.event)?),
            }
        }
        store::activity::append(tx, activities).await?;
        for (report, span) in reports.into_values() {
            usage::record(tx, &self.0, &report).instrument(span.clone()).await?;
        }
        Ok(())
    }
}

/// The user id that is the subject of an auth event.
///
/// # Errors
/// INTERNAL when the subject is not a UUID.
fn parse_user_id(event: &Envelope) -> Result<Uuid> {
    event.subject_id.parse().map_err(Error::internal)
}
