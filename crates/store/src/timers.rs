//! Durable timers: rows of a service's table `timers` that fire once, at their time by the service's clock.
//!
//! A row is written in the transaction that makes it necessary. Any number of workers may run. They find the same rows, but
//! the transaction that fires one locks it ([`lock`]) and marks it as fired ([`mark_fired`]): of several workers, and of
//! one that crashes and restarts, one fires it, once. The table has these columns, and those that the service adds:
//!
//! ```sql
//! id         uuid primary key,
//! account_id uuid not null,          -- behind row-level security
//! kind       text not null,
//! fires_at   timestamptz not null,
//! try_at     timestamptz not null,   -- later than fires_at after a failure
//! fired_at   timestamptz             -- stays: what has happened once does not happen again
//! ```
//!
//! with an index on `(try_at) where fired_at is null`.

use std::{collections::BTreeMap, time::Duration};

use baton_errors::Result;
use baton_runtime::Next;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;
use uuid::Uuid;

use crate::{Db, Tx};

/// Maximum pause between polls: another process may have set an earlier timer.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A timer that fires longer than this after its time is late.
pub const LATE_AFTER: TimeDelta = TimeDelta::minutes(5);
/// Timers per poll.
const BATCH: i64 = 200;
/// Delay before a failed timer is retried.
const RETRY_DELAY: TimeDelta = TimeDelta::seconds(30);

/// A due timer.
#[derive(Debug, Clone)]
pub struct DueTimer {
    /// Its id.
    pub id: Uuid,
    /// Its kind.
    pub kind: String,
}

/// The oldest due timers, by account, across tenants. Nothing is locked; [`lock`] decides.
///
/// # Errors
/// Those of the database.
pub async fn due(db: &Db) -> Result<BTreeMap<Uuid, Vec<DueTimer>>> {
    let select = db.sql(
        "select id, account_id, kind from {schema}.timers
         where fired_at is null and try_at <= $1 order by try_at limit $2",
    );
    let rows = sqlx::query(select).bind(db.clock().now()).bind(BATCH).fetch_all(db.system()).await?;
    let mut accounts: BTreeMap<Uuid, Vec<DueTimer>> = BTreeMap::new();
    for row in rows {
        let timer = DueTimer { id: row.get("id"), kind: row.get("kind") };
        accounts.entry(row.get("account_id")).or_default().push(timer);
    }
    Ok(accounts)
}

/// When to poll again, after a poll that settled so many.
pub async fn next_poll(db: &Db, settled: usize) -> Next {
    Next::After(if settled == 0 { time_until_next(db).await } else { Duration::ZERO })
}

/// Runs `work`, which fires these timers, and postpones them when it fails, so that they do not block others. Returns how
/// many were settled.
pub async fn attempt(db: &Db, ids: &[Uuid], work: impl Future<Output = Result<usize>>) -> usize {
    match work.await {
        Ok(settled) => settled,
        Err(error) => {
            tracing::warn!(%error, timers = ids.len(), "cannot fire timers; they are retried");
            if let Err(error) = postpone(db, ids, RETRY_DELAY).await {
                tracing::warn!(%error, "cannot postpone timers");
            }
            0
        }
    }
}

async fn time_until_next(db: &Db) -> Duration {
    let select = db.sql("select min(try_at) from {schema}.timers where fired_at is null");
    let next: Option<DateTime<Utc>> = sqlx::query_scalar(select).fetch_one(db.system()).await.ok().flatten();
    let left = next.and_then(|next| (next - db.clock().now()).to_std().ok()).unwrap_or(POLL_INTERVAL);
    // A timer that is due now is locked by another worker.
    if left.is_zero() { POLL_INTERVAL } else { left.min(POLL_INTERVAL) }
}

/// Postpones timers that have not fired.
///
/// # Errors
/// Those of the database.
pub async fn postpone(db: &Db, ids: &[Uuid], by: TimeDelta) -> Result<()> {
    let update = db.sql("update {schema}.timers set try_at = $2 where id = any($1) and fired_at is null");
    sqlx::query(update).bind(ids).bind(db.clock().now() + by).execute(db.system()).await?;
    Ok(())
}

/// Locks those of these timers of the transaction's account that have not fired and that no other transaction has locked.
/// Returns them, the earliest first.
///
/// # Errors
/// Those of the database.
pub async fn lock(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let select = tx.db().sql(
        "select id from {schema}.timers where account_id = $1 and id = any($2) and fired_at is null
         order by fires_at, id for update skip locked",
    );
    let account_id = tx.tenant().account_id;
    Ok(sqlx::query_scalar(select).bind(account_id).bind(ids).fetch_all(tx.connection()).await?)
}

/// Marks timers as fired, and deletes obsolete ones.
///
/// # Errors
/// Those of the database.
pub async fn mark_fired(tx: &mut Tx, fired: &[Uuid], dropped: &[Uuid]) -> Result<()> {
    let (account_id, now) = (tx.tenant().account_id, tx.db().clock().now());
    let update = tx.db().sql(
        "with dropped as (delete from {schema}.timers where account_id = $1 and id = any($3))
         update {schema}.timers set fired_at = $4 where account_id = $1 and id = any($2)",
    );
    sqlx::query(update).bind(account_id).bind(fired).bind(dropped).bind(now).execute(tx.connection()).await?;
    Ok(())
}
