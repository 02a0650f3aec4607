//! Downgrades accounts to the free tier when a failed payment is not made good within the grace period.

use std::time::Duration;

use baton_errors::Result;
use baton_store::{Db, Tenant, Tx};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    billing::{self, Entitlement, Subscription},
    events, store,
};

/// Time between two sweeps. An idle sweep costs one index lookup.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Time between two deletions of old events.
pub(crate) const EVENT_INTERVAL: Duration = Duration::from_secs(3600);
/// How long the ids of processed events are kept, to detect duplicates. Stripe retries for three days, and resends
/// manually for thirty.
const STRIPE_EVENT_RETENTION: TimeDelta = TimeDelta::days(90);

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
        let before = previous_entitlement(&mut tx, account_id, &subscriptions, now).await?;
        apply_entitlement(&mut tx, account_id, before, billing::entitlement(&subscriptions, now)).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Deletes Stripe events that are older than the retention.
///
/// # Errors
/// Those of the database.
pub(crate) async fn delete_old_events(db: Db) -> Result<()> {
    store::billing::delete_events_before(&db, db.clock().now() - STRIPE_EVENT_RETENTION).await?;
    Ok(())
}

/// The entitlement of an account as of its last evaluation, before any grace period that has ended since. Clears those
/// lapses, so the caller must apply the current entitlement.
///
/// # Errors
/// Those of the database.
pub(crate) async fn previous_entitlement(
    tx: &mut Tx,
    account_id: Uuid,
    subscriptions: &[Subscription],
    now: DateTime<Utc>,
) -> Result<Entitlement> {
    let lapsed_at = store::billing::clear_lapsed(tx, account_id, now).await?;
    let evaluated_at = lapsed_at.map_or(now, |lapsed_at| lapsed_at - TimeDelta::microseconds(1));
    Ok(billing::entitlement(subscriptions, evaluated_at))
}

/// Stores an account's entitlement if it differs from `before`. An unchanged one is not stored, so that a tier that was
/// set by hand stays. Usage beyond a smaller tier's limits stays; it only cannot grow.
///
/// # Errors
/// Those of the database.
pub(crate) async fn apply_entitlement(
    tx: &mut Tx,
    account_id: Uuid,
    before: Entitlement,
    after: Entitlement,
) -> Result<()> {
    let now = tx.db().clock().now();
    if before != after && store::billing::save_entitlement(tx, account_id, after, now).await? {
        tx.publish(events::account_tier_changed(account_id)).await?;
    }
    Ok(())
}
