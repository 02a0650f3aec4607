//! What one change of many tasks holds until it ends.

use std::collections::BTreeMap;

use baton_errors::Result;
use baton_store::Tx;
use uuid::Uuid;

use super::task::{Row, select};
use crate::task::Task;

/// Tasks in the trash, locked in the order of their ids; those that are not there are missing.
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

/// How many open tasks these members have made, which stays so until the transaction ends.
pub(crate) async fn hold_usage(tx: &mut Tx, users: &[Uuid]) -> Result<BTreeMap<Uuid, i32>> {
    let rows = sqlx::query!(
        "insert into task.usage as u (account_id, user_id, open_tasks)
         select $1, user_id, 0 from unnest($2::uuid[]) as users (user_id) order by user_id
         on conflict (account_id, user_id) do update set open_tasks = u.open_tasks
         returning user_id, open_tasks",
        tx.tenant().account_id,
        users
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row.open_tasks)).collect())
}
