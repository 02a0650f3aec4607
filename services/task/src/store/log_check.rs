//! Queries of the log check.

use std::collections::HashMap;

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    task::{Row, select},
    task_batch,
};
use crate::task::{
    Task,
    event_kind::EventKind,
    event_log::{ReplayedState, StoredEntry, Values},
};

/// Locks the next tasks of the account, including deleted ones, so that their logs do not grow.
pub(crate) async fn lock(tx: &mut Tx, after: Uuid, limit: i64) -> Result<Vec<Task>> {
    let rows: Vec<Row> =
        sqlx::query_as(select!("where account_id = $1 and id > $2 order by id limit $3 for no key update"))
            .bind(tx.tenant().account_id)
            .bind(after)
            .bind(limit)
            .fetch_all(tx.connection())
            .await?;
    rows.into_iter().map(Task::try_from).collect()
}

/// All entries of their logs, in order.
pub(crate) async fn logs(tx: &mut ReadTx, ids: &[Uuid]) -> Result<HashMap<Uuid, Vec<StoredEntry>>> {
    let lines = sqlx::query!(
        r#"select task_id, version, kind, actor_id, occurred_at, changes as "changes: Json<Values>", reason
           from task.task_events where account_id = $1 and task_id = any($2) order by task_id, version"#,
        tx.tenant().account_id,
        ids
    )
    .fetch_all(tx.connection())
    .await?;
    let mut logs: HashMap<Uuid, Vec<StoredEntry>> = HashMap::with_capacity(ids.len());
    for entry in lines {
        logs.entry(entry.task_id).or_default().push(StoredEntry {
            version: entry.version,
            kind: EventKind::from_name(&entry.kind),
            actor_id: entry.actor_id,
            occurred_at: entry.occurred_at,
            changes: entry.changes.0,
            reason: entry.reason,
        });
    }
    Ok(logs)
}

/// Overwrites the rows of locked tasks with what their logs say.
pub(crate) async fn overwrite(tx: &mut Tx, tasks: &[Task]) -> Result<()> {
    task_batch::overwrite(tx, tasks).await
}

/// A snapshot of a task.
pub(crate) struct Snapshot {
    pub(crate) task_id: Uuid,
    pub(crate) version: i32,
    pub(crate) taken_at: DateTime<Utc>,
    pub(crate) state: ReplayedState,
}

/// Their snapshots.
pub(crate) async fn snapshots(tx: &mut ReadTx, ids: &[Uuid]) -> Result<HashMap<(Uuid, i32), Snapshot>> {
    let rows = sqlx::query!(
        r#"select task_id, version, taken_at, state as "state: Json<Values>" from task.task_snapshots
           where account_id = $1 and task_id = any($2)"#,
        tx.tenant().account_id,
        ids
    )
    .fetch_all(tx.connection())
    .await?;
    let snapshots = rows.into_iter().map(|row| Snapshot {
        task_id: row.task_id,
        version: row.version,
        taken_at: row.taken_at,
        state: ReplayedState(row.state.0),
    });
    Ok(snapshots.map(|snapshot| ((snapshot.task_id, snapshot.version), snapshot)).collect())
}

/// Deletes snapshots.
pub(crate) async fn delete_snapshots(tx: &mut Tx, snapshots: &[(Uuid, i32)]) -> Result<()> {
    let (ids, versions): (Vec<Uuid>, Vec<i32>) = snapshots.iter().copied().unzip();
    sqlx::query!(
        "delete from task.task_snapshots using unnest($2::uuid[], $3::integer[]) as wrong (id, number)
         where account_id = $1 and task_id = wrong.id and version = wrong.number",
        tx.tenant().account_id,
        &ids,
        &versions
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
