//! Tasks, told by their logs once more: for an operator who wants to know that rows and logs say the same.

use std::collections::HashMap;

use baton_errors::Result;
use baton_store::{Db, Tenant};
use uuid::Uuid;

use crate::{
    store::{self, log_check::Snapshot},
    task::{
        Task,
        event_log::{ReplayedState, SNAPSHOT_EVERY, StoredEntry},
    },
};

/// Tasks that are held with a transaction.
const BATCH: i64 = 200;

/// A task that its log tells differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The account.
    pub account_id: Uuid,
    /// The task.
    pub task_id: Uuid,
    /// Names of the fields that differ; `snapshot` for a snapshot that does; `log` when the log tells no task, which
    /// nothing can mend.
    pub fields: Vec<&'static str>,
}

/// Replays the log of every task, those in the trash as well, and compares it with the row and the snapshots. Unless
/// it only checks, it makes them what the log says. `report` hears how many tasks were read since the last time, and
/// what was different. Safe while the service runs: few tasks are held at a time.
///
/// # Errors
/// Those of the database, and when the database refuses what a log tells.
pub async fn rebuild(db: &Db, only_check: bool, mut report: impl FnMut(usize, Vec<Difference>)) -> Result<()> {
    let mut last = Uuid::nil();
    loop {
        let accounts = store::quota_counters::accounts(db, last).await?;
        let Some(&end) = accounts.last() else { return Ok(()) };
        for account_id in accounts {
            let mut after = Uuid::nil();
            while let Some(batch) = compare(db, account_id, after, only_check).await? {
                after = batch.last;
                report(batch.read, batch.differences);
            }
        }
        last = end;
    }
}

struct Batch {
    last: Uuid,
    read: usize,
    differences: Vec<Difference>,
}

async fn compare(db: &Db, account_id: Uuid, after: Uuid, only_check: bool) -> Result<Option<Batch>> {
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    let rows = store::log_check::lock(&mut tx, after, BATCH).await?;
    let Some(last) = rows.last().map(|task| task.id) else { return Ok(None) };
    let ids: Vec<Uuid> = rows.iter().map(|task| task.id).collect();
    let mut logs = store::log_check::logs(&mut tx, &ids).await?;
    let snapshots = store::log_check::snapshots(&mut tx, &ids).await?;
    let (mut differences, mut right, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let replayed = replay(row, logs.remove(&row.id).unwrap_or_default(), &snapshots);
        let mut fields = replayed.task.as_ref().map_or(vec!["log"], |task| row.differences(task));
        if !fields.is_empty() {
            right.extend(replayed.task);
        }
        if !replayed.wrong_snapshots.is_empty() {
            fields.push("snapshot");
            wrong.extend(replayed.wrong_snapshots);
        }
        if !fields.is_empty() {
            differences.push(Difference { account_id, task_id: row.id, fields });
        }
    }
    if !only_check && !differences.is_empty() {
        store::task::save_all(&mut tx, &right).await?;
        // Reading begins at an older one then, or at the beginning.
        store::log_check::delete_snapshots(&mut tx, &wrong).await?;
        tx.commit().await?;
    }
    Ok(Some(Batch { last, read: rows.len(), differences }))
}

/// What a log tells.
struct Replay {
    /// `None` when it tells no task.
    task: Option<Task>,
    wrong_snapshots: Vec<(Uuid, i32)>,
}

fn replay(row: &Task, log: Vec<StoredEntry>, snapshots: &HashMap<(Uuid, i32), Snapshot>) -> Replay {
    let whole = log.iter().zip(1..).all(|(entry, version)| entry.version == version);
    let task_of = |state: &ReplayedState| state.clone().task(row.account_id, row.id).ok();
    let (mut state, mut wrong_snapshots) = (ReplayedState::default(), Vec::new());
    for entry in log {
        let (version, time) = (entry.version, entry.occurred_at);
        state.apply(entry);
        if version % SNAPSHOT_EVERY != 0 {
            continue;
        }
        if let Some(kept) = snapshots.get(&(row.id, version))
            && (kept.taken_at != time || task_of(&kept.state) != task_of(&state))
        {
            wrong_snapshots.push((row.id, version));
        }
    }
    Replay { task: task_of(&state).filter(|_| whole), wrong_snapshots }
}
