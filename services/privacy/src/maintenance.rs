//! Periodic work: files of exports are deleted after a week, and requests after three years; consents to notices that have
//! changed end.

use std::time::Duration;

use baton_errors::Result;
use baton_files::Files;
use baton_runtime::Next;
use baton_store::Db;
use chrono::TimeDelta;

use crate::{application::export::file_key, purpose::PURPOSES, store};

/// How often files are looked for whose time is over.
pub(crate) const EXPORT_INTERVAL: Duration = Duration::from_secs(600);
/// How often consents are compared with the notices, which change with the program.
pub(crate) const NOTICE_INTERVAL: Duration = Duration::from_secs(3600);
/// How often old requests are looked for.
pub(crate) const RETENTION_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How long an ended request is kept, as proof that it was answered.
const REQUEST_RETENTION: TimeDelta = TimeDelta::days(1095);

/// Deletes the files of exports whose time is over.
pub(crate) async fn expire(db: Db, files: Files) -> Result<Next> {
    let ids = store::export::expired(&db, db.clock().now()).await?;
    for &id in &ids {
        files.delete(&file_key(id)).await?;
    }
    store::export::deleted(&db, &ids).await?;
    Ok(if ids.is_empty() { Next::Wait } else { Next::Again })
}

/// Deletes old requests.
pub(crate) async fn delete_old(db: Db) -> Result<Next> {
    let more = store::request::delete_ended_before(&db, db.clock().now() - REQUEST_RETENTION).await?;
    Ok(if more { Next::Again } else { Next::Wait })
}

/// Ends consents to notices that have changed in substance.
pub(crate) async fn mark_stale(db: Db) -> Result<Next> {
    let mut more = false;
    for purpose in PURPOSES.iter().filter(|purpose| purpose.needs_consent()) {
        more |= store::consent::mark_stale(&db, purpose.id, purpose.valid_since, db.clock().now()).await?;
    }
    Ok(if more { Next::Again } else { Next::Wait })
}
