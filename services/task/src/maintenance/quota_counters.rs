//! Counters of open tasks: folds pending changes into them, and recounts them.

use std::{collections::BTreeMap, time::Duration};

use baton_errors::{Error, Result};
use baton_runtime::Shutdown;
use baton_store::{Db, Tenant, Tx};
use uuid::Uuid;

use crate::{events::publish, store};

pub use crate::store::quota_counters::Counted;

/// Pause between two runs, and therefore the delay of published figures.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// Folds first the unlocked counters of all accounts, then the locked ones one by one, so that no counter waits for the
/// lock of another. A failure does not stop the rest.
///
/// # Errors
/// Those of the database.
pub(crate) async fn fold_all(db: Db, shutdown: Shutdown) -> Result<()> {
    let db = &db;
    let (mut last, mut locked) = ((Uuid::nil(), Uuid::nil()), Vec::new());
    loop {
        let changed = store::quota_counters::list_changed(db, last).await?;
        let Some(&end) = changed.last() else { break };
        for of_account in changed.chunk_by(|(one, _), (other, _)| one == other) {
            if shutdown.stop().is_cancelled() {
                return Ok(());
            }
            let account = Tenant::account(of_account[0].0);
            let users: Vec<Uuid> = of_account.iter().map(|&(_, user_id)| user_id).collect();
            match fold_unlocked(db, account, &users).await {
                Ok(left) => locked.extend(left.into_iter().map(|user_id| (account, user_id))),
                Err(error) => log_failure(&error, account),
            }
        }
        last = end;
    }
    for (account, user_id) in locked {
        if shutdown.stop().is_cancelled() {
            return Ok(());
        }
        if let Err(error) = fold_waiting(db, account, user_id).await {
            log_failure(&error, account);
        }
    }
    Ok(())
}

fn log_failure(error: &Error, account: Tenant) {
    let account_id = account.account_id;
    tracing::warn!(%error, account.id = %account_id, "cannot fold the counters of open tasks; they are retried");
}

/// Folds unlocked counters and returns the members whose counters are locked.
async fn fold_unlocked(db: &Db, account: Tenant, users: &[Uuid]) -> Result<Vec<Uuid>> {
    let mut tx = db.begin(account).await?;
    if !store::quota_counters::try_lock_folding(&mut tx).await? {
        // Another instance is folding.
        return Ok(Vec::new());
    }
    let counters = store::quota_counters::fold(&mut tx, users).await?;
    let locked = counters.iter().filter(|(_, used)| used.is_none()).map(|(&user_id, _)| user_id).collect();
    publish(&mut tx, known_counters(counters)).await?;
    tx.commit().await?;
    Ok(locked)
}

async fn fold_waiting(db: &Db, account: Tenant, user_id: Uuid) -> Result<()> {
    let mut tx = db.begin(account).await?;
    store::quota_counters::set_short_lock_timeout(&mut tx).await?;
    store::quota_counters::lock(&mut tx, &[user_id]).await?;
    let counter = store::quota_counters::fold(&mut tx, &[user_id]).await?;
    publish(&mut tx, known_counters(counter)).await?;
    tx.commit().await
}

fn known_counters(counters: BTreeMap<Uuid, Option<i32>>) -> BTreeMap<Uuid, i32> {
    counters.into_iter().filter_map(|(user_id, used)| Some((user_id, used?))).collect()
}

/// Publishes the usage. The counters are locked, so the events of each are in order.
async fn publish(tx: &mut Tx, counters: BTreeMap<Uuid, i32>) -> Result<()> {
    let account_id = tx.tenant().account_id;
    tx.publish_all(counters.into_iter().map(|(user_id, used)| publish::usage_changed(account_id, user_id, used))).await
}

/// Recounts all open tasks and returns the wrong counters. Unless `only_check`, corrects them and publishes the usage
/// of every member, which also corrects consumers. Safe while the service runs and next to another run: each account is
/// locked only while it is corrected.
///
/// # Errors
/// Those of the database.
pub async fn rebuild(db: &Db, only_check: bool) -> Result<Vec<Counted>> {
    let mut wrong = Vec::new();
    let mut last = Uuid::nil();
    loop {
        let accounts = store::quota_counters::accounts(db, last).await?;
        let Some(&end) = accounts.last() else { return Ok(wrong) };
        for account_id in accounts {
            let account = Tenant::account(account_id);
            let counters = if only_check {
                store::quota_counters::recount(&mut db.begin_read(account).await?).await?
            } else {
                correct(db, account).await?
            };
            wrong.extend(counters.into_iter().filter(|counter| counter.counted != counter.actual));
        }
        last = end;
    }
}

/// Inserts the difference as a change, so changes that are counted meanwhile remain counted.
async fn correct(db: &Db, account: Tenant) -> Result<Vec<Counted>> {
    let mut tx = db.begin(account).await?;
    store::quota_counters::lock_folding(&mut tx).await?;
    let counters = store::quota_counters::recount(&mut tx).await?;
    let missing: BTreeMap<Uuid, i32> =
        counters.iter().map(|counter| (counter.user_id, counter.actual - counter.counted)).collect();
    store::quota_counters::record_changes(&mut tx, &missing).await?;
    let users: Vec<Uuid> = missing.into_keys().collect();
    let mut used = store::quota_counters::lock(&mut tx, &users).await?;
    used.extend(known_counters(store::quota_counters::fold(&mut tx, &users).await?));
    publish(&mut tx, used).await?;
    tx.commit().await?;
    Ok(counters)
}
