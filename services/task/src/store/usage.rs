//! How many open tasks each member has made: a counter, and the changes that are not added to it yet.

use std::collections::BTreeMap;

use baton_errors::Result;
use baton_store::{Db, Tx};
use uuid::Uuid;

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
pub(crate) async fn hold(tx: &mut Tx, users: &[Uuid]) -> Result<BTreeMap<Uuid, i32>> {
    let used = sqlx::query!(
        r#"select member as "member!", open_tasks as "open_tasks!" from task.hold_usage($1, $2)"#,
        tx.tenant().account_id,
        users
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(used.into_iter().map(|row| (row.member, row.open_tasks)).collect())
}

/// Accounts with changes that are not added to the counters yet. Of all tenants.
pub(crate) async fn changed(db: &Db) -> Result<Vec<Uuid>> {
    // One step in the index per account, however many changes each has.
    let accounts = sqlx::query_scalar!(
        r#"with recursive changed (account_id) as (
               (select account_id from task.usage_changes order by account_id limit 1)
               union all
               select (select account_id from task.usage_changes u where u.account_id > changed.account_id
                       order by account_id limit 1)
               from changed where changed.account_id is not null
           ) select account_id as "account_id!" from changed where account_id is not null limit 1000"#
    )
    .fetch_all(db.system())
    .await?;
    Ok(accounts)
}

/// Adds the account's changes to the counters; answers those that it added to, some at a time.
pub(crate) async fn fold(tx: &mut Tx) -> Result<Vec<(Uuid, i32)>> {
    let counters = sqlx::query!(
        r#"select member as "member!", open_tasks as "open_tasks!" from task.fold_usage($1)"#,
        tx.tenant().account_id
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(counters.into_iter().map(|row| (row.member, row.open_tasks)).collect())
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

/// All counters of the account.
pub(crate) async fn counters(tx: &mut Tx) -> Result<Vec<(Uuid, i32)>> {
    let counters =
        sqlx::query!("select user_id, open_tasks from task.usage where account_id = $1", tx.tenant().account_id)
            .fetch_all(&mut **tx)
            .await?;
    Ok(counters.into_iter().map(|row| (row.user_id, row.open_tasks)).collect())
}
