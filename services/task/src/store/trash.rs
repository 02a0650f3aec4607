//! Deleted tasks.

use baton_errors::{Error, Reason, Result};
use baton_store::{Db, Page, ReadTx, Tx};
use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::task::{COLUMNS, Row, select};
use crate::{policy::visibility::Actor, task::Task};

/// An expired task.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) account_id: Uuid,
    pub(crate) id: Uuid,
    pub(crate) deleted_at: DateTime<Utc>,
}

/// A page of the tasks that the actor may restore ([`Actor::can_delete`]), latest deleted first, with one more if
/// another page follows, and their total number.
pub(crate) async fn read(tx: &mut ReadTx, actor: Actor<'_>, page: &Page) -> Result<(Vec<Task>, i64)> {
    let account_id = tx.tenant().account_id;
    let theirs = |what: &str| {
        let mut query = QueryBuilder::<Postgres>::new("select ");
        query.push(what).push(" from task.tasks where deleted_at is not null and account_id = ").push_bind(account_id);
        if !actor.is_account_admin() {
            query.push(" and created_by = ").push_bind(actor.id);
        }
        query
    };
    let mut query = theirs(COLUMNS);
    if let Some(cursor) = page.after() {
        let time = cursor.key.as_deref().and_then(|key| DateTime::parse_from_rfc3339(key).ok());
        let time = time.ok_or_else(|| Error::from(Reason::PageTokenInvalid))?.to_utc();
        query.push(" and (deleted_at, id) < (").push_bind(time).push(", ").push_bind(cursor.id).push(")");
    }
    query.push(" order by deleted_at desc, id desc limit ").push_bind(page.limit());
    query.push(" offset ").push_bind(page.offset());
    let rows: Vec<Row> = query.build_query_as().fetch_all(tx.connection()).await?;
    let total = theirs("count(*)").build_query_scalar().fetch_one(tx.connection()).await?;
    Ok((rows.into_iter().map(Task::try_from).collect::<Result<_>>()?, total))
}

/// The task's sort key, as in page tokens.
pub(crate) fn key(task: &Task) -> (Option<String>, Uuid) {
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    (task.deleted_at.map(time), task.id)
}

/// Tasks deleted before `before`, oldest first, after `after`, a batch at a time, across tenants.
pub(crate) async fn expired(
    db: &Db,
    before: DateTime<Utc>,
    after: (DateTime<Utc>, Uuid),
    limit: i64,
) -> Result<Vec<Expired>> {
    let expired = sqlx::query_as!(
        Expired,
        r#"select account_id, id, deleted_at as "deleted_at!" from task.tasks
           where deleted_at < $1 and (deleted_at, id) > ($2, $3) order by deleted_at, id limit $4"#,
        before,
        after.0,
        after.1,
        limit
    )
    .fetch_all(db.system())
    .await?;
    Ok(expired)
}

/// Locks subtasks of these tasks, including deleted ones.
pub(crate) async fn lock_subtasks(tx: &mut Tx, parents: &[Uuid], limit: i64) -> Result<Vec<Task>> {
    let rows: Vec<Row> = sqlx::query_as(select!(
        "where account_id = $1 and parent_task_id = any($2) order by id limit $3 for no key update"
    ))
    .bind(tx.tenant().account_id)
    .bind(parents)
    .bind(limit)
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// Deletes these tasks with everything attached to them, except tasks that were restored meanwhile.
pub(crate) async fn delete(db: &Db, ids: &[Uuid], before: DateTime<Utc>) -> Result<()> {
    sqlx::query!("delete from task.tasks where id = any($1) and deleted_at < $2", ids, before)
        .execute(db.system())
        .await?;
    Ok(())
}
