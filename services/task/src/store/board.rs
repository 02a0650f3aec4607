//! Queries of boards besides lists of tasks.

use baton_errors::Result;
use baton_store::ReadTx;
use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::visibility::visible;
use crate::policy::visibility::Actor;

/// Visible tasks that existed at `then` and have changed since, at most `limit`. Deleted tasks are not visible.
pub(crate) async fn changed_since(
    tx: &mut ReadTx,
    actor: Actor<'_>,
    then: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Uuid>> {
    let mut query =
        QueryBuilder::<Postgres>::new("select id from task.tasks where deleted_at is null and account_id = ");
    query.push_bind(tx.tenant().account_id);
    query.push(" and updated_at > ").push_bind(then);
    query.push(" and created_at <= ").push_bind(then);
    visible(&mut query, actor);
    query.push(" order by updated_at limit ").push_bind(limit);
    Ok(query.build_query_scalar().fetch_all(tx.connection()).await?)
}

/// Dependencies among these tasks: pairs of a task and its blocker.
pub(crate) async fn blocks(tx: &mut ReadTx, tasks: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>> {
    let account_id = tx.tenant().account_id;
    let pairs = sqlx::query!(
        "select task_id, blocked_by from task.task_dependencies
         where account_id = $1 and task_id = any($2) and blocked_by = any($2)",
        account_id,
        tasks
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(pairs.into_iter().map(|pair| (pair.task_id, pair.blocked_by)).collect())
}
