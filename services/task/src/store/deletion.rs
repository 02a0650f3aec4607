//! What is left of an account that was deleted. By the system's role: none that serves calls may delete tasks. Rows
//! are chosen by account and deleted by key alone, so no statement walks through those that are not its own to do.

use baton_errors::Result;
use baton_store::Db;
use uuid::Uuid;

/// Deletes some of an account's rows by a statement of account and limit; how many it were.
macro_rules! delete {
    ($db:ident, $account_id:ident, $limit:ident, $statement:literal) => {{
        let done = sqlx::query!($statement, $account_id, $limit).execute($db.system()).await?;
        Ok(done.rows_affected())
    }};
}

/// Deletes lines of timelines, few at a time; answers how many.
pub(crate) async fn events(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    delete!(
        db,
        account_id,
        limit,
        "delete from task.task_events where id = any(array(
             select id from task.task_events where account_id = $1 limit $2))"
    )
}

/// The same of comments, with whom they name and what was made of them. Replies go with what they reply to.
pub(crate) async fn comments(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    delete!(
        db,
        account_id,
        limit,
        "delete from task.comments where id = any(array(
             select id from task.comments where account_id = $1 limit $2))"
    )
}

/// The same of who watches tasks.
pub(crate) async fn watchers(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    delete!(
        db,
        account_id,
        limit,
        "delete from task.task_watchers where account_id = $1 and (task_id, user_id) in (
             select task_id, user_id from task.task_watchers where account_id = $1 limit $2)"
    )
}

/// The same of what was worked on tasks.
pub(crate) async fn time_entries(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    delete!(
        db,
        account_id,
        limit,
        "delete from task.time_entries where id = any(array(
             select id from task.time_entries where account_id = $1 limit $2))"
    )
}

/// The same of how that was corrected.
pub(crate) async fn time_corrections(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    delete!(
        db,
        account_id,
        limit,
        "delete from task.time_corrections where id = any(array(
             select id from task.time_corrections where account_id = $1 limit $2))"
    )
}

/// The same of tasks that are whole: those whose parts are gone. Parts are younger than what they are part
/// of, mostly, and so are met first.
pub(crate) async fn tasks(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    delete!(
        db,
        account_id,
        limit,
        "delete from task.tasks where id = any(array(
             select id from task.tasks task
             where account_id = $1
               and not exists (select from task.tasks part where part.account_id = $1 and part.parent_task_id = task.id)
             order by id desc limit $2))"
    )
}

/// The same of what waits for what.
pub(crate) async fn dependencies(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    delete!(
        db,
        account_id,
        limit,
        "delete from task.task_dependencies where account_id = $1 and (task_id, blocked_by) in (
             select task_id, blocked_by from task.task_dependencies where account_id = $1 limit $2)"
    )
}

/// The same of definitions of custom fields, of which there are few.
pub(crate) async fn custom_fields(db: &Db, account_id: Uuid) -> Result<()> {
    sqlx::query!("delete from task.custom_fields where account_id = $1", account_id).execute(db.system()).await?;
    Ok(())
}

/// The same of what is not added to the counters yet.
pub(crate) async fn usage_changes(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    delete!(
        db,
        account_id,
        limit,
        "delete from task.usage_changes where account_id = $1 and id = any(array(
             select id from task.usage_changes where account_id = $1 limit $2))"
    )
}

/// The same of what members used.
pub(crate) async fn usage(db: &Db, account_id: Uuid, limit: i64) -> Result<u64> {
    delete!(
        db,
        account_id,
        limit,
        "delete from task.usage where account_id = $1 and user_id = any(array(
             select user_id from task.usage where account_id = $1 limit $2))"
    )
}

/// Whether anything is left.
pub(crate) async fn remains(db: &Db, account_id: Uuid) -> Result<bool> {
    let remains = sqlx::query_scalar!(
        r#"select exists (select from task.tasks where account_id = $1)
               or exists (select from task.custom_fields where account_id = $1)
               or exists (select from task.usage_changes where account_id = $1)
               or exists (select from task.usage where account_id = $1) as "remains!""#,
        account_id
    )
    .fetch_one(db.system())
    .await?;
    Ok(remains)
}
