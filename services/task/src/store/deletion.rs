//! What is left of an account that was deleted. By the system's role: none that serves calls may delete tasks. Rows
//! are chosen by account and deleted by key alone, so no statement walks through those that are not its own to do.

use baton_errors::Result;
use baton_store::Db;
use uuid::Uuid;

/// Deletes lines of timelines, few at a time; answers how many.
pub(crate) async fn events(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from task.task_events where id = any(array(
             select id from task.task_events where account_id = $1 limit $2))",
        account_id,
        limit
    )
    .execute(db.system())
    .await?;
    Ok(done.rows_affected())
}

/// The same of tasks that are whole: those whose parts are gone. Parts are younger than what they are part
/// of, mostly, and so are met first.
pub(crate) async fn tasks(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from task.tasks where id = any(array(
             select id from task.tasks task
             where account_id = $1
               and not exists (select from task.tasks part where part.account_id = $1 and part.parent_task_id = task.id)
             order by id desc limit $2))",
        account_id,
        limit
    )
    .execute(db.system())
    .await?;
    Ok(done.rows_affected())
}

/// The same of what members used.
pub(crate) async fn usage(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from task.usage where account_id = $1 and user_id = any(array(
             select user_id from task.usage where account_id = $1 limit $2))",
        account_id,
        limit
    )
    .execute(db.system())
    .await?;
    Ok(done.rows_affected())
}

/// Whether anything is left.
pub(crate) async fn remains(db: &Db, account_id: Uuid) -> Result<bool> {
    let remains = sqlx::query_scalar!(
        r#"select exists (select from task.tasks where account_id = $1)
               or exists (select from task.usage where account_id = $1) as "remains!""#,
        account_id
    )
    .fetch_one(db.system())
    .await?;
    Ok(remains)
}
