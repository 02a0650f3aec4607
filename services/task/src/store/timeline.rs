//! What happened to tasks.

use baton_errors::{Error, Reason, Result};
use baton_store::{Page, Tx};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{events::Kind, task::Task};

/// One thing that happened to a task.
pub(crate) struct Entry {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) actor_id: Uuid,
    pub(crate) version: i32,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) changes: Json<Map<String, Value>>,
    pub(crate) reason: Option<String>,
}

/// Notes what made the task what it is now, in the transaction that stores it.
pub(crate) async fn append(
    tx: &mut Tx,
    task: &Task,
    kind: Kind,
    changes: &Map<String, Value>,
    reason: Option<&str>,
) -> Result<()> {
    let (id, actor_id) = (tx.db().clock().new_id(), tx.tenant().user_id);
    sqlx::query!(
        "insert into task.task_events (id, account_id, task_id, version, kind, actor_id, occurred_at, changes, reason)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        id,
        task.account_id,
        task.id,
        task.version,
        kind.name(),
        actor_id,
        task.updated_at,
        Json(changes) as _,
        reason,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A page of a task's timeline, oldest first, and how long it is.
pub(crate) async fn read(tx: &mut Tx, task_id: Uuid, page: &Page) -> Result<(Vec<Entry>, i64)> {
    let account_id = tx.tenant().account_id;
    let after = page.after().map(|cursor| cursor.key.as_deref().and_then(|key| key.parse::<i32>().ok()));
    let after = after.map(|version| version.ok_or(Reason::PageTokenInvalid)).transpose().map_err(Error::from)?;
    let entries = sqlx::query_as!(
        Entry,
        r#"select id, kind, actor_id, version, occurred_at, changes as "changes: Json<Map<String, Value>>", reason
           from task.task_events where account_id = $1 and task_id = $2 and version > $3
           order by version limit $4 offset $5"#,
        account_id,
        task_id,
        after.unwrap_or_default(),
        page.limit(),
        page.offset()
    )
    .fetch_all(&mut **tx)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from task.task_events where account_id = $1 and task_id = $2"#,
        account_id,
        task_id
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((entries, total))
}
