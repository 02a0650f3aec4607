//! Garbage collection of attachments, and recounting of storage usage.
//!
//! A row is marked, then its content deleted, then the row: an interrupted run is continued by the next. Several
//! instances may run at once; deleting twice is harmless.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    time::Duration,
};

use baton_errors::Result;
use baton_files::Files;
use baton_runtime::Next;
use baton_store::{Db, Tenant};
use chrono::TimeDelta;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use crate::{
    events::publish::attachment as events,
    store::{
        self,
        attachment_gc::{self, GarbageAttachment},
    },
    task::attachment::{self, COMPLETION_TIMEOUT, KEY_PREFIX},
};

pub use crate::store::storage_usage::CountedBytes;

/// Pause between two sweeps.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);
/// Pause between two sweeps of content without a row: such a sweep lists the whole store.
pub(crate) const ORPHAN_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// Pause before the first: a process that crashes and restarts must not list the store each time.
pub(crate) const ORPHAN_DELAY: Duration = Duration::from_secs(3600);
/// Younger content may belong to a running call.
const ORPHAN_MIN_AGE: TimeDelta = TimeDelta::days(1);
/// Rows per batch.
const BATCH: i64 = 100;
/// Attachments whose content is deleted concurrently.
const MAX_CONCURRENT_DELETES: usize = 8;
/// Keys per lookup.
const ORPHAN_BATCH: usize = 1_000;

/// Deletes expired uploads, attachments whose task is gone, and the content of deleted attachments.
///
/// # Errors
/// Those of the database and the object store; the next run continues.
pub async fn sweep(db: &Db, files: &Files) -> Result<()> {
    let expired_before = db.clock().now() - COMPLETION_TIMEOUT;
    loop {
        let expired = attachment_gc::list_expired(db, expired_before, BATCH).await?;
        if expired.is_empty() {
            break;
        }
        let mut accounts: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
        for GarbageAttachment { id, account_id } in expired {
            accounts.entry(account_id).or_default().push(id);
        }
        for (account_id, ids) in accounts {
            let mut tx = db.begin(Tenant::account(account_id)).await?;
            let bytes = attachment_gc::mark(&mut tx, &ids, expired_before).await?;
            let used = store::storage_usage::subtract(&mut tx, bytes).await?;
            tx.publish_all(events::storage_changed(account_id, used)).await?;
            tx.commit().await?;
        }
    }
    let mut after = Uuid::nil();
    loop {
        let deleting = attachment_gc::list_marked(db, after, BATCH).await?;
        let Some(last) = deleting.last() else { return Ok(()) };
        after = last.id;
        let deleted = stream::iter(deleting).map(|garbage| async move {
            files.delete_below(&attachment::key_prefix(garbage.account_id, garbage.id)).await.map(|()| garbage.id)
        });
        let deleted: Vec<Result<Uuid>> = deleted.buffer_unordered(MAX_CONCURRENT_DELETES).collect().await;
        let (deleted, failed): (Vec<_>, Vec<_>) = deleted.into_iter().partition(Result::is_ok);
        let ids: Vec<Uuid> = deleted.into_iter().flatten().collect();
        attachment_gc::delete_rows(db, &ids).await?;
        if let Some(error) = failed.into_iter().find_map(Result::err) {
            return Err(error);
        }
    }
}

/// Deletes content without a row: left by a crash, or uploaded after the row was deleted. Returns the number of
/// objects.
///
/// # Errors
/// Those of the database and the object store.
pub async fn sweep_orphans(db: &Db, files: &Files) -> Result<u64> {
    let mut deleted = 0;
    let mut keys = pin!(files.older_than(KEY_PREFIX, db.clock().now() - ORPHAN_MIN_AGE).try_chunks(ORPHAN_BATCH));
    while let Some(keys) = keys.try_next().await.map_err(|chunk| chunk.1)? {
        let found: Vec<_> = keys.iter().filter_map(|key| Some((key, attachment::parse_key(key)?))).collect();
        let mut ids: Vec<Uuid> = found.iter().map(|(_, (id, _))| *id).collect();
        ids.dedup();
        let known: HashMap<_, _> = attachment_gc::objects(db, &ids).await?.into_iter().collect();
        for (key, (id, last)) in found {
            let is_used = match known.get(&id) {
                None => false,
                Some(None) => true,
                Some(Some(object_id)) => last == object_id.to_string(),
            };
            if !is_used {
                files.delete(key).await?;
                deleted += 1;
            }
        }
    }
    Ok(deleted)
}

/// [`sweep_orphans`] as periodic work: the first run only waits.
///
/// # Errors
/// Those of [`sweep_orphans`].
pub(crate) async fn sweep_orphans_later(db: Db, files: Files, first: bool) -> Result<Next> {
    if first {
        return Ok(Next::After(ORPHAN_DELAY));
    }
    let deleted = sweep_orphans(&db, &files).await?;
    if deleted > 0 {
        tracing::info!(deleted, "deleted objects without an attachment");
    }
    Ok(Next::Wait)
}

/// Deletes the content of all files of a deleted account. Safe to repeat.
///
/// # Errors
/// Those of the object store.
pub(crate) async fn delete_account_content(files: &Files, account_id: Uuid) -> anyhow::Result<()> {
    Ok(files.delete_below(&attachment::account_key_prefix(account_id)).await?)
}

/// Recounts the storage usage and returns the wrong counters. Unless `only_check`, corrects them and publishes the
/// usage of every account, which also corrects consumers. Safe while the service runs.
///
/// # Errors
/// Those of the database.
pub async fn rebuild(db: &Db, only_check: bool) -> Result<Vec<CountedBytes>> {
    let mut wrong = Vec::new();
    let mut last = Uuid::nil();
    loop {
        let accounts = store::storage_usage::accounts(db, last).await?;
        let Some(&end) = accounts.last() else { return Ok(wrong) };
        for account_id in accounts {
            let (mut tx, counter) = store::storage_usage::recount(db, account_id, !only_check).await?;
            if !only_check {
                let used = store::storage_usage::mebibytes(counter.actual);
                tx.publish_all(events::storage_changed(account_id, (-1, used))).await?;
                tx.commit().await?;
            }
            wrong.extend((counter.counted != counter.actual).then_some(counter));
        }
        last = end;
    }
}
