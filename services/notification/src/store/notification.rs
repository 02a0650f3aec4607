//! Notifications. Every query is limited to one user in the transaction's account.

use baton_errors::{Error, Result};
use baton_store::{Page, ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{notification::Notification, notification_type::NotificationType};

/// A notification as it is stored.
struct Row {
    id: Uuid,
    account_id: Uuid,
    user_id: Uuid,
    kind: String,
    task_id: Option<Uuid>,
    actor_id: Option<Uuid>,
    read_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    text: Option<String>,
}

impl TryFrom<Row> for Notification {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id,
            account_id: row.account_id,
            user_id: row.user_id,
            kind: NotificationType::from_name(&row.kind)
                .ok_or_else(|| Error::internal("a notification has an unknown type"))?,
            task_id: row.task_id,
            actor_id: row.actor_id,
            read_at: row.read_at,
            created_at: row.created_at,
            text: row.text,
        })
    }
}

/// Inserts the notifications of one event. Skips users who already have one for it. Returns the inserted ids.
pub(crate) async fn add(tx: &mut Tx, source_event_id: Uuid, notifications: &[Notification]) -> Result<Vec<Uuid>> {
    let ids: Vec<Uuid> = notifications.iter().map(|n| n.id).collect();
    let users: Vec<Uuid> = notifications.iter().map(|n| n.user_id).collect();
    // All other columns are equal: the notifications come from one event.
    let Some(first) = notifications.first() else { return Ok(Vec::new()) };
    let added = sqlx::query_scalar!(
        r#"insert into notification.notifications
               (id, account_id, user_id, type, task_id, actor_id, source_event_id, created_at, text)
           select told.id, $3, told.user_id, $4, $5, $6, $7, $8, $9
           from unnest($1::uuid[], $2::uuid[]) as told (id, user_id)
           on conflict on constraint notifications_source_event_id_user_id_key do nothing
           returning id"#,
        &ids,
        &users,
        first.account_id,
        first.kind.name(),
        first.task_id,
        first.actor_id,
        source_event_id,
        first.created_at,
        first.text,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(added)
}

/// A page of a user's notifications, newest first, and their total count.
pub(crate) async fn list(
    tx: &mut ReadTx,
    user_id: Uuid,
    unread: bool,
    page: &Page,
) -> Result<(Vec<Notification>, i64)> {
    let account_id = tx.tenant().account_id;
    // Separate statements, so that the planner can use the partial index on unread rows.
    let rows = if unread {
        sqlx::query_as!(
            Row,
            "select id, account_id, user_id, type as kind, task_id, actor_id, read_at, created_at, text
             from notification.notifications
             where account_id = $1 and user_id = $2 and read_at is null and id < $3
             order by id desc limit $4 offset $5",
            account_id,
            user_id,
            page.before(),
            page.limit(),
            page.offset(),
        )
        .fetch_all(tx.connection())
        .await?
    } else {
        sqlx::query_as!(
            Row,
            "select id, account_id, user_id, type as kind, task_id, actor_id, read_at, created_at, text
             from notification.notifications
             where account_id = $1 and user_id = $2 and id < $3
             order by id desc limit $4 offset $5",
            account_id,
            user_id,
            page.before(),
            page.limit(),
            page.offset(),
        )
        .fetch_all(tx.connection())
        .await?
    };
    let total = if unread {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from notification.notifications
               where account_id = $1 and user_id = $2 and read_at is null"#,
            account_id,
            user_id,
        )
        .fetch_one(tx.connection())
        .await?
    } else {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from notification.notifications where account_id = $1 and user_id = $2"#,
            account_id,
            user_id,
        )
        .fetch_one(tx.connection())
        .await?
    };
    let notifications = rows.into_iter().map(Notification::try_from).collect::<Result<_>>()?;
    Ok((notifications, total))
}

/// Marks a user's notification as read; `read_at` is set once. Returns the notification and whether it was unread;
/// `None` when the user has no such notification.
pub(crate) async fn mark_read(
    tx: &mut Tx,
    user_id: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<(Notification, bool)>> {
    // Locks the row before reading `read_at`, so that exactly one of two concurrent calls sees it unread.
    let row = sqlx::query!(
        r#"with before as (select id, read_at from notification.notifications
                           where account_id = $1 and user_id = $2 and id = $3 for update)
           update notification.notifications n set read_at = coalesce(n.read_at, $4) from before
           where n.id = before.id
           returning n.id, n.account_id, n.user_id, n.type as kind, n.task_id, n.actor_id, n.read_at, n.created_at, n.text,
                     before.read_at is null as "newly!""#,
        tx.tenant().account_id,
        user_id,
        id,
        now,
    )
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let notification = Notification::try_from(Row {
        id: row.id,
        account_id: row.account_id,
        user_id: row.user_id,
        kind: row.kind,
        task_id: row.task_id,
        actor_id: row.actor_id,
        read_at: row.read_at,
        created_at: row.created_at,
        text: row.text,
    })?;
    Ok(Some((notification, row.newly)))
}

/// Marks all unread notifications of a user as read. Returns how many.
pub(crate) async fn mark_all_read(tx: &mut Tx, user_id: Uuid, now: DateTime<Utc>) -> Result<u64> {
    let marked = sqlx::query!(
        "update notification.notifications set read_at = $3
         where account_id = $1 and user_id = $2 and read_at is null",
        tx.tenant().account_id,
        user_id,
        now,
    )
    .execute(tx.connection())
    .await?;
    Ok(marked.rows_affected())
}

/// Deletes a user's notification; `false` when the user has no such notification.
pub(crate) async fn delete(tx: &mut Tx, user_id: Uuid, id: Uuid) -> Result<bool> {
    let deleted = sqlx::query!(
        "delete from notification.notifications where account_id = $1 and user_id = $2 and id = $3",
        tx.tenant().account_id,
        user_id,
        id,
    )
    .execute(tx.connection())
    .await?;
    Ok(deleted.rows_affected() == 1)
}
