//! What a person is in an account: asked by every service before it lets a call in.

use async_trait::async_trait;
use baton_access::{Caller, Membership, Memberships, Role};
use baton_errors::{Error, Reason, Result};
use baton_store::{Db, Tenant};
use uuid::Uuid;

use crate::{member, store};

/// What a person is in the account, or in the one that they have belonged to longest when none is named.
///
/// # Errors
/// NOT_A_MEMBER, the same for a foreign account and for one that never was.
pub(crate) async fn resolve(db: &Db, user_id: Uuid, account_id: Option<Uuid>) -> Result<Membership> {
    let mut tx = db.begin(Tenant { account_id: account_id.unwrap_or_default(), user_id }).await?;
    let own = store::member::own(&mut tx, user_id, account_id).await?;
    let own = own.ok_or_else(|| Error::from(Reason::NotAMember))?;
    let account_id = own.account_id;
    if tx.tenant().account_id != account_id {
        tx.switch(Tenant { account_id, user_id }).await?;
    }
    // Who sees the whole account need not know who reports to them.
    let above = (own.role < Role::SuperManager).then_some(user_id);
    let around = store::member::around(&mut tx, account_id, above, own.manager_id).await?;
    Ok(Membership {
        account_id,
        role: own.role,
        may_reassign: member::may_reassign(own.role, own.can_reassign_tasks, own.managers_may_reassign),
        reports: around.reports.into_iter().collect(),
        team: around.team.into_iter().collect(),
    })
}

/// Memberships, read from the service's own tables.
pub(crate) struct LocalMemberships(pub(crate) Db);

#[async_trait]
impl Memberships for LocalMemberships {
    async fn resolve(&self, caller: &Caller, account_id: Option<Uuid>) -> Result<Membership> {
        resolve(&self.0, caller.user_id, account_id).await
    }
}
