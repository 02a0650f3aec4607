//! Accounts whose payment failed and was not made good in time become free.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Shutdown;
use baton_store::{Db, Tenant, Tx};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    billing::{self, Outcome, Subscription},
    events, store,
};

/// How often to look. The question costs one look at an index.
const EVERY: Duration = Duration::from_secs(5);
/// Looks between two that also forget old events.
const FORGET_EVERY: u32 = 720;
/// How long an event of Stripe's is known by its id. It is sent for three days, and by hand for thirty.
const KEPT: TimeDelta = TimeDelta::days(90);

/// Looks until the process stops. Several may at once: the account's lock decides.
pub(crate) async fn run(db: Db, shutdown: Shutdown) {
    for turn in 0_u32.. {
        if let Err(error) = look(&db, turn.is_multiple_of(FORGET_EVERY)).await {
            tracing::warn!(%error, "cannot look for payments that are overdue");
        }
        tokio::select! {
            () = shutdown.stop().cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn look(db: &Db, forget: bool) -> Result<()> {
    let now = db.clock().now();
    for account_id in store::billing::lapsed(db, now).await? {
        let mut tx = db.begin(Tenant::account(account_id)).await?;
        store::account::lock_hierarchy(&mut tx, account_id).await?;
        let subscriptions = store::billing::of_account(&mut tx, account_id).await?;
        let before = decided(&mut tx, account_id, &subscriptions, now).await?;
        decide(&mut tx, account_id, before, billing::outcome(&subscriptions, now)).await?;
        tx.commit().await?;
    }
    if forget {
        store::billing::forget(db, now - KEPT).await?;
    }
    Ok(())
}

/// What an account's subscriptions came to when that was decided last: what has lapsed since was not seen yet. It is
/// now, so whoever asks decides.
///
/// # Errors
/// Those of the database.
pub(crate) async fn decided(
    tx: &mut Tx,
    account_id: Uuid,
    subscriptions: &[Subscription],
    now: DateTime<Utc>,
) -> Result<Outcome> {
    let lapsed_at = store::billing::settle(tx, account_id, now).await?;
    let seen_at = lapsed_at.map_or(now, |lapsed_at| lapsed_at - TimeDelta::microseconds(1));
    Ok(billing::outcome(subscriptions, seen_at))
}

/// Gives an account the tier that its subscriptions come to, when that is another than before: a tier that was sold
/// by hand is not theirs to take. What the account has stays, also if that is more than the tier allows; it can only
/// not grow.
///
/// # Errors
/// Those of the database.
pub(crate) async fn decide(tx: &mut Tx, account_id: Uuid, before: Outcome, after: Outcome) -> Result<()> {
    let now = tx.db().clock().now();
    if before != after && store::billing::set_outcome(tx, account_id, after, now).await? {
        tx.publish(events::account_tier_changed(account_id)).await?;
    }
    Ok(())
}
