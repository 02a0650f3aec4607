//! The relay's side of the outbox: leadership, batches, marks.

use baton_errors::Result;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row;
use uuid::Uuid;

use crate::Db;

/// How long published rows are kept to fill a lost stream again.
pub const KEPT: TimeDelta = TimeDelta::days(3);
/// How long a relay leads without renewing.
const LEASE_SECONDS: f64 = 15.0;

/// An event that waits to be published.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its place in the outbox.
    pub position: i64,
    /// Decides the partition; nil for events of no account.
    pub account_id: Uuid,
    /// The encoded `baton.events.v1.Envelope`.
    pub envelope: Vec<u8>,
}

/// Leads, or goes on leading, the relays of this outbox: only one publishes, so that order is kept.
/// `None` when another leads; else the mark that the stream's server should hold, if one was left.
///
/// # Errors
/// Those of the database.
pub async fn lead(db: &Db, relay: Uuid) -> Result<Option<Option<Uuid>>> {
    let update = db.sql(
        "update {schema}.relay set holder = $1, held_until = now() + make_interval(secs => $2)
         where holder = $1 or held_until < now() returning mark",
    );
    let row = sqlx::query(update).bind(relay).bind(LEASE_SECONDS).fetch_optional(db.system()).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Gives leadership up, so that another relay need not wait for the lease to end.
///
/// # Errors
/// Those of the database.
pub async fn resign(db: &Db, relay: Uuid) -> Result<()> {
    let update = db.sql("update {schema}.relay set held_until = '-infinity' where holder = $1");
    sqlx::query(update).bind(relay).execute(db.system()).await?;
    Ok(())
}

/// Notes a new mark, and that everything kept has to be published again. Answers how many that is.
///
/// # Errors
/// Those of the database.
pub async fn start_over(db: &Db, relay: Uuid, mark: Uuid) -> Result<u64> {
    let mut tx = db.system().begin().await?;
    let update = db.sql("update {schema}.relay set mark = $2 where holder = $1");
    if sqlx::query(update).bind(relay).bind(mark).execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(0);
    }
    let update =
        db.sql("update {schema}.outbox set published_at = null where published_at is not null and created_at > $1");
    let again = sqlx::query(update).bind(kept_since()).execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(again)
}

/// The next events to publish, in order.
///
/// # Errors
/// Those of the database.
pub async fn waiting(db: &Db, limit: i64) -> Result<Vec<Waiting>> {
    let select = db.sql(
        "select position, account_id, envelope from {schema}.outbox
         where published_at is null order by position limit $1",
    );
    let rows = sqlx::query(select).bind(limit).fetch_all(db.system()).await?;
    Ok(rows
        .into_iter()
        .map(|row| Waiting {
            position: row.get("position"),
            account_id: row.get::<Option<Uuid>, _>("account_id").unwrap_or_default(),
            envelope: row.get("envelope"),
        })
        .collect())
}

/// Notes that events have reached the stream.
///
/// # Errors
/// Those of the database.
pub async fn published(db: &Db, positions: &[i64]) -> Result<()> {
    let update = db.sql("update {schema}.outbox set published_at = now() where position = any($1)");
    sqlx::query(update).bind(positions).execute(db.system()).await?;
    Ok(())
}

/// Events that wait, and the age of the oldest in seconds: for the lag metrics.
///
/// # Errors
/// Those of the database.
pub async fn lag(db: &Db) -> Result<(i64, f64)> {
    let select = db.sql(
        "select count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::float8
         from {schema}.outbox where published_at is null",
    );
    let row = sqlx::query(select).fetch_one(db.system()).await?;
    Ok((row.get(0), row.get(1)))
}

fn kept_since() -> DateTime<Utc> {
    Utc::now() - KEPT
}
