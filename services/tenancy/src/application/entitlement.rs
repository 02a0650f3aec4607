//! Applies an account's entitlement, which follows from its subscriptions.

use baton_errors::Result;
use baton_store::Tx;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    billing::{self, Entitlement, Subscription},
    events::publish,
    store,
};

/// The entitlement of an account as of its last evaluation, before any grace period that has ended since. Clears those
/// lapses, so the caller must apply the current entitlement.
///
/// # Errors
/// Those of the database.
pub(crate) async fn previous(
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
pub(crate) async fn apply(tx: &mut Tx, account_id: Uuid, before: Entitlement, after: Entitlement) -> Result<()> {
    let now = tx.db().clock().now();
    if before != after && store::billing::save_entitlement(tx, account_id, after, now).await? {
        tx.publish(publish::account_tier_changed(account_id)).await?;
    }
    Ok(())
}
