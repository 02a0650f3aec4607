//! People who have deactivated themselves, and cannot undo it any more: the privacy service erases them.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Next;
use baton_store::{Db, Tenant};

use crate::{events::publish, store};

/// How often they are looked for. Each is told again until they are erased.
pub(crate) const INTERVAL: Duration = Duration::from_secs(3600);
/// People in one sweep.
const BATCH: i64 = 500;

/// Publishes an event for each.
///
/// # Errors
/// Those of the database.
pub(crate) async fn sweep(db: Db) -> Result<Next> {
    let people = store::retention::retention_ended(&db, db.clock().now(), BATCH).await?;
    if !people.is_empty() {
        let mut tx = db.begin(Tenant::NONE).await?;
        tx.publish_all(people.into_iter().map(publish::user_retention_ended)).await?;
        tx.commit().await?;
    }
    Ok(Next::Wait)
}
