//! Reminders. Each belongs to the member who created it.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A reminder.
#[derive(Debug, Clone)]
pub(crate) struct Reminder {
    pub(crate) id: Uuid,
    pub(crate) task_id: Uuid,
    pub(crate) remind_at: Option<DateTime<Utc>>,
    pub(crate) before_seconds: Option<i32>,
    pub(crate) created_at: DateTime<Utc>,
    /// The next time to fire.
    pub(crate) fires_at: Option<DateTime<Utc>>,
}

/// The caller's reminders of a task, oldest first.
pub(crate) async fn list(tx: &mut ReadTx, task_id: Uuid) -> Result<Vec<Reminder>> {
    let tenant = tx.tenant();
    let reminders = sqlx::query_as!(
        Reminder,
        r#"select r.id, r.task_id, r.remind_at, r.before_seconds, r.created_at, m.fires_at as "fires_at?"
           from task.reminders r
           join task.tasks t on t.account_id = r.account_id and t.id = r.task_id
           left join task.timers m on m.account_id = r.account_id and m.reminder_id = r.id and m.fired_at is null
                                  and (m.due_at is null or m.due_at = t.due_at)
           where r.account_id = $1 and r.task_id = $2 and r.user_id = $3 order by r.created_at, r.id"#,
        tenant.account_id,
        task_id,
        tenant.user_id
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(reminders)
}

/// Number of the caller's reminders of a task.
pub(crate) async fn count(tx: &mut ReadTx, task_id: Uuid) -> Result<i64> {
    let tenant = tx.tenant();
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from task.reminders where account_id = $1 and task_id = $2 and user_id = $3"#,
        tenant.account_id,
        task_id,
        tenant.user_id
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(count)
}

/// Stores a reminder of the caller, and its timer if it fires. `due_at` is the due time that it refers to.
pub(crate) async fn insert(tx: &mut Tx, reminder: &Reminder, due_at: Option<DateTime<Utc>>) -> Result<()> {
    let tenant = tx.tenant();
    sqlx::query!(
        "with made as (
             insert into task.reminders (id, account_id, task_id, user_id, remind_at, before_seconds, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)
         )
         insert into task.timers (account_id, task_id, kind, reminder_id, due_at, fires_at, try_at)
         select $2, $3, 'reminder', $1, $9, $8, $8 where $8::timestamptz is not null",
        reminder.id,
        tenant.account_id,
        reminder.task_id,
        tenant.user_id,
        reminder.remind_at,
        reminder.before_seconds,
        reminder.created_at,
        reminder.fires_at,
        due_at
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes a reminder of the caller and returns its task.
pub(crate) async fn delete(tx: &mut Tx, id: Uuid) -> Result<Option<Uuid>> {
    let tenant = tx.tenant();
    let task_id = sqlx::query_scalar!(
        "delete from task.reminders where account_id = $1 and id = $2 and user_id = $3 returning task_id",
        tenant.account_id,
        id,
        tenant.user_id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(task_id)
}

/// Copies reminders relative to the due time to the next instance of a series.
pub(super) async fn copy(tx: &mut Tx, from: Uuid, to: Uuid) -> Result<()> {
    let (account_id, now) = (tx.tenant().account_id, tx.db().clock().now());
    sqlx::query!(
        "insert into task.reminders (id, account_id, task_id, user_id, before_seconds, created_at)
         select gen_random_uuid(), account_id, $3, user_id, before_seconds, $4 from task.reminders
         where account_id = $1 and task_id = $2 and before_seconds is not null",
        account_id,
        from,
        to,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
