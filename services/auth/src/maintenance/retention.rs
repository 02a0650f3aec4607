//! The retention of the service's own tables.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Next;
use baton_store::Db;

use crate::store;

/// Pause between two sweeps.
pub(crate) const INTERVAL: Duration = Duration::from_secs(600);
/// Rows that a statement deletes. More might run into the statement timeout.
const DELETE_BATCH: i64 = 5_000;

/// Deletes auth events after 90 days; refresh tokens after 30 days (the newest of an open session is younger); sessions,
/// challenges and links that have expired; people and registrations whose address was not confirmed within eight days.
///
/// # Errors
/// Those of the database.
pub(crate) async fn sweep(db: Db) -> Result<Next> {
    let now = db.clock().now();
    Ok(if store::retention::delete_batch(&db, now, DELETE_BATCH).await? >= DELETE_BATCH as u64 {
        Next::Again
    } else {
        Next::Wait
    })
}
