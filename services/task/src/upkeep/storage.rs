//! What the object store keeps without need is deleted; how much it keeps is counted anew.
//!
//! A row is marked, then its content deleted, then the row: whatever happens on the way, the next run goes on from
//! there. Several instances may sweep at once; deleting what is deleted is no error.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use baton_errors::Result;
use baton_files::Files;
use baton_runtime::Shutdown;
use baton_store::{Db, Tenant};
use chrono::TimeDelta;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use crate::{
    events::attachment as events,
    store::{self, attachment_sweep, attachment_sweep::Left},
    task::attachment::{self, COMPLETE_WITHIN, ROOT},
};

pub use crate::store::storage::CountedBytes;

const EVERY: Duration = Duration::from_secs(60);
/// How often to look for content without a row: it means to list all there is.
const ORPHANS_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Content that is younger may belong to a call that is not finished.
const ORPHANS_FROM: TimeDelta = TimeDelta::days(1);
/// Rows that are handled at a time.
const BATCH: i64 = 100;
/// Attachments whose content is deleted at a time.
const AT_ONCE: usize = 8;
/// Keys that are looked up at a time.
const KEYS: usize = 1_000;

/// Sweeps until the process stops. `deleted` tells that an attachment was deleted in this process.
pub(crate) async fn run(db: Db, files: Files, deleted: Arc<Notify>, shutdown: Shutdown) {
    // Not at once: a process that crashes and starts over must not list the store each time.
    let mut orphans_at = Instant::now() + ORPHANS_EVERY / 24;
    loop {
        if let Err(error) = sweep(&db, &files).await {
            tracing::warn!(%error, "cannot sweep attachments");
        }
        if Instant::now() >= orphans_at {
            orphans_at = Instant::now() + ORPHANS_EVERY;
            match sweep_orphans(&db, &files).await {
                Ok(0) => {}
                Ok(deleted) => tracing::info!(deleted, "deleted objects that belonged to nothing"),
                Err(error) => tracing::warn!(%error, "cannot look for objects that belong to nothing"),
            }
        }
        tokio::select! {
            () = shutdown.stop().cancelled() => return,
            () = deleted.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Deletes uploads that were not completed in time, attachments whose task is gone, and the content of those that were
/// deleted.
///
/// # Errors
/// Those of the database and the object store; what is left is left to the next run.
pub async fn sweep(db: &Db, files: &Files) -> Result<()> {
    let expired_before = db.clock().now() - COMPLETE_WITHIN;
    loop {
        let useless = attachment_sweep::useless(db, expired_before, BATCH).await?;
        if useless.is_empty() {
            break;
        }
        let mut accounts: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
        for Left { id, account_id } in useless {
            accounts.entry(account_id).or_default().push(id);
        }
        for (account_id, ids) in accounts {
            let mut tx = db.begin(Tenant::account(account_id)).await?;
            let bytes = attachment_sweep::mark(&mut tx, &ids, expired_before).await?;
            let used = store::storage::subtract(&mut tx, bytes).await?;
            tx.publish_all(events::storage_changed(account_id, used)).await?;
            tx.commit().await?;
        }
    }
    let mut after = Uuid::nil();
    loop {
        let deleting = attachment_sweep::deleting(db, after, BATCH).await?;
        let Some(last) = deleting.last() else { return Ok(()) };
        after = last.id;
        let deleted = stream::iter(deleting).map(|left| async move {
            files.delete_below(&attachment::folder(left.account_id, left.id)).await.map(|()| left.id)
        });
        let deleted: Vec<Result<Uuid>> = deleted.buffer_unordered(AT_ONCE).collect().await;
        let (deleted, failed): (Vec<_>, Vec<_>) = deleted.into_iter().partition(Result::is_ok);
        let ids: Vec<Uuid> = deleted.into_iter().flatten().collect();
        attachment_sweep::forget(db, &ids).await?;
        if let Some(error) = failed.into_iter().find_map(Result::err) {
            return Err(error);
        }
    }
}

/// Deletes content that belongs to no attachment: what a crash left behind, or was sent after the row had gone. Answers
/// how many objects.
///
/// # Errors
/// Those of the database and the object store.
pub async fn sweep_orphans(db: &Db, files: &Files) -> Result<u64> {
    let mut deleted = 0;
    let mut keys = pin!(files.older_than(ROOT, db.clock().now() - ORPHANS_FROM).try_chunks(KEYS));
    while let Some(keys) = keys.try_next().await.map_err(|chunk| chunk.1)? {
        let found: Vec<_> = keys.iter().filter_map(|key| Some((key, attachment::of_key(key)?))).collect();
        let mut ids: Vec<Uuid> = found.iter().map(|(_, (id, _))| *id).collect();
        ids.dedup();
        let known: HashMap<_, _> = attachment_sweep::known(db, &ids).await?.into_iter().collect();
        for (key, (id, last)) in found {
            let belongs = match known.get(&id) {
                None => false,
                Some(None) => true,
                Some(Some(kept)) => last == kept.to_string(),
            };
            if !belongs {
                files.delete(key).await?;
                deleted += 1;
            }
        }
    }
    Ok(deleted)
}

/// Deletes all files of an account that was deleted. Safe to repeat.
pub(crate) async fn clear(db: &Db, files: &Files, account_id: Uuid) -> Result<()> {
    files.delete_below(&attachment::account_folder(account_id)).await?;
    while attachment_sweep::clear(db, account_id, BATCH).await? > 0 {}
    attachment_sweep::clear_usage(db, account_id).await
}

/// Counts all files anew and answers the counters that were wrong. Unless it only checks, it corrects them and publishes
/// what is used, of every account: whoever keeps the figures has the right ones then. Safe while the service runs.
///
/// # Errors
/// Those of the database.
pub async fn rebuild(db: &Db, only_check: bool) -> Result<Vec<CountedBytes>> {
    let mut wrong = Vec::new();
    let mut last = Uuid::nil();
    loop {
        let accounts = store::storage::accounts(db, last).await?;
        let Some(&end) = accounts.last() else { return Ok(wrong) };
        for account_id in accounts {
            let (mut tx, counter) = store::storage::recount(db, account_id, !only_check).await?;
            if !only_check {
                let used = store::storage::mebibytes(counter.actual);
                tx.publish_all(events::storage_changed(account_id, (-1, used))).await?;
                tx.commit().await?;
            }
            wrong.extend((counter.counted != counter.actual).then_some(counter));
        }
        last = end;
    }
}
