//! How many open tasks each member has made: a counter, and the changes that are not added to it yet.

use std::collections::BTreeMap;

use baton_errors::Result;
use baton_store::{Db, Tx};
use uuid::Uuid;

use super::advisory_lock;

/// The lock of who adds changes to the counters of an account.
const FOLD: &str = "usage";

/// Counts so many tasks more, or less, as open that these members have made. Nobody waits for anybody: each change is a
/// row of its own until [`fold`] adds it to the counter.
pub(crate) async fn count(tx: &mut Tx, changes: &BTreeMap<Uuid, i32>) -> Result<()> {
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
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// How many open tasks these members have made, with what this transaction has counted. Until it ends nobody else who
/// holds them counts more; tasks may still be closed.
pub(crate) async fn lock(tx: &mut Tx, users: &[Uuid]) -> Result<BTreeMap<Uuid, i32>> {
    let used = sqlx::query!(
        r#"select member as "member!", open_tasks as "open_tasks!" from task.hold_usage($1, $2)"#,
        tx.tenant().account_id,
        users
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(used.into_iter().map(|row| (row.member, row.open_tasks)).collect())
}

/// Accounts and members with changes that are not added to the counters yet, in order, after `after`, some at a time. Of
/// all tenants.
pub(crate) async fn changed(db: &Db, (account_id, user_id): (Uuid, Uuid)) -> Result<Vec<(Uuid, Uuid)>> {
    // One step in the index per member, however many changes each has made.
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

/// Lets nobody else add changes of this account to its counters, until the transaction ends; `false` where somebody does.
pub(crate) async fn try_claim(tx: &mut Tx) -> Result<bool> {
    advisory_lock::try_exclusive(tx, FOLD).await
}

/// The same, after a wait.
pub(crate) async fn claim(tx: &mut Tx) -> Result<()> {
    advisory_lock::exclusive(tx, FOLD).await
}

/// Adds the changes of these members to their counters; answers how many open tasks each has made then, and `None` for
/// those whose counter another holds.
pub(crate) async fn fold(tx: &mut Tx, users: &[Uuid]) -> Result<BTreeMap<Uuid, Option<i32>>> {
    let counters = sqlx::query!(
        r#"select member as "member!", open_tasks from task.fold_usage($1, $2)"#,
        tx.tenant().account_id,
        users
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(counters.into_iter().map(|row| (row.member, row.open_tasks)).collect())
}

/// Has the transaction wait no longer than this for a lock.
pub(crate) async fn set_short_lock_timeout(tx: &mut Tx) -> Result<()> {
    sqlx::query!("set local lock_timeout = '200ms'").execute(&mut **tx).await?;
    Ok(())
}

/// Accounts that have counters or tasks, in order, after `after`, few at a time. Of all tenants.
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

/// A counter, and what counting the tasks says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The account.
    pub account_id: Uuid,
    /// The member.
    pub user_id: Uuid,
    /// What the counter said.
    pub counted: i32,
    /// How many open tasks of theirs there are.
    pub actual: i32,
}

/// Counts an account's open tasks anew; answers every counter as it was and as it is. Whoever changes a task counts it in
/// the same transaction, and one statement sees both or none.
pub(crate) async fn recount(tx: &mut Tx) -> Result<Vec<Counted>> {
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
    .fetch_all(&mut **tx)
    .await?;
    Ok(counters)
}
