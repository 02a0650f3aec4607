//! People the processing of whose data is restricted (GDPR, article 18), and the entries of the ledger of erasures.
//!
//! Few people are. So every process keeps their ids in memory, and no call asks the database.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use baton_errors::{Error, Reason, Result};
use baton_runtime::Shutdown;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::Db;

/// How often changes are read: a restriction takes effect within one second.
const INTERVAL: Duration = Duration::from_millis(400);
/// Changes of this time are read again each time: of two that commit at once, the later one may appear first. No statement
/// takes longer.
const OVERLAP: &str = "interval '60 seconds'";

/// The people the processing of whose data is restricted. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Restrictions(Arc<RwLock<HashSet<Uuid>>>);

impl Restrictions {
    /// Whether the processing of this person's data is restricted.
    pub fn contains(&self, user_id: Uuid) -> bool {
        // No code under the lock can panic half-way.
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&user_id)
    }

    /// Refuses what would process the data of one of these people.
    ///
    /// # Errors
    /// PROCESSING_RESTRICTED.
    pub fn require_none_of(&self, people: impl IntoIterator<Item = Uuid>) -> Result<()> {
        let restricted = people.into_iter().any(|person| self.contains(person));
        if restricted { Err(Error::from(Reason::ProcessingRestricted)) } else { Ok(()) }
    }

    /// Follows the changes until the process stops; `read` is called once they were read.
    pub async fn follow(self, db: Db, shutdown: Shutdown, read: impl FnOnce() + Send) {
        let (mut read_until, mut read) = (None, Some(read));
        while !shutdown.stop().is_cancelled() {
            match self.read(&db, read_until).await {
                Ok(last) => {
                    read_until = last;
                    if let Some(read) = read.take() {
                        read();
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot read whose processing is restricted"),
            }
            tokio::select! {
                () = shutdown.stop().cancelled() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    /// Reads the changes since this time, or all; returns the time of the last.
    async fn read(&self, db: &Db, since: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>> {
        let select = db.sql(&format!(
            "select user_id, restricted, changed_at from {{schema}}.processing_restrictions
             where changed_at > coalesce($1 - {OVERLAP}, '-infinity') order by changed_at"
        ));
        let rows: Vec<(Uuid, bool, DateTime<Utc>)> = sqlx::query_as(select).bind(since).fetch_all(db.system()).await?;
        let mut restricted = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut last = since;
        for (user_id, is_restricted, changed_at) in rows {
            if is_restricted {
                restricted.insert(user_id)
            } else {
                restricted.remove(&user_id)
            };
            last = last.max(Some(changed_at));
        }
        Ok(last)
    }
}

/// Restricts the processing of a person's data, or ends that. A change that is older than the known one has no effect.
///
/// # Errors
/// Those of the database.
pub async fn set(db: &Db, user_id: Uuid, restricted: bool, epoch: i64) -> Result<()> {
    let upsert = db.sql(
        "insert into {schema}.processing_restrictions as known (user_id, restricted, epoch) values ($1, $2, $3)
         on conflict (user_id) do update set restricted = excluded.restricted, epoch = excluded.epoch,
             changed_at = clock_timestamp()
             where known.epoch < excluded.epoch",
    );
    sqlx::query(upsert).bind(user_id).bind(restricted).bind(epoch).execute(db.system()).await?;
    Ok(())
}

/// Notes that the database knows these entries of the ledger.
///
/// # Errors
/// Those of the database.
pub async fn know_ledger_entries(db: &Db, entries: &[Uuid]) -> Result<()> {
    if !entries.is_empty() {
        let insert =
            db.sql("insert into {schema}.ledger_entries (id) select unnest($1::uuid[]) on conflict do nothing");
        sqlx::query(insert).bind(entries).execute(db.system()).await?;
    }
    Ok(())
}

/// Those of these entries of the ledger that the database does not know.
///
/// # Errors
/// Those of the database.
pub async fn unknown_ledger_entries(db: &Db, entries: &[Uuid]) -> Result<Vec<Uuid>> {
    let select = db.sql(
        "select id from unnest($1::uuid[]) as entries (id)
         where not exists (select from {schema}.ledger_entries known where known.id = entries.id)",
    );
    Ok(sqlx::query_scalar(select).bind(entries).fetch_all(db.system()).await?)
}
