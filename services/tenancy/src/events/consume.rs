//! Consumes events of all services, its own included: activity log, usage reports, offboarding, changed addresses.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use baton_catalog::EventType;
use baton_errors::Result;
use baton_events::Delivery;
use baton_proto::baton::events::v1::Envelope;
use baton_runtime::Next;
use baton_store::{Db, Tx};
use tokio::sync::Notify;
use tracing::Instrument;

use crate::{
    activity::Activity,
    member_email, offboarding, store,
    tier::Tiers,
    usage::{self, UsageReport},
};

/// Time between two checks of the activity log's partitions, which are weekly.
pub(crate) const PARTITION_INTERVAL: Duration = Duration::from_secs(3600);
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Creates the next partitions of the activity log, and drops those older than `days`. Notifies `ready` once partitions
/// exist: no event can be logged before.
pub(crate) async fn maintain_partitions(db: Db, days: u16, ready: Arc<Notify>) -> Result<Next> {
    match store::activity::maintain_partitions(&db, days.into()).await {
        Ok(dropped) => {
            if dropped > 0 {
                tracing::info!(dropped, "dropped old partitions of the activity log");
            }
            ready.notify_one();
            Ok(Next::Wait)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot create partitions of the activity log");
            Ok(Next::After(RETRY_DELAY))
        }
    }
}

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
            Some(EventType::UsageReported) => usage::record(tx, &self.0, &UsageReport::from_event(event)?).await,
            // Not logged: user events belong to no account. Their effects in each account publish events of their own.
            Some(EventType::UserDeactivated) => offboarding::leave_all_accounts(tx, event).await,
            Some(EventType::UserEmailChanged) => member_email::enqueue_refresh(tx, event).await,
            _ => store::activity::append(tx, Activity::from_event(event)?.into_iter().collect()).await,
        }
    }

    /// Logs all events of an account in one statement, since every change of the platform arrives here. Of several
    /// usage reports for one quota, only the last is stored.
    async fn handle_all(&self, tx: &mut Tx, events: &[&Delivery]) -> Result<()> {
        let (mut activities, mut reports) = (Vec::new(), BTreeMap::new());
        for delivery in events {
            match EventType::of(&delivery.event) {
                Some(EventType::UsageReported) => {
                    let report = UsageReport::from_event(&delivery.event)?;
                    reports.insert((report.quota, report.user_id), (report, &delivery.span));
                }
                Some(EventType::UserDeactivated | EventType::UserEmailChanged) => {
                    self.handle(tx, &delivery.event).instrument(delivery.span.clone()).await?;
                }
                _ => activities.extend(Activity::from_event(&delivery.event)?),
            }
        }
        store::activity::append(tx, activities).await?;
        for (report, span) in reports.into_values() {
            usage::record(tx, &self.0, &report).instrument(span.clone()).await?;
        }
        Ok(())
    }
}
