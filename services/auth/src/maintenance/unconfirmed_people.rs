//! People whom the previous version registered, and who have not confirmed their address.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Next;
use baton_store::Db;

use crate::store;

/// Pause between two sweeps.
pub(crate) const INTERVAL: Duration = Duration::from_secs(600);
/// People that a statement deletes. More might run into the statement timeout.
const BATCH: i64 = 5_000;

/// Deletes them after eight days.
///
/// # Errors
/// Those of the database.
pub(crate) async fn sweep(db: Db) -> Result<Next> {
    let deleted = store::retention::delete_unconfirmed(&db, db.clock().now(), BATCH).await?;
    Ok(if deleted == BATCH.unsigned_abs() { Next::Again } else { Next::Wait })
}
