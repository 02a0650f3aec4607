//! The retention of the platform's tables, which every schema has.

use std::time::Duration;

use baton_errors::Result;

use crate::Db;

/// Pause between two sweeps.
pub const INTERVAL: Duration = Duration::from_secs(600);

/// Deletes published events after three days, inbox rows after seven (longer than an event can be published again),
/// dead letters after thirty, which is a month in which an operator may replay them, and idempotency keys after one.
///
/// # Errors
/// Those of the database.
pub async fn sweep(db: Db) -> Result<()> {
    for delete in [
        "delete from {schema}.outbox where published_at is not null and created_at < now() - interval '3 days'",
        "delete from {schema}.inbox where handled_at < now() - interval '7 days'",
        "delete from {schema}.dead_letters where failed_at < now() - interval '30 days'",
        "delete from {schema}.idempotency_keys where created_at < now() - interval '1 day'",
    ] {
        sqlx::query(db.sql(delete)).execute(db.system()).await?;
    }
    Ok(())
}
