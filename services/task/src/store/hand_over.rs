//! Tasks of somebody who has left, many at a time.

use baton_errors::Result;
use baton_store::Tx;
use uuid::Uuid;

use super::task::{Row, select};
use crate::task::Task;

/// Open tasks of the account that are this person's to do, or that they handed to somebody who has not
/// accepted yet, locked; in the order of their ids, after `after`.
pub(crate) async fn lock(tx: &mut Tx, user_id: Uuid, after: Uuid, limit: i64) -> Result<Vec<Task>> {
    let account_id = tx.tenant().account_id;
    let rows: Vec<Row> = sqlx::query_as(select!(
        "where account_id = $1 and deleted_at is null and status in ('pending', 'in_progress', 'paused') and id > $3
           and (assigned_to = $2 or (assigned_to is null and created_by = $2)
                or (assigned_by = $2 and accepted_at is null))
         order by id limit $4 for no key update"
    ))
    .bind(account_id)
    .bind(user_id)
    .bind(after)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Task::try_from).collect()
}
