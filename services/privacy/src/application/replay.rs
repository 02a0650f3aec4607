//! Repeats what the ledger records and a restored database does not know.

use anyhow::{Context as _, ensure};
use baton_store::subject_data::Subject;

use super::erasure::{Eraser, remaining};

/// Repeats every erasure of the ledger in every service, and tells `report` of each.
pub(crate) async fn run(eraser: &Eraser, report: impl Fn(&str)) -> anyhow::Result<()> {
    let entries = eraser.ledger().erasures().await.context("cannot read the ledger")?;
    report(&format!("{} erasures in the ledger", entries.len()));
    for (n, &entry) in entries.iter().enumerate() {
        let baton_ledger::Erasure { user_id, account_id, .. } = eraser.ledger().erasure(entry).await?;
        let subject = Subject { user_id, account_id };
        // A member may have rejoined since. Databases that know the entry have what came after it; others have what was before.
        let unless_known = account_id.map(|_| entry);
        eraser.erase_everywhere(subject, unless_known).await.with_context(|| format!("erasure {entry}"))?;
        let counts = eraser.count_everywhere(subject, unless_known).await?;
        let left: i64 = counts.iter().flat_map(|(_, counts)| counts).map(remaining).sum();
        ensure!(left == 0, "{left} rows remain of erasure {entry}; run the command again");
        eraser.know(entry, user_id).await?;
        report(&format!("{}/{} {entry}: repeated in every service", n + 1, entries.len()));
    }
    Ok(())
}
