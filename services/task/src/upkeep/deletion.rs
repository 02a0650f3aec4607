//! Accounts that were deleted: nothing of theirs stays. Nobody is told of each task; the account's end says it.

use anyhow::{bail, ensure};
use baton_errors::Result;
use baton_files::Files;
use baton_store::{Db, Tx, jobs::Job};
use uuid::Uuid;

use crate::{
    store::{self, deletion},
    upkeep::storage,
};

/// The event that begins it.
pub(crate) const EVENT: &str = "account.deleted";
/// Job: delete what is left of an account.
const JOB: &str = "account.clear";
/// Rows that are deleted with a statement.
const BATCH: i64 = 1_000;

/// Has the rows of the transaction's account deleted, after the commit: they may be too many for one
/// transaction, and the role that handles events may not.
pub(crate) async fn begin(tx: &mut Tx) -> Result<()> {
    let account_id = tx.tenant().account_id;
    tx.enqueue(JOB, &account_id).await
}

/// Does the job. Each statement commits by itself, so one that runs again goes on where the last one stopped.
pub(crate) async fn work(db: Db, files: Files, job: Job) -> anyhow::Result<()> {
    if job.kind != JOB {
        bail!("no job of kind {}", job.kind);
    }
    let account_id: Uuid = job.payload()?;
    while deletion::events(&db, account_id, BATCH).await? > 0 {}
    while deletion::time_entries(&db, account_id, BATCH).await? > 0 {}
    while deletion::time_corrections(&db, account_id, BATCH).await? > 0 {}
    while deletion::comments(&db, account_id, BATCH).await? > 0 {}
    while deletion::watchers(&db, account_id, BATCH).await? > 0 {}
    storage::clear(&db, &files, account_id).await?;
    while deletion::dependencies(&db, account_id, BATCH).await? > 0 {}
    deletion::custom_fields(&db, account_id).await?;
    while deletion::tasks(&db, account_id, BATCH).await? > 0 {}
    while deletion::usage_changes(&db, account_id, BATCH).await? > 0 {}
    while deletion::usage(&db, account_id, BATCH).await? > 0 {}
    store::view::clear(&db, account_id).await?;
    store::hand_over::clear(&db, account_id).await?;
    // Another worker who deletes the same rows leaves none for this one, and may still fail.
    ensure!(!deletion::remains(&db, account_id).await?, "rows of a deleted account remain");
    Ok(())
}
