//! The counters of open tasks: what was opened and closed is added to them, and they can be counted anew.

use std::{collections::BTreeMap, time::Duration};

use baton_errors::Result;
use baton_runtime::Shutdown;
use baton_store::{Db, Tenant, Tx};
use uuid::Uuid;

use crate::{events, store};

pub use crate::store::usage::Counted;

/// How often to look, and so about how late the published figures are.
const EVERY: Duration = Duration::from_millis(500);

/// Adds what was opened and closed to the counters, and publishes them, until the process stops. Any number of these
/// may run; of what is not added when they stop, the next one does it.
pub(crate) async fn run(db: Db, shutdown: Shutdown) {
    loop {
        if let Err(error) = fold(&db).await {
            tracing::warn!(%error, "cannot add to the counters of open tasks");
        }
        tokio::select! {
            () = shutdown.stop().cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn fold(db: &Db) -> Result<()> {
    for account_id in store::usage::changed(db).await? {
        let mut tx = db.begin(Tenant::account(account_id)).await?;
        let counters = store::usage::fold(&mut tx).await?;
        publish(&mut tx, counters).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Tells what is used. The counters are locked, so that what is told of each is in its order.
async fn publish(tx: &mut Tx, counters: Vec<(Uuid, i32)>) -> Result<()> {
    let account_id = tx.tenant().account_id;
    tx.publish_all(counters.into_iter().map(|(user_id, used)| events::usage_changed(account_id, user_id, used))).await
}

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
            let tenant = Tenant::account(account_id);
            let mut tx = if only_check { db.begin_read(tenant).await? } else { db.begin(tenant).await? };
            let counters = store::usage::recount(&mut tx).await?;
            if !only_check {
                correct(&mut tx, &counters).await?;
                tx.commit().await?;
            }
            wrong.extend(counters.into_iter().filter(|counter| counter.counted != counter.actual));
        }
        last = end;
    }
}

/// What is missing is counted like any change, so whatever is counted meanwhile stays counted.
async fn correct(tx: &mut Tx, counters: &[Counted]) -> Result<()> {
    let missing: BTreeMap<Uuid, i32> =
        counters.iter().map(|counter| (counter.user_id, counter.actual - counter.counted)).collect();
    store::usage::count(tx, &missing).await?;
    let users: Vec<Uuid> = missing.into_keys().collect();
    store::usage::hold(tx, &users).await?;
    while !store::usage::fold(tx).await?.is_empty() {}
    let counters = store::usage::counters(tx).await?;
    publish(tx, counters).await
}
