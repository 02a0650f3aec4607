//! Reindexing: tokenizes an account's tasks again when its search language changes.

use anyhow::Context as _;
use baton_store::{Db, jobs::Job};
use uuid::Uuid;

use crate::store;

/// Job kind.
pub(crate) const JOB: &str = "search.reindex";
/// Tasks per statement.
const BATCH: i64 = 500;

/// Runs the job. Each statement commits by itself; running it again repeats the work.
pub(crate) async fn run(db: Db, job: Job) -> anyhow::Result<()> {
    let account_id: Uuid = job.payload()?;
    let mut after = Some(Uuid::nil());
    while let Some(last) = after {
        after = store::search::reindex(&db, account_id, last, BATCH).await.context("cannot tokenize tasks again")?;
    }
    Ok(())
}
