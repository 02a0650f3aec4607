//! Offboarding: reassigns the open tasks of departed members to their successors. The unit of work does the same for
//! tasks that are reopened later.

use baton_errors::Result;
use baton_store::Tx;
use uuid::Uuid;

use crate::{application::writer::UnitOfWork, policy::succession::hand_over, store};

/// Tasks per statement.
const BATCH: i64 = 500;

/// Reassigns the open tasks of a member who has left to `to`, in batches, and removes what only the member used:
/// watches and private views.
///
/// All batches are one transaction, and so is the inbox row of the event: no task is reassigned twice, and none is left
/// out.
///
/// # Errors
/// Those of the database.
pub(crate) async fn offboard(tx: &mut Tx, from: Uuid, to: Uuid) -> Result<()> {
    store::offboarding::record_departure(tx, from, to).await?;
    store::watcher::delete_member(tx, from).await?;
    store::saved_view::delete_private(tx, from).await?;
    let mut after = Uuid::nil();
    while let Some(last) = reassign_batch(tx, from, to, after).await? {
        after = last;
    }
    Ok(())
}

/// Reassigns the next tasks and returns the id of the last one, or `None` when there are no more.
async fn reassign_batch(tx: &mut Tx, from: Uuid, to: Uuid, after: Uuid) -> Result<Option<Uuid>> {
    let now = tx.db().clock().now();
    let tasks = store::offboarding::lock_tasks(tx, from, after, BATCH).await?;
    let last = tasks.last().map(|task| task.id);
    let changes = tasks.into_iter().map(|task| hand_over(task, from, to, now)).collect();
    UnitOfWork::hand_over(changes).write(tx).await?;
    Ok(last)
}
