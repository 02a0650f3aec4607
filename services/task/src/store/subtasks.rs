//! The hierarchy of tasks.

use std::collections::{HashMap, HashSet};

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{advisory_lock, visibility};
use crate::{
    policy::visibility::Actor,
    task::subtasks::{MAX_DEPTH, MAX_ROLLED_UP, Progress, TaskSummary},
};

/// A row of `task.task_around`.
#[derive(sqlx::FromRow)]
pub(super) struct SummaryRow {
    parts: i32,
    parts_completed: i32,
    parts_estimated: i32,
    parts_actual: i32,
    blocked: bool,
}

impl From<SummaryRow> for TaskSummary {
    fn from(row: SummaryRow) -> Self {
        let progress = Progress {
            total: row.parts,
            completed: row.parts_completed,
            estimated_seconds: row.parts_estimated,
            actual_seconds: row.parts_actual,
        };
        Self { progress: (row.parts > 0).then_some(progress), blocked: row.blocked }
    }
}

/// Summaries of these tasks at `now`, with one statement.
pub(crate) async fn summaries(
    tx: &mut ReadTx,
    tasks: &[Uuid],
    now: DateTime<Utc>,
) -> Result<HashMap<Uuid, TaskSummary>> {
    let account_id = tx.tenant().account_id;
    // The inner `select` hides the number of ids, so one plan serves all.
    let rows = sqlx::query!(
        r#"select root.id as "id!", parts as "parts!", parts_completed as "parts_completed!",
                  parts_estimated as "parts_estimated!", parts_actual as "parts_actual!", blocked as "blocked!"
           from unnest((select $2::uuid[])) as root (id)
           cross join lateral task.task_around($1, root.id, $3, $4, $5)"#,
        account_id,
        tasks,
        now,
        MAX_DEPTH,
        MAX_ROLLED_UP
    )
    .fetch_all(tx.connection())
    .await?;
    let summaries = rows.into_iter().map(|row| {
        let summary = SummaryRow {
            parts: row.parts,
            parts_completed: row.parts_completed,
            parts_estimated: row.parts_estimated,
            parts_actual: row.parts_actual,
            blocked: row.blocked,
        };
        (row.id, summary.into())
    });
    Ok(summaries.collect())
}

/// Those of these tasks that the actor sees.
pub(crate) async fn visible(tx: &mut ReadTx, actor: Actor<'_>, tasks: &[Uuid]) -> Result<HashSet<Uuid>> {
    let mut query = QueryBuilder::new("select id from task.tasks where account_id = ");
    query.push_bind(tx.tenant().account_id).push(" and id = any(").push_bind(tasks.to_vec()).push(")");
    visibility::visible(&mut query, actor);
    let ids: Vec<Uuid> = query.build_query_scalar().fetch_all(tx.connection()).await?;
    Ok(ids.into_iter().collect())
}

/// Blocks moves within the account's hierarchy while this transaction adds to it; others may add too. Taken before task
/// locks, like [`super::task::lock_hierarchy`].
pub(crate) async fn lock_hierarchy_shared(tx: &mut Tx) -> Result<()> {
    advisory_lock::shared(tx, "hierarchy").await
}

/// The task and all its ancestors, up to the root.
pub(crate) async fn ancestors(tx: &mut ReadTx, id: Uuid) -> Result<Vec<Uuid>> {
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
    .fetch_all(tx.connection())
    .await?;
    Ok(ids)
}

/// Height of the subtree of each task, itself included, with one statement. The search ends at the maximum depth.
pub(crate) async fn heights(tx: &mut ReadTx, tasks: &[Uuid]) -> Result<HashMap<Uuid, i32>> {
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
        MAX_DEPTH
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.root, row.levels)).collect())
}
