//! Deleting what has been kept long enough.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Shutdown;

use crate::Db;

const EVERY: Duration = Duration::from_secs(600);

/// Sweeps the platform tables until the process stops: published events after three days, handled ones
/// after seven (longer than any can be published again), idempotency keys after one.
pub async fn run(db: Db, shutdown: Shutdown) {
    loop {
        if let Err(error) = sweep(&db).await {
            tracing::warn!(%error, "cannot sweep");
        }
        tokio::select! {
            () = shutdown.stop().cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn sweep(db: &Db) -> Result<()> {
    for delete in [
        "delete from {schema}.outbox where published_at is not null and created_at < now() - interval '3 days'",
        "delete from {schema}.inbox where handled_at < now() - interval '7 days'",
        "delete from {schema}.idempotency_keys where created_at < now() - interval '1 day'",
    ] {
        sqlx::query(db.sql(delete)).execute(db.system()).await?;
    }
    Ok(())
}
