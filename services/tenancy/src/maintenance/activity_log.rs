//! The partitions of the activity log.

use std::{sync::Arc, time::Duration};

use baton_errors::Result;
use baton_runtime::Next;
use baton_store::Db;
use tokio::sync::Notify;

use crate::store;

/// Time between two checks of the activity log's partitions, which are weekly.
pub(crate) const INTERVAL: Duration = Duration::from_secs(3600);
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
