//! Accounts whose payment failed and was not made good in time become free.

use std::time::Duration;

use baton_errors::Result;
use baton_runtime::Shutdown;
use baton_store::{Db, Tenant, Tx};
use chrono::TimeDelta;
use uuid::Uuid;

use crate::{
    billing::{self, Subscription},
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
        store::billing::settle(&mut tx, account_id, now).await?;
        decide(&mut tx, account_id, &subscriptions).await?;
        tx.commit().await?;
    }
    if forget {
        store::billing::forget(db, now - KEPT).await?;
    }
    Ok(())
}

/// Gives an account the tier that its subscriptions buy now. What it has stays, also if that is more than the tier
/// allows; it can only not grow.
///
/// # Errors
/// Those of the database.
pub(crate) async fn decide(tx: &mut Tx, account_id: Uuid, subscriptions: &[Subscription]) -> Result<()> {
    let now = tx.db().clock().now();
    let Some(decisive) = billing::decisive(subscriptions, now) else { return Ok(()) };
    let ends_at = decisive.current_period_end.filter(|_| decisive.cancel_at_period_end);
    let tier = decisive.buys(now);
    if store::billing::set_tier(tx, account_id, tier, decisive.trial_ends_at, ends_at, now).await? {
        tx.publish(events::account_tier_changed(account_id)).await?;
    }
    Ok(())
}
