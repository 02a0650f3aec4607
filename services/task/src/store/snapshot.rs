//! Snapshots of tasks, and past states replayed from the nearest snapshot.

use std::collections::HashMap;

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::task::{
    Task,
    event_kind::EventKind,
    event_log::{ReplayedState, StoredEntry, Values},
};

/// Stores snapshots of the current tasks.
pub(super) async fn insert<'a>(tx: &mut Tx, tasks: impl IntoIterator<Item = &'a Task>) -> Result<()> {
    let tasks: Vec<&Task> = tasks.into_iter().collect();
    if tasks.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = tasks.iter().map(|task| task.id).collect();
    let versions: Vec<i32> = tasks.iter().map(|task| task.version).collect();
    let times: Vec<DateTime<Utc>> = tasks.iter().map(|task| task.updated_at).collect();
    let states: Vec<_> = tasks.iter().map(|task| task.replayed_state().0.into()).collect::<Vec<serde_json::Value>>();
    sqlx::query!(
        "insert into task.task_snapshots (account_id, task_id, version, taken_at, state)
         select $1, task_id, version, taken_at, state
         from unnest($2::uuid[], $3::integer[], $4::timestamptz[], $5::jsonb[])
              as snapshots (task_id, version, taken_at, state)
         on conflict (account_id, task_id, version) do update
             set taken_at = excluded.taken_at, state = excluded.state",
        tx.tenant().account_id,
        &ids,
        &versions,
        &times,
        &states,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// These tasks of the account as of `time`, unordered. Tasks that did not exist or were deleted are left out. The
/// caller checks visibility.
pub(crate) async fn as_of(tx: &mut ReadTx, ids: &[Uuid], time: DateTime<Utc>) -> Result<Vec<Task>> {
    let account_id = tx.tenant().account_id;
    let snapshots = sqlx::query!(
        r#"select task_id as "task_id!", version as "version!", state as "state!: Json<Values>"
           from unnest($2::uuid[]) as asked (id), lateral (
               select task_id, version, state from task.task_snapshots
               where account_id = $1 and task_id = asked.id and taken_at <= $3 order by version desc limit 1
           ) nearest"#,
        account_id,
        ids,
        time
    )
    .fetch_all(tx.connection())
    .await?;
    let from: HashMap<Uuid, i32> = snapshots.iter().map(|nearest| (nearest.task_id, nearest.version)).collect();
    let from: Vec<i32> = ids.iter().map(|id| from.get(id).copied().unwrap_or_default()).collect();
    let mut pasts: HashMap<Uuid, ReplayedState> =
        snapshots.into_iter().map(|nearest| (nearest.task_id, ReplayedState(nearest.state.0))).collect();
    let lines = sqlx::query!(
        r#"select e.task_id, e.version, e.kind, e.actor_id, e.occurred_at, e.changes as "changes: Json<Values>", e.reason
           from unnest($2::uuid[], $3::integer[]) as asked (id, version)
           join task.task_events e on e.account_id = $1 and e.task_id = asked.id and e.version > asked.version
           where e.version <= (
               select version from task.task_events
               where account_id = $1 and task_id = asked.id and occurred_at <= $4 order by version desc limit 1
           )
           order by e.task_id, e.version"#,
        account_id,
        ids,
        &from,
        time
    )
    .fetch_all(tx.connection())
    .await?;
    for entry in lines {
        pasts.entry(entry.task_id).or_default().apply(StoredEntry {
            version: entry.version,
            kind: EventKind::from_name(&entry.kind),
            actor_id: entry.actor_id,
            occurred_at: entry.occurred_at,
            changes: entry.changes.0,
            reason: entry.reason,
        });
    }
    let mut tasks = Vec::with_capacity(pasts.len());
    for (id, state) in pasts {
        let task = state.task(account_id, id)?;
        if task.deleted_at.is_none() {
            tasks.push(task);
        }
    }
    Ok(tasks)
}
