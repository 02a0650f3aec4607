//! Downgrades accounts to the free tier when a failed payment is not made good within the grace period.

use std::time::Duration;

use baton_errors::Result;
use baton_store::{Db, Tenant};

use crate::{application::entitlement, billing, store};

/// Time between two sweeps. An idle sweep costs one index lookup.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// Downgrades all accounts whose grace period is over. Instances may sweep concurrently: each takes the account's lock.
///
/// # Errors
/// Those of the database.
pub(crate) async fn sweep(db: Db) -> Result<()> {
    let now = db.clock().now();
    for account_id in store::billing::list_lapsed_accounts(&db, now).await? {
        let mut tx = db.begin(Tenant::account(account_id)).await?;
        store::account::lock_hierarchy(&mut tx, account_id).await?;
        let subscriptions = store::billing::list_of_account(&mut tx, account_id).await?;
        let before = entitlement::previous(&mut tx, account_id, &subscriptions, now).await?;
        entitlement::apply(&mut tx, account_id, before, billing::entitlement(&subscriptions, now)).await?;
        tx.commit().await?;
    }
    Ok(())
}
