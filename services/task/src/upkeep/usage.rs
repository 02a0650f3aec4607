//! The counters of open tasks, counted anew: for an operator who wants to know that they are right.

use baton_errors::Result;
use baton_store::Db;
use uuid::Uuid;

use crate::{events, store};

pub use crate::store::usage::Counted;

/// Counts all open tasks anew and answers the counters that were wrong. Unless it only checks, it corrects them
/// and publishes what is used, of every member: whoever keeps the figures has the right ones then. Safe while
/// the service runs; each account is held only while it is counted.
///
/// # Errors
/// Those of the database.
pub async fn rebuild(db: &Db, only_check: bool) -> Result<Vec<Counted>> {
    let mut wrong = Vec::new();
    let mut last = Uuid::nil();
    loop {
        let accounts = store::usage::accounts(db, last).await?;
        let Some(&end) = accounts.last() else { return Ok(wrong) };
        for account_id in accounts {
            let (mut tx, counters) = store::usage::recount(db, account_id, !only_check).await?;
            if !only_check {
                let used = |counter: &Counted| events::usage_changed(account_id, counter.user_id, counter.actual);
                tx.publish_all(counters.iter().map(used)).await?;
                tx.commit().await?;
            }
            wrong.extend(counters.into_iter().filter(|counter| counter.counted != counter.actual));
        }
        last = end;
    }
}
