//! Resolves a user's membership. Every service does this before it admits a call.

use async_trait::async_trait;
use baton_access::{Caller, Membership, Memberships, Role, Settings};
use baton_errors::{Error, Reason, Result};
use baton_store::{Db, Tenant};
use uuid::Uuid;

use crate::{account, application::usage, convert, member, store, tier::Tiers};

/// Resolves a user's membership in an account, or in the one that they joined first when `account_id` is `None`.
///
/// # Errors
/// NOT_A_MEMBER, also for an account that does not exist: the two cannot be told apart.
pub(crate) async fn resolve(db: &Db, tiers: &Tiers, user_id: Uuid, account_id: Option<Uuid>) -> Result<Membership> {
    let mut tx = db.begin_read(Tenant { account_id: account_id.unwrap_or_default(), user_id }).await?;
    let own = store::member::get_own(&mut tx, user_id, account_id).await?;
    let own = own.ok_or_else(|| Error::from(Reason::NotAMember))?;
    let account_id = own.account_id;
    if tx.tenant().account_id != account_id {
        tx.switch(Tenant { account_id, user_id }).await?;
    }
    // Roles that see the whole account need no list of reports.
    let reports_of = (own.role < Role::SuperManager).then_some(user_id);
    let lines = store::member::reporting_lines(&mut tx, account_id, reports_of, own.manager_id).await?;
    let (_, limits) = usage::load_limits(&mut tx, tiers, account_id).await?;
    Ok(Membership {
        account_id,
        role: own.role,
        may_reassign: member::can_reassign(own.role, own.can_reassign_tasks, own.managers_may_reassign),
        reports: lines.reports.into_iter().collect(),
        team: lines.team.into_iter().collect(),
        suspended: own.status != account::AccountStatus::Active,
        settings: Settings {
            second_factor_required: own.require_second_factor,
            rejection_enabled: own.rejection_enabled,
            default_visibility: convert::visibility(own.default_visibility),
            timezone: own.timezone,
            one_running_timer: own.one_running_timer,
        },
        limits,
    })
}

/// Resolves memberships from the service's own tables.
pub(crate) struct LocalMemberships(pub(crate) Db, pub(crate) Tiers);

#[async_trait]
impl Memberships for LocalMemberships {
    async fn resolve(&self, caller: &Caller, account_id: Option<Uuid>) -> Result<Membership> {
        resolve(&self.0, &self.1, caller.user_id, account_id).await
    }
}
