//! Tasks of departed members, and their successors.

use std::collections::HashMap;

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use uuid::Uuid;

use super::{
    advisory_lock,
    task::{Row, select},
};
use crate::task::Task;

/// Locks open tasks whose worker is this person, or that they assigned and nobody has accepted; ordered by id, after
/// `after`.
pub(crate) async fn lock_tasks(tx: &mut Tx, user_id: Uuid, after: Uuid, limit: i64) -> Result<Vec<Task>> {
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
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// Stores the successor of a departed member. Until the transaction ends no task is reopened.
pub(crate) async fn record_departure(tx: &mut Tx, user_id: Uuid, hand_over_to: Uuid) -> Result<()> {
    let account_id = tx.tenant().account_id;
    advisory_lock::exclusive(tx, "departures").await?;
    sqlx::query!(
        "insert into task.departures (account_id, user_id, hand_over_to) values ($1, $2, $3)
         on conflict (account_id, user_id) do update set hand_over_to = excluded.hand_over_to",
        account_id,
        user_id,
        hand_over_to
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes the departure of a member who has returned.
pub(crate) async fn clear_departure(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!("delete from task.departures where account_id = $1 and user_id = $2", account_id, user_id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Blocks departures while this transaction reopens tasks; others may reopen tasks too. Taken before task locks, as in
/// offboarding.
pub(crate) async fn lock_departures_shared(tx: &mut Tx) -> Result<()> {
    advisory_lock::shared(tx, "departures").await
}

/// The departed ones among these people with their successors. If a successor has departed as well, theirs.
pub(crate) async fn successors(tx: &mut ReadTx, people: &[Uuid]) -> Result<HashMap<Uuid, Uuid>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        r#"with recursive line as (
               select user_id, hand_over_to as heir from task.departures where account_id = $1 and user_id = any($2)
               union
               select line.user_id, next.hand_over_to
               from line join task.departures next on next.account_id = $1 and next.user_id = line.heir
           )
           select user_id as "user_id!", heir as "heir!" from line
           where not exists (select from task.departures gone where gone.account_id = $1 and gone.user_id = line.heir)"#,
        account_id,
        people
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row.heir)).collect())
}
