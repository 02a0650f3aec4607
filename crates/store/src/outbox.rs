//! The relay's side of the outbox: leadership, and the published batches.

use baton_errors::Result;
use sqlx::Row;
use uuid::Uuid;

use crate::Db;

/// Lease of the leadership without renewal, in seconds.
const LEASE_SECONDS: f64 = 15.0;
/// Events to mark as unpublished at a time; more might exceed the statement timeout.
const UNPUBLISH_BATCH: i64 = 10_000;

/// An unpublished event.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its position in the outbox.
    pub position: i64,
    /// Selects the partition; nil for events outside of accounts.
    pub account_id: Uuid,
    /// The encoded `baton.events.v1.Envelope`.
    pub envelope: Vec<u8>,
}

/// State of the outbox for the leading relay.
#[derive(Debug, Clone, Copy)]
pub struct Leadership {
    /// Identifies this outbox; the stream server stores it with the batch.
    pub mark: Uuid,
    /// The last published batch; 0 if there is none.
    pub batch: i64,
}

/// Acquires or renews the leadership of this outbox. Only one relay publishes, so that order is kept. `None` if another
/// relay leads.
///
/// # Errors
/// Those of the database.
pub async fn acquire_leadership(db: &Db, relay: Uuid) -> Result<Option<Leadership>> {
    let update = db.sql(
        "update {schema}.relay set holder = $1, held_until = now() + make_interval(secs => $2)
         where holder = $1 or held_until < now() returning mark, batch",
    );
    let row = sqlx::query(update).bind(relay).bind(LEASE_SECONDS).fetch_optional(db.system()).await?;
    Ok(row.map(|row| Leadership { mark: row.get("mark"), batch: row.get("batch") }))
}

/// Releases the leadership, so that another relay need not wait for the lease to expire.
///
/// # Errors
/// Those of the database.
pub async fn release(db: &Db, relay: Uuid) -> Result<()> {
    let update = db.sql("update {schema}.relay set held_until = '-infinity' where holder = $1");
    sqlx::query(update).bind(relay).execute(db.system()).await?;
    Ok(())
}

/// Marks the batches after `batch` as unpublished, some events at a time. Returns their number; 0 means that all are
/// done, and that `batch` is the last published one.
///
/// # Errors
/// Those of the database.
pub async fn unpublish(db: &Db, batch: i64) -> Result<u64> {
    let update = db.sql(
        "update {schema}.outbox set published_at = null, batch = null
         where position in (select position from {schema}.outbox where batch > $1 limit $2)",
    );
    let events = sqlx::query(update).bind(batch).bind(UNPUBLISH_BATCH).execute(db.system()).await?.rows_affected();
    if events == 0 {
        let update = db.sql("update {schema}.relay set batch = $1");
        sqlx::query(update).bind(batch).execute(db.system()).await?;
    }
    Ok(events)
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

/// Marks events as published in this batch.
///
/// # Errors
/// Those of the database.
pub async fn published(db: &Db, positions: &[i64], batch: i64) -> Result<()> {
    let update = db.sql(
        "with published as (update {schema}.outbox set published_at = now(), batch = $2 where position = any($1))
         update {schema}.relay set batch = greatest(batch, $2)",
    );
    sqlx::query(update).bind(positions).bind(batch).execute(db.system()).await?;
    Ok(())
}

/// The number of unpublished events, and the age of the oldest in seconds, for the lag metrics.
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
