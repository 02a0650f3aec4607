//! Counts usage of quotas: seats, reports from other services, and warnings to owners.

use baton_access::Limits;
use baton_errors::{Error, Reason, Result};
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    events::publish,
    member::INVITATION_TTL,
    store,
    tier::{Plan, Quota, Tiers, check_quota, percent_used},
    usage::UsageReport,
};

/// An account's plan and the resulting limits.
///
/// # Errors
/// ACCOUNT_NOT_FOUND.
pub(crate) async fn load_limits(tx: &mut ReadTx, tiers: &Tiers, account_id: Uuid) -> Result<(Plan, Limits)> {
    let plan = store::usage::get_plan(tx, account_id).await?.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
    Ok((plan, tiers.limits(&plan)))
}

/// Checks seats after `more` invitations were stored, and publishes a warning when a threshold is crossed. The caller
/// holds the hierarchy lock, so that concurrent calls cannot take the same seat, and rolls back on error.
///
/// # Errors
/// QUOTA_EXCEEDED.
pub(crate) async fn reserve_seats(tx: &mut Tx, tiers: &Tiers, account_id: Uuid, more: usize) -> Result<()> {
    if more == 0 {
        return Ok(());
    }
    let (_, limits) = load_limits(tx, tiers, account_id).await?;
    let now = tx.db().clock().now();
    let taken = store::usage::count_seats(tx, account_id, now - INVITATION_TTL).await?.taken;
    let before = taken - more as i64;
    check_quota(Quota::Users, limits.users, before, more as i64)?;
    // Evaluates the usage before as well: seats freed since the last warning reset it.
    publish_warning(tx, Quota::Users, Uuid::nil(), before, limits.users, now).await?;
    publish_warning(tx, Quota::Users, Uuid::nil(), taken, limits.users, now).await
}

/// Checks seats after a member was stored. Their invitation held a seat, but the limit may have shrunk since. The
/// caller holds the hierarchy lock, and rolls back on error.
///
/// # Errors
/// QUOTA_EXCEEDED.
pub(crate) async fn check_member_seat(tx: &mut ReadTx, tiers: &Tiers, account_id: Uuid) -> Result<()> {
    let (_, limits) = load_limits(tx, tiers, account_id).await?;
    let open_since = tx.db().clock().now() - INVITATION_TTL;
    let members = store::usage::count_seats(tx, account_id, open_since).await?.members;
    check_quota(Quota::Users, limits.users, members - 1, 1)
}

/// Stores reported usage, and publishes a warning when a threshold is crossed.
///
/// # Errors
/// Those of the database.
pub(crate) async fn record(tx: &mut Tx, tiers: &Tiers, report: &UsageReport) -> Result<()> {
    let Some(quota) = report.quota else { return Ok(()) };
    let UsageReport { user_id, used, .. } = *report;
    let (account_id, now) = (tx.tenant().account_id, tx.db().clock().now());
    if !store::usage::save(tx, quota, user_id, used, now).await? {
        return Ok(());
    }
    let (_, limits) = load_limits(tx, tiers, account_id).await?;
    publish_warning(tx, quota, user_id, used.into(), quota.limit(&limits), now).await
}

/// Publishes a warning to the owners if usage has crossed a threshold.
async fn publish_warning(
    tx: &mut Tx,
    quota: Quota,
    user_id: Uuid,
    used: i64,
    limit: Option<i32>,
    now: DateTime<Utc>,
) -> Result<()> {
    let percent = limit.map_or(0, |limit| percent_used(used, limit));
    // Usage may cross both thresholds at once; only the highest is published.
    let Some(threshold) = store::usage::record_thresholds(tx, quota, user_id, percent, now).await?.into_iter().max()
    else {
        return Ok(());
    };
    let account_id = tx.tenant().account_id;
    let owners = store::usage::list_owners(tx, account_id).await?;
    tx.publish(publish::usage_warning(account_id, quota, threshold, user_id, &owners)).await
}
