//! Watchers of tasks.

use baton_errors::{Error, Reason, Result};
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    task::Task,
    watchers::{MAX_WATCHERS, WatchState, Watcher},
};

/// All watchers of the task by user id, including creator and holder unless they declined: at most [`MAX_WATCHERS`]
/// plus two.
pub(crate) async fn all(tx: &mut ReadTx, task: &Task) -> Result<Vec<Watcher>> {
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
    .fetch_all(tx.connection())
    .await?;
    let watcher = |user_id, standing: Option<String>| {
        let standing = standing.map(|name| known(&name)).transpose()?;
        Ok(Watcher { user_id, standing })
    };
    rows.into_iter().map(|row| watcher(row.user_id, row.standing)).collect()
}

/// A watcher with the task's creator and holder.
#[derive(Debug)]
pub(crate) struct TaskWatcher {
    pub(crate) task_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) created_by: Uuid,
    pub(crate) assigned_to: Option<Uuid>,
}

/// Watchers of these tasks, including deleted ones, who are neither creator nor holder, except `user_id`.
pub(crate) async fn of_tasks(tx: &mut ReadTx, tasks: &[Uuid], user_id: Uuid, limit: i64) -> Result<Vec<TaskWatcher>> {
    let watching = sqlx::query_as!(
        TaskWatcher,
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
    .fetch_all(tx.connection())
    .await?;
    Ok(watching)
}

/// The watch state of a member.
pub(crate) async fn state(tx: &mut ReadTx, task_id: Uuid, user_id: Uuid) -> Result<Option<WatchState>> {
    let name = sqlx::query_scalar!(
        "select standing from task.task_watchers where account_id = $1 and task_id = $2 and user_id = $3",
        tx.tenant().account_id,
        task_id,
        user_id
    )
    .fetch_optional(tx.connection())
    .await?;
    name.map(|name| known(&name)).transpose()
}

/// Serializes changes of a task's watchers: states and their number stay as read.
pub(crate) async fn lock(tx: &mut Tx, task_id: Uuid) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('task.watchers:' || $1, 0))", task_id.to_string())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Stores a watch state. The caller holds the lock of the task's watchers.
///
/// # Errors
/// WATCHER_LIMIT when a new watcher would exceed the limit.
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
    .execute(tx.connection())
    .await?;
    if stored.rows_affected() == 1 { Ok(()) } else { Err(Reason::WatcherLimit.into()) }
}

/// Makes these people watchers, in order and within the limit, unless they have a state already. Returns the new
/// watchers. The caller holds the lock of the task's watchers.
pub(crate) async fn add_implicit(
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
    .fetch_all(tx.connection())
    .await?;
    Ok(joined)
}

/// Deletes all watch states of a departed member.
pub(crate) async fn delete_member(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!("delete from task.task_watchers where account_id = $1 and user_id = $2", account_id, user_id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

fn known(name: &str) -> Result<WatchState> {
    WatchState::from_name(name).ok_or_else(|| Error::internal("a watcher has an unknown state"))
}
