//! Timelines of tasks.

use baton_errors::Result;
use baton_runtime::Via;
use baton_store::{Page, ReadTx};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use crate::task::{
    event_kind::EventKind,
    event_log::{StoredEntry, TimelineEntry},
};

/// A page of a task's timeline, oldest first, and its length.
pub(crate) async fn read(tx: &mut ReadTx, task_id: Uuid, page: &Page) -> Result<(Vec<TimelineEntry>, i64)> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        r#"select id, kind, actor_id, version, occurred_at, changes as "changes: Json<Map<String, Value>>", reason,
                  via as "via: Json<Via>"
           from task.task_events where account_id = $1 and task_id = $2 and version > $3
           order by version limit $4 offset $5"#,
        account_id,
        task_id,
        page.after_number()?,
        page.limit(),
        page.offset()
    )
    .fetch_all(tx.connection())
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "count!" from task.task_events where account_id = $1 and task_id = $2"#,
        account_id,
        task_id
    )
    .fetch_one(tx.connection())
    .await?;
    let entries = rows.into_iter().map(|row| TimelineEntry {
        id: row.id,
        via: row.via.map(|via| via.0),
        logged: StoredEntry {
            version: row.version,
            kind: EventKind::from_name(&row.kind),
            actor_id: row.actor_id,
            occurred_at: row.occurred_at,
            changes: row.changes.0,
            reason: row.reason,
        },
    });
    Ok((entries.collect(), total))
}
