//! Ranks of the manual order.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use uuid::Uuid;

use super::advisory_lock;

/// Serializes moves in the account. Taken before task locks.
pub(crate) async fn lock(tx: &mut Tx) -> Result<()> {
    advisory_lock::exclusive(tx, "order").await
}

/// A task and its rank.
pub(crate) struct RankedTask {
    pub(crate) id: Uuid,
    pub(crate) rank: String,
}

/// The tasks before this rank except `moved`, nearest first. Deleted tasks keep their ranks.
pub(crate) async fn before(tx: &mut ReadTx, rank: &str, moved: Uuid, limit: i64) -> Result<Vec<RankedTask>> {
    let account_id = tx.tenant().account_id;
    let found = sqlx::query_as!(
        RankedTask,
        "select id, rank from task.tasks where account_id = $1 and rank < $2 and id <> $3 order by rank desc limit $4",
        account_id,
        rank,
        moved,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(found)
}

/// The tasks after this rank except `moved`, nearest first.
pub(crate) async fn after(tx: &mut ReadTx, rank: &str, moved: Uuid, limit: i64) -> Result<Vec<RankedTask>> {
    let account_id = tx.tenant().account_id;
    let found = sqlx::query_as!(
        RankedTask,
        "select id, rank from task.tasks where account_id = $1 and rank > $2 and id <> $3 order by rank limit $4",
        account_id,
        rank,
        moved,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(found)
}
