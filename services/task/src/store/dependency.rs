//! Dependencies.

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::{ReadTx, Tx};
use uuid::Uuid;

use super::advisory_lock;
use super::task::{Row, select};
use crate::task::{
    Status, Task, Visibility,
    dependency::{LinkedTask, MAX_ANCESTORS, MAX_LINKS},
};

/// The task's blockers and the tasks that it blocks, without deleted ones, oldest link first.
pub(crate) async fn linked(tx: &mut ReadTx, id: Uuid) -> Result<Vec<LinkedTask>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        r#"select link.waits as "waits!", link.created_at as "linked_at!", t.id, t.title, t.status, t.due_at,
                  t.created_by, t.assigned_to, t.visibility
           from (
               select false as waits, blocked_by as other, created_at from task.task_dependencies
               where account_id = $1 and task_id = $2
               union all
               select true, task_id, created_at from task.task_dependencies where account_id = $1 and blocked_by = $2
           ) link
           join task.tasks t on t.account_id = $1 and t.id = link.other
           where t.deleted_at is null order by link.created_at, t.id"#,
        account_id,
        id
    )
    .fetch_all(tx.connection())
    .await?;
    let linked = rows.into_iter().map(|row| {
        let unknown = |what: &str| Error::internal(format!("a task has an unknown {what}"));
        Ok(LinkedTask {
            waits: row.waits,
            linked_at: row.linked_at,
            id: row.id,
            title: row.title,
            status: Status::from_name(&row.status).ok_or_else(|| unknown("status"))?,
            due_at: row.due_at,
            created_by: row.created_by,
            assigned_to: row.assigned_to,
            visibility: Visibility::from_name(&row.visibility).ok_or_else(|| unknown("visibility"))?,
        })
    });
    linked.collect()
}

/// Serializes additions of dependencies in the account: two could close a cycle that neither sees, or exceed the limit.
/// Taken before task locks.
pub(crate) async fn lock(tx: &mut Tx) -> Result<()> {
    advisory_lock::exclusive(tx, "dependencies").await
}

/// Adds a dependency under [`lock`]; returns whether it is new.
///
/// # Errors
/// TASK_NOT_FOUND, DEPENDENCY_CYCLE, DEPENDENCY_LIMIT.
pub(crate) async fn add(tx: &mut Tx, task_id: Uuid, blocked_by: Uuid) -> Result<bool> {
    let (account_id, now) = (tx.tenant().account_id, tx.db().clock().now());
    // Whoever closes the blocker now either comes before, or finds the dependency.
    let held = sqlx::query("select from task.tasks where account_id = $1 and id = any($2) order by id for share");
    held.bind(account_id).bind([task_id, blocked_by]).execute(tx.connection()).await?;
    let added = sqlx::query!(
        "insert into task.task_dependencies (account_id, task_id, blocked_by, created_at) values ($1, $2, $3, $4)
         on conflict (account_id, task_id, blocked_by) do nothing",
        account_id,
        task_id,
        blocked_by,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(map_constraint)?;
    if added.rows_affected() == 0 {
        return Ok(false);
    }
    check_limits(tx, task_id, blocked_by).await?;
    Ok(true)
}

/// Checks that the added dependency closes no cycle, and that neither task exceeds the limit.
async fn check_limits(tx: &mut ReadTx, task_id: Uuid, blocked_by: Uuid) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let found = sqlx::query!(
        r#"with recursive above as (
               select $3::uuid as id
               union
               select link.blocked_by
               from above join task.task_dependencies link on link.account_id = $1 and link.task_id = above.id
           ),
           nearest as (select id from above limit $4)
           select exists (select from nearest where id = $2) as "circle!",
                  (select count(*) from nearest) as "above!",
                  (select count(*) from task.task_dependencies where account_id = $1 and task_id = $2) as "waits_for!",
                  (select count(*) from task.task_dependencies where account_id = $1 and blocked_by = $3) as "blocks!""#,
        account_id,
        task_id,
        blocked_by,
        // One more than the limit shows that there are more.
        MAX_ANCESTORS + 1
    )
    .fetch_one(tx.connection())
    .await?;
    let limit = |limit: i64| Err(Error::from(Reason::DependencyLimit).with("limit", limit.to_string()));
    if found.circle {
        return Err(Reason::DependencyCycle.into());
    }
    if found.waits_for > MAX_LINKS || found.blocks > MAX_LINKS {
        return limit(MAX_LINKS);
    }
    if found.above > MAX_ANCESTORS {
        return limit(MAX_ANCESTORS);
    }
    Ok(())
}

/// The open tasks that wait for these and for no other open task: they are unblocked when these are closed or no longer waited
/// for. Their dependencies are locked until the transaction ends, so that of several transactions that end the last ones of a
/// task exactly one finds it. Taken after task locks.
pub(crate) async fn lock_unblocked(tx: &mut Tx, blockers: &[Uuid]) -> Result<Vec<Task>> {
    let account_id = tx.tenant().account_id;
    if blockers.is_empty() {
        return Ok(Vec::new());
    }
    // A statement of its own: the next one sees what the transactions have done that this one waited for.
    let mut waiting = sqlx::query_scalar!(
        "select task_id from task.task_dependencies
         where account_id = $1 and task_id in (
             select task_id from task.task_dependencies where account_id = $1 and blocked_by = any($2)
         )
         order by task_id, blocked_by for no key update",
        account_id,
        blockers,
    )
    .fetch_all(tx.connection())
    .await?;
    waiting.dedup();
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = sqlx::query_as(select!(
        "where account_id = $1 and id = any($2) and not id = any($3) and deleted_at is null
           and status in ('pending', 'in_progress', 'paused')
           and exists (select from task.task_dependencies link
                       where link.account_id = $1 and link.task_id = tasks.id and link.blocked_by = any($3))
           and not exists (select from task.task_dependencies link
                           join task.tasks blocker on blocker.account_id = $1 and blocker.id = link.blocked_by
                           where link.account_id = $1 and link.task_id = tasks.id and not blocker.id = any($3)
                             and blocker.deleted_at is null and blocker.status in ('pending', 'in_progress', 'paused'))
         order by id"
    ))
    .bind(account_id)
    .bind(waiting)
    .bind(blockers)
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// Removes a dependency.
///
/// # Errors
/// DEPENDENCY_NOT_FOUND.
pub(crate) async fn remove(tx: &mut Tx, task_id: Uuid, blocked_by: Uuid) -> Result<()> {
    let account_id = tx.tenant().account_id;
    let removed = sqlx::query!(
        "delete from task.task_dependencies where account_id = $1 and task_id = $2 and blocked_by = $3",
        account_id,
        task_id,
        blocked_by
    )
    .execute(tx.connection())
    .await?;
    if removed.rows_affected() == 0 { Err(Reason::DependencyNotFound.into()) } else { Ok(()) }
}

fn map_constraint(error: sqlx::Error) -> Error {
    match violated_constraint(&error) {
        Some("task_dependencies_task" | "task_dependencies_blocker") => Reason::TaskNotFound.into(),
        _ => error.into(),
    }
}
