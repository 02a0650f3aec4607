//! The relay's side of the outbox: leadership, and the batches that reached the stream.

use baton_errors::Result;
use sqlx::Row;
use uuid::Uuid;

use crate::Db;

/// How long a relay leads without renewing.
const LEASE_SECONDS: f64 = 15.0;
/// Events taken back at a time; more might run into the statement timeout.
const UNPUBLISH_BATCH: i64 = 10_000;

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

/// What the relay that leads knows of the batches before.
#[derive(Debug, Clone, Copy)]
pub struct Leadership {
    /// Tells this outbox from others; the stream's server holds it beside the batch.
    pub mark: Uuid,
    /// The last batch that reached the stream; 0 when none did.
    pub batch: i64,
}

/// Leads, or goes on leading, the relays of this outbox: only one publishes, so that order is kept.
/// `None` when another leads.
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

/// Gives leadership up, so that another relay need not wait for the lease to end.
///
/// # Errors
/// Those of the database.
pub async fn release(db: &Db, relay: Uuid) -> Result<()> {
    let update = db.sql("update {schema}.relay set held_until = '-infinity' where holder = $1");
    sqlx::query(update).bind(relay).execute(db.system()).await?;
    Ok(())
}

/// Takes back, some at a time, that the batches after `batch` reached the stream; they wait again. Answers
/// how many events it took back: at 0 all are, and `batch` is the last one.
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

/// Notes that events have reached the stream, as this batch.
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
