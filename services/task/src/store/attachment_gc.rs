//! Attachments that nobody needs any more. Of all tenants, but for what changes an account's counter.

use baton_errors::Result;
use baton_store::{Db, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// An attachment, by what it takes to find its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
}

/// Those whose upload was not completed although its URL expired before `expired_before`, and those whose task is gone.
pub(crate) async fn useless(db: &Db, expired_before: DateTime<Utc>, limit: i64) -> Result<Vec<Left>> {
    let found = sqlx::query_as!(
        Left,
        r#"(select id as "id!", account_id as "account_id!" from task.attachments
            where state = 'pending' and expires_at < $1 order by expires_at limit $2)
           union
           (select id, account_id from task.attachments where task_id is null and state <> 'deleting' limit $2)"#,
        expired_before,
        limit
    )
    .fetch_all(db.system())
    .await?;
    Ok(found)
}

/// Marks those of them that are useless still; answers how many bytes they had.
pub(crate) async fn mark(tx: &mut Tx, ids: &[Uuid], expired_before: DateTime<Utc>) -> Result<i64> {
    let bytes = sqlx::query_scalar!(
        r#"with marked as (
               update task.attachments set state = 'deleting'
               where account_id = $1 and id = any($2) and state <> 'deleting'
                 and (task_id is null or state = 'pending' and expires_at < $3)
               returning size_bytes
           )
           select coalesce(sum(size_bytes), 0)::bigint as "bytes!" from marked"#,
        tx.tenant().account_id,
        ids,
        expired_before
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(bytes)
}

/// Those whose content is to be deleted, after `after` in the order of their ids.
pub(crate) async fn deleting(db: &Db, after: Uuid, limit: i64) -> Result<Vec<Left>> {
    let found = sqlx::query_as!(
        Left,
        "select id, account_id from task.attachments where state = 'deleting' and id > $1 order by id limit $2",
        after,
        limit
    )
    .fetch_all(db.system())
    .await?;
    Ok(found)
}

/// Forgets those whose content is deleted.
pub(crate) async fn forget(db: &Db, ids: &[Uuid]) -> Result<()> {
    sqlx::query!("delete from task.attachments where id = any($1) and state = 'deleting'", ids)
        .execute(db.system())
        .await?;
    Ok(())
}

/// Of these attachments, those that are there, each with what was kept of it.
pub(crate) async fn known(db: &Db, ids: &[Uuid]) -> Result<Vec<(Uuid, Option<Uuid>)>> {
    let known = sqlx::query!("select id, object_id from task.attachments where id = any($1)", ids)
        .fetch_all(db.system())
        .await?;
    Ok(known.into_iter().map(|row| (row.id, row.object_id)).collect())
}
