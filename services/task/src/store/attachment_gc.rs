//! Garbage collection of attachments, across tenants. Only changes of an account's counter run as its tenant.

use baton_errors::Result;
use baton_store::{Db, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// An attachment to delete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GarbageAttachment {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
}

/// Incomplete attachments whose URL expired before `expired_before`, and attachments whose task is gone.
pub(crate) async fn list_expired(db: &Db, expired_before: DateTime<Utc>, limit: i64) -> Result<Vec<GarbageAttachment>> {
    let found = sqlx::query_as!(
        GarbageAttachment,
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

/// Marks those that still qualify and returns their size in bytes.
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
    .fetch_one(tx.connection())
    .await?;
    Ok(bytes)
}

/// Marked attachments after `after`, ordered by id.
pub(crate) async fn list_marked(db: &Db, after: Uuid, limit: i64) -> Result<Vec<GarbageAttachment>> {
    let found = sqlx::query_as!(
        GarbageAttachment,
        "select id, account_id from task.attachments where state = 'deleting' and id > $1 order by id limit $2",
        after,
        limit
    )
    .fetch_all(db.system())
    .await?;
    Ok(found)
}

/// Deletes the rows of attachments whose content is deleted.
pub(crate) async fn delete_rows(db: &Db, ids: &[Uuid]) -> Result<()> {
    sqlx::query!("delete from task.attachments where id = any($1) and state = 'deleting'", ids)
        .execute(db.system())
        .await?;
    Ok(())
}

/// Those of the attachments that exist, each with its object.
pub(crate) async fn objects(db: &Db, ids: &[Uuid]) -> Result<Vec<(Uuid, Option<Uuid>)>> {
    let known = sqlx::query!("select id, object_id from task.attachments where id = any($1)", ids)
        .fetch_all(db.system())
        .await?;
    Ok(known.into_iter().map(|row| (row.id, row.object_id)).collect())
}
