//! Replays the logs of tasks and compares them with rows and snapshots: the operator's check of `baton task rebuild`.

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

/// Tasks locked per transaction.
const BATCH: i64 = 200;

/// A task that differs from its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The account.
    pub account_id: Uuid,
    /// The task.
    pub task_id: Uuid,
    /// Names of the fields that differ, sorted; `snapshot` for a snapshot that does; `log` when the log does not describe a
    /// task, which cannot be corrected.
    pub fields: Vec<String>,
}

/// Replays the log of every task, including deleted ones, and compares it with the row and the snapshots. Unless
/// `only_check`, corrects both from the log. `report` receives the number of tasks read since its last call and their
/// differences. Safe while the service runs, because few tasks are locked at a time.
///
/// # Errors
/// Those of the database, also when it refuses the values of a log.
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
        let mut fields = replayed.task.as_ref().map_or_else(|| vec!["log".to_owned()], |task| row.differences(task));
        if !fields.is_empty() {
            right.extend(replayed.task);
        }
        if !replayed.wrong_snapshots.is_empty() {
            fields.push("snapshot".to_owned());
            wrong.extend(replayed.wrong_snapshots);
        }
        if !fields.is_empty() {
            differences.push(Difference { account_id, task_id: row.id, fields });
        }
    }
    if !only_check && !differences.is_empty() {
        store::log_check::overwrite(&mut tx, &right).await?;
        // Readers then start from an older snapshot, or from the beginning.
        store::log_check::delete_snapshots(&mut tx, &wrong).await?;
        tx.commit().await?;
    }
    Ok(Some(Batch { last, read: rows.len(), differences }))
}

/// The result of replaying a log.
struct Replay {
    /// `None` when the log does not describe a task.
    task: Option<Task>,
    wrong_snapshots: Vec<(Uuid, i32)>,
}

fn replay(row: &Task, log: Vec<StoredEntry>, snapshots: &HashMap<(Uuid, i32), Snapshot>) -> Replay {
    let is_complete = log.iter().zip(1..).all(|(entry, version)| entry.version == version);
    let task_of = |state: &ReplayedState| state.clone().task(row.account_id, row.id).ok();
    let (mut state, mut wrong_snapshots) = (ReplayedState::default(), Vec::new());
    for entry in log {
        let (version, time) = (entry.version, entry.occurred_at);
        state.apply(entry);
        if version % SNAPSHOT_EVERY != 0 {
            continue;
        }
        if let Some(snapshot) = snapshots.get(&(row.id, version))
            && (snapshot.taken_at != time || task_of(&snapshot.state) != task_of(&state))
        {
            wrong_snapshots.push((row.id, version));
        }
    }
    Replay { task: task_of(&state).filter(|_| is_complete), wrong_snapshots }
}
