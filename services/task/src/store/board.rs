//! What boards ask for beside lists of tasks.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::list::visible;
use crate::policy::visibility::Actor;

/// The tasks that the caller sees which were there at `then` and have changed since, at most so many. Deleted ones are
/// seen by nobody.
pub(crate) async fn changed_since(tx: &mut Tx, actor: Actor<'_>, then: DateTime<Utc>, limit: i64) -> Result<Vec<Uuid>> {
    let mut query =
        QueryBuilder::<Postgres>::new("select id from task.tasks where deleted_at is null and account_id = ");
    query.push_bind(tx.tenant().account_id);
    query.push(" and updated_at > ").push_bind(then);
    query.push(" and created_at <= ").push_bind(then);
    visible(&mut query, actor);
    query.push(" order by updated_at limit ").push_bind(limit);
    Ok(query.build_query_scalar().fetch_all(&mut **tx).await?)
}

/// Of these tasks, those that have to be done before others of them: pairs of the one that waits and the other.
pub(crate) async fn blocks(tx: &mut Tx, tasks: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>> {
    let account_id = tx.tenant().account_id;
    let pairs = sqlx::query!(
        "select task_id, blocked_by from task.task_dependencies
         where account_id = $1 and task_id = any($2) and blocked_by = any($2)",
        account_id,
        tasks
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(pairs.into_iter().map(|pair| (pair.task_id, pair.blocked_by)).collect())
}
