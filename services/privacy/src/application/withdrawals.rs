//! Withdrawals of consent in the ledger: a restored database must not bring consent back.

use std::time::Duration;

use baton_errors::Result;
use baton_ledger::{Ledger, Withdrawal};
use baton_store::{
    Db, Tenant,
    restrictions::{know_ledger_entries, unknown_ledger_entries},
};
use uuid::Uuid;

use crate::{consent, purpose, store, store::consent::Evidence};

/// How often to look again whether the database knows the withdrawals.
const INTERVAL: Duration = Duration::from_secs(2);
/// Withdrawals are compared from this time before the newest answer on: one is recorded shortly before it is an answer.
const MARGIN: Duration = Duration::from_secs(24 * 3600);

/// The withdrawals of the ledger. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Withdrawals {
    db: Db,
    ledger: Ledger,
}

impl Withdrawals {
    pub(crate) fn new(db: Db, ledger: Ledger) -> Self {
        Self { db, ledger }
    }

    /// Records a withdrawal that is about to be made, under the id of the answer.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn record(&self, id: Uuid, user_id: Uuid, purpose: &str) -> Result<()> {
        let withdrawal = Withdrawal { user_id, purpose: purpose.to_owned(), recorded_at: self.db.clock().now() };
        self.ledger.record_withdrawal(id, &withdrawal).await
    }

    /// Notes that the database knows these entries.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn know(&self, entries: &[Uuid]) -> Result<()> {
        know_ledger_entries(&self.db, entries).await
    }

    /// Completes once the database knows the withdrawals of the ledger: those that it does not know are repeated, since
    /// nobody is ever harmed by that.
    pub(crate) async fn known(self) {
        // Answers that arrive meanwhile do not hide what was lost before them.
        let mut since = None;
        loop {
            match self.replay(&mut since).await {
                Ok(0) => return,
                Ok(repeated) => {
                    tracing::warn!(
                        repeated,
                        "the database was older than the ledger of withdrawals; they were repeated"
                    );
                    return;
                }
                Err(error) => tracing::warn!(%error, "cannot compare the database with the ledger of withdrawals"),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Repeats the withdrawals that the database does not know; returns their number. `since` is from where to compare, once
    /// that is known.
    async fn replay(&self, since: &mut Option<Uuid>) -> Result<usize> {
        let from = match *since {
            Some(from) => from,
            None => *since.insert(before(store::consent::newest(&self.db).await?, MARGIN)),
        };
        let entries = self.ledger.withdrawals_after(from).await?;
        let unknown = unknown_ledger_entries(&self.db, &entries).await?;
        for &entry in &unknown {
            let Withdrawal { user_id, purpose, recorded_at } = self.ledger.withdrawal(entry).await?;
            let last = store::consent::last(&self.db, user_id, &purpose).await?;
            let holds = last.filter(|last| last.given && last.changed_at <= recorded_at);
            if let (Some(last), Some(purpose)) = (holds, purpose::find(&purpose)) {
                let evidence = Evidence {
                    given: false,
                    legal_basis: purpose.legal_basis.name(),
                    method: "withdrawal",
                    version: last.version,
                    notice_hash: &purpose.notice_hash(),
                    sealed: None,
                };
                let answered = consent::answer(Some(last), false, last.version, recorded_at);
                let mut tx = self.db.begin(Tenant::user(user_id)).await?;
                store::consent::lock(&mut tx, user_id).await?;
                store::consent::add(&mut tx, (entry, user_id), purpose.id, &evidence, answered).await?;
                tx.commit().await?;
            }
            self.know(&[entry]).await?;
        }
        Ok(unknown.len())
    }
}

/// The smallest id (UUIDv7) that long before this one.
fn before(id: Uuid, margin: Duration) -> Uuid {
    let milliseconds = (id.as_u128() >> 80).saturating_sub(margin.as_millis());
    Uuid::from_u128(milliseconds << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_before_an_id_are_older() {
        let id = Uuid::now_v7();
        let (day, hour) = (before(id, MARGIN), before(id, Duration::from_secs(3600)));
        assert!(day < hour && hour < id);
        let seconds = |id: Uuid| id.get_timestamp().map_or((id.as_u128() >> 80) as u64 / 1000, |time| time.to_unix().0);
        assert_eq!(seconds(id) - seconds(day), 24 * 3600);
        assert_eq!(before(Uuid::nil(), MARGIN), Uuid::nil());
    }
}
