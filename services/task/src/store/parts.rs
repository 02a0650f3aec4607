//! Tasks and what they are parts of.

use std::collections::HashMap;

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::parts::{MOST_COUNTED, MOST_LEVELS, Progress};

/// What stands around a task, and is not in its row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Around {
    /// `None` without parts.
    pub(crate) progress: Option<Progress>,
    /// Whether it waits for an open task.
    pub(crate) blocked: bool,
}

/// What stands around these tasks at `now`, of all with one statement. Of parts the nearest are counted first; below
/// what was given up or deleted nobody looks.
pub(crate) async fn around(tx: &mut Tx, tasks: &[Uuid], now: DateTime<Utc>) -> Result<HashMap<Uuid, Around>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        r#"select root.id as "id!", parts.total as "total!", parts.completed as "completed!",
                  parts.estimated as "estimated!", parts.actual as "actual!",
                  exists (
                      select from task.task_dependencies link
                      join task.tasks blocker on blocker.account_id = $1 and blocker.id = link.blocked_by
                      where link.account_id = $1 and link.task_id = root.id and blocker.deleted_at is null
                        and blocker.status in ('pending', 'in_progress', 'paused')
                  ) as "blocked!"
           from unnest($2::uuid[]) as root (id)
           cross join lateral (
               with recursive below as (
                   select id, completed_at, estimated_seconds, actual_seconds, running_since, 2 as level
                   from task.tasks
                   where account_id = $1 and parent_task_id = root.id and deleted_at is null and canceled_at is null
                   union all
                   select part.id, part.completed_at, part.estimated_seconds, part.actual_seconds, part.running_since,
                          below.level + 1
                   from below join task.tasks part on part.account_id = $1 and part.parent_task_id = below.id
                   where below.level < $4 and part.deleted_at is null and part.canceled_at is null
               )
               select count(*)::integer as total, count(completed_at)::integer as completed,
                      least(coalesce(sum(estimated_seconds), 0), 2147483647)::integer as estimated,
                      least(coalesce(sum(actual_seconds + coalesce(
                          greatest(floor(extract(epoch from $3::timestamptz - running_since))::bigint, 0), 0)), 0),
                          2147483647)::integer as actual
               from (select * from below limit $5) nearest
           ) parts"#,
        account_id,
        tasks,
        now,
        MOST_LEVELS,
        MOST_COUNTED
    )
    .fetch_all(&mut **tx)
    .await?;
    let around = rows.into_iter().map(|row| {
        let progress = Progress {
            total: row.total,
            completed: row.completed,
            estimated_seconds: row.estimated,
            actual_seconds: row.actual,
        };
        (row.id, Around { progress: (row.total > 0).then_some(progress), blocked: row.blocked })
    });
    Ok(around.collect())
}

/// Keeps the hierarchy of the account as it is while this transaction adds to it; others may add as well. Taken
/// before tasks are locked, as [`super::task::lock_hierarchy`].
pub(crate) async fn hold_hierarchy(tx: &mut Tx) -> Result<()> {
    let account_id = tx.tenant().account_id;
    sqlx::query!(
        "select pg_advisory_xact_lock_shared(hashtextextended('task.hierarchy:' || $1, 0))",
        account_id.to_string()
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The task and all that it is a part of, up to the top.
pub(crate) async fn above(tx: &mut Tx, id: Uuid) -> Result<Vec<Uuid>> {
    let account_id = tx.tenant().account_id;
    let ids = sqlx::query_scalar!(
        r#"with recursive above as (
               select id, parent_task_id from task.tasks where account_id = $1 and id = $2
               union
               select parent.id, parent.parent_task_id
               from task.tasks parent join above on parent.id = above.parent_task_id where parent.account_id = $1
           )
           select id as "id!" from above"#,
        account_id,
        id
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids)
}

/// How many levels there are from each of these tasks down to its last part, itself included; of all with one
/// statement. Nothing lies deeper than is allowed, so nothing is looked for there.
pub(crate) async fn levels(tx: &mut Tx, tasks: &[Uuid]) -> Result<HashMap<Uuid, i32>> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        r#"with recursive below as (
               select root, root as id, 1 as level from unnest($2::uuid[]) as root
               union all
               select below.root, part.id, below.level + 1
               from below join task.tasks part on part.account_id = $1 and part.parent_task_id = below.id
               where below.level <= $3
           )
           select root as "root!", max(level) as "levels!" from below group by root"#,
        account_id,
        tasks,
        MOST_LEVELS
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.root, row.levels)).collect())
}
