//! Who watches tasks.

use baton_errors::{Error, Reason, Result};
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    task::Task,
    watchers::{MAX_WATCHERS, WatchState},
};

/// Somebody who watches a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watcher {
    pub(crate) user_id: Uuid,
    /// How they stand to it, if they would watch it without holding or having created it.
    pub(crate) standing: Option<WatchState>,
}

/// All who watch a task, by user id: those who stand so, its creator and its holder, unless they said no. They are
/// [`MAX_WATCHERS`] and two at most.
pub(crate) async fn all(tx: &mut Tx, task: &Task) -> Result<Vec<Watcher>> {
    let by_themselves: Vec<Uuid> = [Some(task.created_by), task.assigned_to].into_iter().flatten().collect();
    let rows = sqlx::query!(
        r#"select coalesce(w.user_id, own.user_id) as "user_id!", w.standing as "standing?"
           from (select user_id, standing, watching from task.task_watchers where account_id = $1 and task_id = $2) w
           full join (select distinct user_id from unnest($3::uuid[]) as own (user_id)) own using (user_id)
           where coalesce(w.watching, true) order by 1"#,
        task.account_id,
        task.id,
        &by_themselves
    )
    .fetch_all(&mut **tx)
    .await?;
    let watcher = |user_id, standing: Option<String>| {
        let standing = standing.map(|name| known(&name)).transpose()?;
        Ok(Watcher { user_id, standing })
    };
    rows.into_iter().map(|row| watcher(row.user_id, row.standing)).collect()
}

/// Somebody who watches a task that is another's, and whose it is.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) task_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) created_by: Uuid,
    pub(crate) assigned_to: Option<Uuid>,
}

/// Who watches these tasks without having created or holding them, but for `user_id`; in the trash as well.
pub(crate) async fn of_all(tx: &mut Tx, tasks: &[Uuid], user_id: Uuid, limit: i64) -> Result<Vec<Watching>> {
    let watching = sqlx::query_as!(
        Watching,
        "select w.task_id, w.user_id, t.created_by, t.assigned_to
         from task.task_watchers w join task.tasks t on t.account_id = $1 and t.id = w.task_id
         where w.account_id = $1 and w.task_id = any($2) and w.watching and w.user_id <> $3
           and w.user_id <> t.created_by and w.user_id is distinct from t.assigned_to
         order by w.task_id, w.user_id limit $4",
        tx.tenant().account_id,
        tasks,
        user_id,
        limit
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(watching)
}

/// How somebody stands to a task.
pub(crate) async fn standing(tx: &mut Tx, task_id: Uuid, user_id: Uuid) -> Result<Option<WatchState>> {
    let name = sqlx::query_scalar!(
        "select standing from task.task_watchers where account_id = $1 and task_id = $2 and user_id = $3",
        tx.tenant().account_id,
        task_id,
        user_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    name.map(|name| known(&name)).transpose()
}

/// Lets one transaction at a time change who watches a task: how somebody stands stays true after this, and so does
/// how many there are.
pub(crate) async fn lock(tx: &mut Tx, task_id: Uuid) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('task.watchers:' || $1, 0))", task_id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Stores how somebody stands to a task whose watchers the transaction has locked.
///
/// # Errors
/// WATCHER_LIMIT when there is no room for one more who watches.
pub(crate) async fn set(
    tx: &mut Tx,
    task_id: Uuid,
    user_id: Uuid,
    standing: WatchState,
    now: DateTime<Utc>,
) -> Result<()> {
    let stored = sqlx::query!(
        "insert into task.task_watchers (account_id, task_id, user_id, standing, since)
         select $1, $2, $3, $4, $5
         where not $6 or (select count(*) from task.task_watchers
                          where account_id = $1 and task_id = $2 and watching and user_id <> $3) < $7
         on conflict (account_id, task_id, user_id) do update set standing = excluded.standing, since = excluded.since",
        tx.tenant().account_id,
        task_id,
        user_id,
        standing.name(),
        now,
        standing.watches(),
        MAX_WATCHERS
    )
    .execute(&mut **tx)
    .await?;
    if stored.rows_affected() == 1 { Ok(()) } else { Err(Reason::WatcherLimit.into()) }
}

/// These people watch a task by themselves from now on, in their order, as far as there is room, but for those of whom
/// something is said already. Answers who does now and did not. Its watchers are locked.
pub(crate) async fn join(
    tx: &mut Tx,
    task_id: Uuid,
    user_ids: &[Uuid],
    standing: WatchState,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>> {
    let joined = sqlx::query_scalar!(
        "insert into task.task_watchers (account_id, task_id, user_id, standing, since)
         select $1, $2, user_id, $4, $5 from unnest($3::uuid[]) with ordinality as new (user_id, nth)
         where not exists (select from task.task_watchers old
                           where old.account_id = $1 and old.task_id = $2 and old.user_id = new.user_id)
         order by nth
         limit greatest(0, $6 - (select count(*) from task.task_watchers
                                 where account_id = $1 and task_id = $2 and watching))
         returning user_id",
        tx.tenant().account_id,
        task_id,
        user_ids,
        standing.name(),
        now,
        MAX_WATCHERS
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(joined)
}

/// Forgets how a member who has left stood to all tasks.
pub(crate) async fn forget(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!("delete from task.task_watchers where account_id = $1 and user_id = $2", account_id, user_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn known(name: &str) -> Result<WatchState> {
    WatchState::from_name(name).ok_or_else(|| Error::internal("a watcher has an unknown standing"))
}
