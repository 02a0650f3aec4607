//! Seats, reports of what is used, and warnings when it runs out.

use baton_access::Limits;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::{events::v1::Envelope, tenancy::v1::UsageChanged};
use baton_store::Tx;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    events,
    member::INVITATION,
    store,
    tier::{Plan, Quota, Tiers, percent, room_for},
};

/// The type of the event by which services report what is used.
pub(crate) const REPORT: &str = "usage.changed";

/// What an account pays for, and may use by that.
///
/// # Errors
/// ACCOUNT_NOT_FOUND.
pub(crate) async fn limits(tx: &mut Tx, tiers: &Tiers, account_id: Uuid) -> Result<(Plan, Limits)> {
    let plan = store::usage::plan(tx, account_id).await?.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
    Ok((plan, tiers.limits(&plan)))
}

/// Counts seats after `more` invitations were stored, and tells the owners if that is news. To be called under
/// the lock of the hierarchy, so that of many who want the last seat one gets it; who is refused rolls back.
///
/// # Errors
/// QUOTA_EXCEEDED.
pub(crate) async fn take_seats(tx: &mut Tx, tiers: &Tiers, account_id: Uuid, more: usize) -> Result<()> {
    if more == 0 {
        return Ok(());
    }
    let (_, limits) = limits(tx, tiers, account_id).await?;
    let now = tx.db().clock().now();
    let taken = store::usage::seats(tx, account_id, now - INVITATION).await?.taken;
    let before = taken - more as i64;
    room_for(Quota::Users, limits.users, before, more as i64)?;
    // Seats that were given back since the last warning make the next one news.
    warn(tx, Quota::Users, Uuid::nil(), before, limits.users, now).await?;
    warn(tx, Quota::Users, Uuid::nil(), taken, limits.users, now).await
}

/// Counts members after one has joined. Their invitation has had its seat, but the account may have fewer now. To
/// be called under the lock of the hierarchy; who is refused rolls back.
///
/// # Errors
/// QUOTA_EXCEEDED.
pub(crate) async fn join(tx: &mut Tx, tiers: &Tiers, account_id: Uuid) -> Result<()> {
    let (_, limits) = limits(tx, tiers, account_id).await?;
    let open_since = tx.db().clock().now() - INVITATION;
    let members = store::usage::seats(tx, account_id, open_since).await?.members;
    room_for(Quota::Users, limits.users, members - 1, 1)
}

/// What another service has counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    /// `None` when a newer version counts something that is not known here.
    pub(crate) quota: Option<Quota>,
    /// Nil for the account as a whole.
    pub(crate) user_id: Uuid,
    used: i32,
}

impl Report {
    /// Reads the event.
    ///
    /// # Errors
    /// INTERNAL for one that is no report.
    pub(crate) fn of(event: &Envelope) -> Result<Self> {
        let payload = event.payload.as_ref().ok_or_else(|| Error::internal("the event has no payload"))?;
        let report: UsageChanged = payload.to_msg().map_err(Error::internal)?;
        let user_id = match report.user_id.as_str() {
            "" => Uuid::nil(),
            id => id.parse().map_err(Error::internal)?,
        };
        let quota = Quota::from_proto(report.quota).filter(|quota| quota.is_reported());
        Ok(Self { quota, user_id, used: report.used.max(0) })
    }
}

/// Takes in what another service has counted.
///
/// # Errors
/// Those of the database.
pub(crate) async fn reported(tx: &mut Tx, tiers: &Tiers, report: &Report) -> Result<()> {
    let Some(quota) = report.quota else { return Ok(()) };
    let Report { user_id, used, .. } = *report;
    let (account_id, now) = (tx.tenant().account_id, tx.db().clock().now());
    if !store::usage::set(tx, quota, user_id, used, now).await? {
        return Ok(());
    }
    let (_, limits) = limits(tx, tiers, account_id).await?;
    warn(tx, quota, user_id, used.into(), quota.of(&limits), now).await
}

async fn warn(
    tx: &mut Tx,
    quota: Quota,
    user_id: Uuid,
    used: i64,
    limit: Option<i32>,
    now: DateTime<Utc>,
) -> Result<()> {
    let percent = limit.map_or(0, |limit| percent(used, limit));
    // Whoever comes from 0 to 100 at once is told of both; one word is enough.
    let Some(reached) = store::usage::cross(tx, quota, user_id, percent, now).await?.into_iter().max() else {
        return Ok(());
    };
    let account_id = tx.tenant().account_id;
    let owners = store::usage::owners(tx, account_id).await?;
    tx.publish(events::usage_warning(account_id, quota, reached, user_id, &owners)).await
}
