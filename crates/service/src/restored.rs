//! A database that was restored from a backup does not know the erasures since: its service is not ready until they were
//! repeated.

use std::time::Duration;

use baton_errors::Result;
use baton_ledger::Ledger;
use baton_store::{Db, restrictions::unknown_ledger_entries};

/// How often to look again whether the database knows the whole ledger.
const INTERVAL: Duration = Duration::from_secs(2);

/// Completes once the database knows every erasure of the ledger. Without the ledger nobody can tell, so it waits for that as
/// well.
pub(crate) async fn knows_ledger(db: Db, ledger: Ledger) {
    loop {
        match unknown(&db, &ledger).await {
            Ok(0) => return,
            Ok(unknown) => tracing::error!(
                service = db.schema(),
                unknown,
                "the database is older than the ledger of erasures: run `baton privacy replay`"
            ),
            Err(error) => tracing::warn!(%error, "cannot compare the database with the ledger of erasures"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn unknown(db: &Db, ledger: &Ledger) -> Result<usize> {
    let entries = ledger.erasures().await?;
    Ok(unknown_ledger_entries(db, &entries).await?.len())
}
