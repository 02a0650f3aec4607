//! Locks of bulk changes.

use baton_errors::Result;
use baton_store::Tx;
use uuid::Uuid;

use super::task::{Row, select};
use crate::task::Task;

/// Locks deleted tasks, ordered by id. Tasks outside the trash are left out.
pub(crate) async fn lock_in_trash(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Task>> {
    let rows: Vec<Row> = sqlx::query_as(select!(
        "where account_id = $1 and id = any($2) and deleted_at is not null order by id for no key update"
    ))
    .bind(tx.tenant().account_id)
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Task::try_from).collect()
}
