//! Number of open tasks per creator: a counter, and changes that are not yet folded into it.

use std::collections::BTreeMap;

use baton_errors::Result;
use baton_store::{Db, ReadTx, Tx};
use uuid::Uuid;

use super::advisory_lock;

/// Name of the lock that serializes folding in an account.
const FOLD_LOCK: &str = "usage";

/// Records changes in the number of open tasks per creator. It never waits: each change is a row of its own until
/// [`fold`] adds it to the counter.
pub(crate) async fn record_changes(tx: &mut Tx, changes: &BTreeMap<Uuid, i32>) -> Result<()> {
    let (users, changes): (Vec<Uuid>, Vec<i32>) =
        changes.iter().filter(|&(_, &change)| change != 0).map(|(&user, &change)| (user, change)).unzip();
    if users.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into task.usage_changes (account_id, user_id, change)
         select $1, user_id, change from unnest($2::uuid[], $3::integer[]) as changes (user_id, change)",
        tx.tenant().account_id,
        &users,
        &changes
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Locks the counters of these members and returns their open tasks, including changes of this transaction. Others who
/// lock them wait; closing tasks does not.
pub(crate) async fn lock(tx: &mut Tx, users: &[Uuid]) -> Result<BTreeMap<Uuid, i32>> {
    let used = sqlx::query!(
        r#"select member as "member!", open_tasks as "open_tasks!" from task.hold_usage($1, $2)"#,
        tx.tenant().account_id,
        users
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(used.into_iter().map(|row| (row.member, row.open_tasks)).collect())
}

/// Accounts and members with changes to fold, in order, after `after`, a batch at a time, across tenants.
pub(crate) async fn list_changed(db: &Db, (account_id, user_id): (Uuid, Uuid)) -> Result<Vec<(Uuid, Uuid)>> {
    // One index step per member, however many changes they have.
    let changed = sqlx::query!(
        r#"with recursive changed (account_id, user_id) as (
               select $1::uuid, $2::uuid
               union all
               select next.account_id, next.user_id from changed, lateral (
                   select u.account_id, u.user_id from task.usage_changes u
                   where (u.account_id, u.user_id) > (changed.account_id, changed.user_id)
                   order by u.account_id, u.user_id limit 1
               ) next
           ) select account_id as "account_id!", user_id as "user_id!" from changed offset 1 limit 1000"#,
        account_id,
        user_id
    )
    .fetch_all(db.system())
    .await?;
    Ok(changed.into_iter().map(|row| (row.account_id, row.user_id)).collect())
}

/// Takes the folding lock of the account; `false` if another transaction holds it.
pub(crate) async fn try_lock_folding(tx: &mut Tx) -> Result<bool> {
    advisory_lock::try_exclusive(tx, FOLD_LOCK).await
}

/// Takes the folding lock of the account, waiting for it.
pub(crate) async fn lock_folding(tx: &mut Tx) -> Result<()> {
    advisory_lock::exclusive(tx, FOLD_LOCK).await
}

/// Folds the changes of these members into their counters. Returns their open tasks, or `None` where another
/// transaction has locked the counter.
pub(crate) async fn fold(tx: &mut Tx, users: &[Uuid]) -> Result<BTreeMap<Uuid, Option<i32>>> {
    let counters = sqlx::query!(
        r#"select member as "member!", open_tasks from task.fold_usage($1, $2)"#,
        tx.tenant().account_id,
        users
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(counters.into_iter().map(|row| (row.member, row.open_tasks)).collect())
}

/// Limits the time that the transaction waits for a lock.
pub(crate) async fn set_short_lock_timeout(tx: &mut Tx) -> Result<()> {
    sqlx::query!("set local lock_timeout = '200ms'").execute(tx.connection()).await?;
    Ok(())
}

/// Accounts with counters or tasks, in order, after `after`, a batch at a time, across tenants.
pub(crate) async fn accounts(db: &Db, after: Uuid) -> Result<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        r#"select account_id as "id!" from (
               (select distinct account_id from task.usage where account_id > $1 order by 1 limit 100)
               union
               (select distinct account_id from task.tasks where account_id > $1 order by 1 limit 100)
           ) both_tables order by 1 limit 100"#,
        after
    )
    .fetch_all(db.system())
    .await?;
    Ok(ids)
}

/// A counter, and the recounted number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The account.
    pub account_id: Uuid,
    /// The member.
    pub user_id: Uuid,
    /// Value of the counter.
    pub counted: i32,
    /// Open tasks that the member has created.
    pub actual: i32,
}

/// Recounts the account's open tasks; returns all counters. A task and its change are written in one transaction, so
/// one statement sees both or neither.
pub(crate) async fn recount(tx: &mut ReadTx) -> Result<Vec<Counted>> {
    let counters = sqlx::query_as!(
        Counted,
        r#"with actual as (
               select created_by as user_id, count(*)::integer as open_tasks from task.tasks
               where account_id = $1 and status in ('pending', 'in_progress', 'paused') and deleted_at is null group by created_by
           ), counted as (
               select user_id, sum(open_tasks)::integer as open_tasks from (
                   select user_id, open_tasks from task.usage where account_id = $1
                   union all
                   select user_id, change from task.usage_changes where account_id = $1
               ) counters group by user_id
           )
           select $1::uuid as "account_id!", user_id as "user_id!", coalesce(c.open_tasks, 0) as "counted!",
                  coalesce(a.open_tasks, 0) as "actual!"
           from counted c full join actual a using (user_id)"#,
        tx.tenant().account_id
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(counters)
}
