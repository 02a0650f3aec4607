//! Rows of attachments. Their content is in the object store.

use baton_errors::{Error, Reason, Result, violated_constraint};
use baton_store::{Page, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::task::attachment::{AnnouncedFile, Attachment};

/// An attachment that is not deleted. The caller checks visibility.
pub(crate) async fn get(tx: &mut ReadTx, id: Uuid) -> Result<Option<Attachment>> {
    let account_id = tx.tenant().account_id;
    let found = sqlx::query_as!(
        Attachment,
        r#"select id, account_id, task_id as "task_id!", uploaded_by, file_name, content_type, size_bytes, checksum,
                  object_id, created_at, expires_at, completed_at
           from task.attachments
           where account_id = $1 and id = $2 and state <> 'deleting' and task_id is not null"#,
        account_id,
        id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(found)
}

/// Number of the task's attachments, including incomplete ones. The caller holds the task's lock.
pub(crate) async fn count(tx: &mut ReadTx, task_id: Uuid) -> Result<i64> {
    let account_id = tx.tenant().account_id;
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from task.attachments
           where account_id = $1 and task_id = $2 and state <> 'deleting'"#,
        account_id,
        task_id
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(count)
}

/// Stores an announced attachment.
pub(crate) async fn insert(tx: &mut Tx, attachment: &Attachment) -> Result<()> {
    sqlx::query!(
        "insert into task.attachments (id, account_id, task_id, uploaded_by, file_name, content_type, size_bytes,
                                       checksum, state, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', $9, $10)",
        attachment.id,
        attachment.account_id,
        attachment.task_id,
        attachment.uploaded_by,
        attachment.file_name,
        attachment.content_type,
        attachment.size_bytes,
        attachment.checksum,
        attachment.created_at,
        attachment.expires_at,
    )
    .execute(tx.connection())
    .await
    .map_err(|error| match violated_constraint(&error) {
        Some("attachments_task") => Reason::TaskNotFound.into(),
        _ => Error::from(error),
    })?;
    Ok(())
}

/// Makes the attachment visible with this content. `false` if another call completed it, or it is deleted.
pub(crate) async fn complete(tx: &mut Tx, id: Uuid, object_id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "update task.attachments set state = 'ready', object_id = $3, completed_at = $4
         where account_id = $1 and id = $2 and state = 'pending'",
        tx.tenant().account_id,
        id,
        object_id,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Marks the attachment as deleted. `false` if it already was: it is no longer counted then.
pub(crate) async fn delete(tx: &mut Tx, id: Uuid) -> Result<bool> {
    let done = sqlx::query!(
        "update task.attachments set state = 'deleting' where account_id = $1 and id = $2 and state <> 'deleting'",
        tx.tenant().account_id,
        id
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A page of the task's completed attachments, oldest first, and their total number.
pub(crate) async fn page(tx: &mut ReadTx, task_id: Uuid, page: &Page) -> Result<(Vec<Attachment>, i64)> {
    let account_id = tx.tenant().account_id;
    let found = sqlx::query_as!(
        Attachment,
        r#"select id, account_id, task_id as "task_id!", uploaded_by, file_name, content_type, size_bytes, checksum,
                  object_id, created_at, expires_at, completed_at
           from task.attachments
           where account_id = $1 and task_id = $2 and state = 'ready' and ($3::uuid is null or id > $3)
           order by id limit $4 offset $5"#,
        account_id,
        task_id,
        page.after().map(|cursor| cursor.id),
        page.limit(),
        page.offset()
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from task.attachments
           where account_id = $1 and task_id = $2 and state = 'ready'"#,
        account_id,
        task_id
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((found, total))
}

impl Attachment {
    /// A newly announced attachment.
    pub(crate) fn new(tx: &ReadTx, task_id: Uuid, file: AnnouncedFile, expires_at: DateTime<Utc>) -> Self {
        let (clock, tenant) = (tx.db().clock(), tx.tenant());
        Self {
            id: clock.new_id(),
            account_id: tenant.account_id,
            task_id,
            uploaded_by: tenant.user_id,
            file_name: file.file_name,
            content_type: file.content_type,
            size_bytes: file.size_bytes,
            checksum: file.checksum,
            object_id: None,
            created_at: clock.now(),
            expires_at,
            completed_at: None,
        }
    }
}
