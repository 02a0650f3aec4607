//! Timelines of tasks.

use baton_errors::Result;
use baton_store::{Page, ReadTx, Tx};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    store,
    task::{
        event_kind::EventKind,
        event_log::{LogEntry, SNAPSHOT_EVERY, StoredEntry, TimelineEntry},
    },
};

/// Appends entries in the transaction that stores the tasks, and a snapshot every [`SNAPSHOT_EVERY`] versions.
pub(super) async fn append(tx: &mut Tx, entries: &[LogEntry]) -> Result<()> {
    let clock = tx.db().clock().clone();
    let (account_id, actor_id) = (tx.tenant().account_id, tx.tenant().user_id);
    let ids: Vec<Uuid> = entries.iter().map(|_| clock.new_id()).collect();
    let tasks: Vec<Uuid> = entries.iter().map(|it| it.after.id).collect();
    let versions: Vec<i32> = entries.iter().map(|it| it.after.version).collect();
    let kinds: Vec<String> = entries.iter().map(|it| it.kind.name().to_owned()).collect();
    let times: Vec<DateTime<Utc>> = entries.iter().map(|it| it.after.updated_at).collect();
    let changes: Vec<Value> = entries.iter().map(|it| Value::Object(it.changes.clone())).collect();
    let reasons: Vec<Option<String>> = entries.iter().map(|it| it.reason.clone()).collect();
    sqlx::query!(
        "insert into task.task_events (id, account_id, task_id, version, kind, actor_id, occurred_at, changes, reason)
         select id, $1, task_id, version, kind, $2, occurred_at, changes, reason
         from unnest($3::uuid[], $4::uuid[], $5::integer[], $6::text[], $7::timestamptz[], $8::jsonb[], $9::text[])
              as entries (id, task_id, version, kind, occurred_at, changes, reason)",
        account_id,
        actor_id,
        &ids,
        &tasks,
        &versions,
        &kinds,
        &times,
        &changes,
        &reasons as &[Option<String>],
    )
    .execute(tx.connection())
    .await?;
    let due = entries.iter().map(|it| &it.after).filter(|task| task.version % SNAPSHOT_EVERY == 0);
    store::snapshot::insert(tx, due).await
}

/// A page of a task's timeline, oldest first, and its length.
pub(crate) async fn read(tx: &mut ReadTx, task_id: Uuid, page: &Page) -> Result<(Vec<TimelineEntry>, i64)> {
    let account_id = tx.tenant().account_id;
    let rows = sqlx::query!(
        r#"select id, kind, actor_id, version, occurred_at, changes as "changes: Json<Map<String, Value>>", reason
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
