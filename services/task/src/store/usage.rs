//! How many open tasks each member has made.

use std::collections::BTreeMap;

use baton_access::limits;
use baton_errors::Result;
use baton_store::{Db, Tenant, Tx};
use uuid::Uuid;

/// The quota, as errors name it.
const QUOTA: &str = "open_tasks_per_user";

/// Counts so many more for each of these members; answers how many they are then. The rows decide: of many at once
/// who want the last place, one gets it.
///
/// # Errors
/// QUOTA_EXCEEDED when one of them would have more than `limit`.
pub(crate) async fn add(tx: &mut Tx, more: &BTreeMap<Uuid, i32>, limit: Option<i32>) -> Result<Vec<(Uuid, i32)>> {
    let account_id = tx.tenant().account_id;
    let (users, counts): (Vec<Uuid>, Vec<i32>) = more.iter().map(|(&user, &count)| (user, count)).unzip();
    let added = sqlx::query!(
        "insert into task.usage as u (account_id, user_id, open_tasks)
         select $1, user_id, count from unnest($2::uuid[], $3::integer[]) as more (user_id, count)
         where $4::integer is null or count <= $4
         on conflict (account_id, user_id) do update set open_tasks = u.open_tasks + excluded.open_tasks
             where $4 is null or u.open_tasks + excluded.open_tasks <= $4
         returning user_id, open_tasks",
        account_id,
        &users,
        &counts,
        limit
    )
    .fetch_all(&mut **tx)
    .await?;
    let added: Vec<_> = added.into_iter().map(|row| (row.user_id, row.open_tasks)).collect();
    let Some(refused) = users.into_iter().find(|user| added.iter().all(|(added, _)| added != user)) else {
        return Ok(added);
    };
    let used = sqlx::query_scalar!(
        r#"select coalesce(sum(open_tasks), 0)::integer as "used!" from task.usage
           where account_id = $1 and user_id = $2"#,
        account_id,
        refused
    )
    .fetch_one(&mut **tx)
    .await?;
    Err(limits::exceeded(QUOTA, limit.unwrap_or(i32::MAX), used.into()))
}

/// Counts so many less for each of these members; answers how many they are then.
pub(crate) async fn subtract(tx: &mut Tx, less: &BTreeMap<Uuid, i32>) -> Result<Vec<(Uuid, i32)>> {
    let account_id = tx.tenant().account_id;
    let (users, counts): (Vec<Uuid>, Vec<i32>) = less.iter().map(|(&user, &count)| (user, count)).unzip();
    // Locked in the order in which others count up.
    let left = sqlx::query!(
        "with mine as (
             select user_id from task.usage where account_id = $1 and user_id = any($2) order by user_id for update
         )
         update task.usage u set open_tasks = greatest(u.open_tasks - less.count, 0)
         from unnest($2::uuid[], $3::integer[]) as less (user_id, count) join mine using (user_id)
         where u.account_id = $1 and u.user_id = less.user_id
         returning u.user_id, u.open_tasks",
        account_id,
        &users,
        &counts
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(left.into_iter().map(|row| (row.user_id, row.open_tasks)).collect())
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

/// Counts an account's open tasks anew; answers every counter as it was and as it is. Counters are locked
/// before tasks are counted, and whoever changes a task changes its counter: nothing slips in between.
pub(crate) async fn recount(db: &Db, account_id: Uuid, write: bool) -> Result<(Tx, Vec<Counted>)> {
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    sqlx::query!("select user_id from task.usage where account_id = $1 order by user_id for update", account_id)
        .fetch_all(&mut *tx)
        .await?;
    let counters = sqlx::query_as!(
        Counted,
        r#"with actual as (
               select created_by as user_id, count(*)::integer as open_tasks from task.tasks
               where account_id = $1 and status in ('pending', 'in_progress', 'paused') and deleted_at is null group by created_by
           )
           select $1::uuid as "account_id!", user_id as "user_id!", coalesce(u.open_tasks, 0) as "counted!",
                  coalesce(a.open_tasks, 0) as "actual!"
           from (select user_id, open_tasks from task.usage where account_id = $1) u
           full join actual a using (user_id)"#,
        account_id
    )
    .fetch_all(&mut *tx)
    .await?;
    if write {
        let wrong: Vec<_> = counters.iter().filter(|counter| counter.counted != counter.actual).collect();
        let (users, actual): (Vec<_>, Vec<_>) = wrong.iter().map(|counter| (counter.user_id, counter.actual)).unzip();
        sqlx::query!(
            "insert into task.usage as u (account_id, user_id, open_tasks)
             select $1, user_id, open_tasks from unnest($2::uuid[], $3::integer[]) as actual (user_id, open_tasks)
             on conflict (account_id, user_id) do update set open_tasks = excluded.open_tasks",
            account_id,
            &users,
            &actual
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok((tx, counters))
}
