//! Periodic work: files of exports are deleted after a week; consents to notices that have changed end.

use std::{pin::pin, time::Duration};

use baton_errors::Result;
use baton_files::Files;
use baton_runtime::Next;
use baton_store::Db;
use chrono::TimeDelta;
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use crate::{
    application::export::{FOLDER, file_key},
    purpose::PURPOSES,
    request::AVAILABLE_FOR,
    store,
};

/// How often files are looked for whose time is over.
pub(crate) const EXPORT_INTERVAL: Duration = Duration::from_secs(600);
/// How often erasures are looked for that are to begin, or to be counted.
pub(crate) const ERASURE_INTERVAL: Duration = Duration::from_secs(2);
/// How often consents are compared with the notices, which change with the program.
pub(crate) const NOTICE_INTERVAL: Duration = Duration::from_secs(3600);
/// How often files are looked for that no export names.
pub(crate) const ORPHAN_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How much longer than its time a file may be there, before it is taken for one that nobody names.
const ORPHAN_MARGIN: TimeDelta = TimeDelta::days(1);

/// Deletes the files of exports whose time is over.
pub(crate) async fn expire(db: Db, files: Files) -> Result<Next> {
    let expired = store::export::expired(&db, db.clock().now()).await?;
    for &(_, file) in &expired {
        files.delete(&file_key(file)).await?;
    }
    let ids: Vec<Uuid> = expired.iter().map(|&(id, _)| id).collect();
    store::export::deleted(&db, &ids).await?;
    Ok(if ids.is_empty() { Next::Wait } else { Next::Again })
}

/// Deletes files that no export names, which an attempt left that was interrupted, or a database that was restored. Those
/// that an export names are gone by then.
pub(crate) async fn delete_orphans(db: Db, files: Files) -> Result<Next> {
    let mut old = pin!(files.older_than(FOLDER, db.clock().now() - AVAILABLE_FOR - ORPHAN_MARGIN));
    while let Some(key) = old.try_next().await? {
        files.delete(&key).await?;
    }
    Ok(Next::Wait)
}

/// Ends consents to notices that have changed in substance.
pub(crate) async fn mark_stale(db: Db) -> Result<Next> {
    let mut more = false;
    for purpose in PURPOSES.iter().filter(|purpose| purpose.needs_consent()) {
        more |= store::consent::mark_stale(&db, purpose.id, purpose.valid_since).await?;
    }
    Ok(if more { Next::Again } else { Next::Wait })
}
