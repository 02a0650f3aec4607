//! Purges tasks from the trash.

use std::time::Duration;

use baton_errors::Result;
use baton_store::{Db, Tenant};
use chrono::{DateTime, TimeDelta};
use uuid::Uuid;

use crate::{
    application::writer::UnitOfWork,
    store,
    task::{
        change::{AccountPolicy, AppliedChange},
        event_kind::EventKind,
    },
};

/// Time that a task stays in the trash.
const RETENTION: TimeDelta = TimeDelta::days(30);
/// Pause between two runs.
pub(crate) const INTERVAL: Duration = Duration::from_secs(600);
/// Tasks deleted, or detached from their parent, per transaction.
const BATCH: i64 = 100;

/// Deletes expired tasks with everything attached to them. Their subtasks lose their parent, with a timeline entry.
/// Several instances may run at once.
///
/// # Errors
/// Those of the database.
pub(crate) async fn sweep(db: Db) -> Result<()> {
    let db = &db;
    let before = db.clock().now() - RETENTION;
    let mut after = (DateTime::UNIX_EPOCH, Uuid::nil());
    loop {
        let expired = store::trash::expired(db, before, after, BATCH).await?;
        let Some(last) = expired.last() else { return Ok(()) };
        after = (last.deleted_at, last.id);
        for of_account in expired.chunk_by(|a, b| a.account_id == b.account_id) {
            let ids: Vec<Uuid> = of_account.iter().map(|task| task.id).collect();
            while detach_subtasks(db, of_account[0].account_id, &ids).await? {}
            store::trash::delete(db, &ids, before).await?;
        }
    }
}

/// Detaches the next subtasks of these tasks; returns whether there were any.
async fn detach_subtasks(db: &Db, account_id: Uuid, parents: &[Uuid]) -> Result<bool> {
    let mut tx = db.begin(Tenant::account(account_id)).await?;
    let subtasks = store::trash::lock_subtasks(&mut tx, parents, BATCH).await?;
    if subtasks.is_empty() {
        return Ok(false);
    }
    let detached = subtasks.into_iter().map(|before| {
        let mut after = before.clone();
        after.fields.parent_task_id = None;
        AppliedChange { before, after, kind: EventKind::Updated, reason: None }
    });
    UnitOfWork::change(detached.collect(), AccountPolicy::default()).write(&mut tx).await?;
    tx.commit().await?;
    Ok(true)
}
