//! Offboarding: ends memberships, chooses who gets the open tasks, and ends the leaver's invitations.
//!
//! A user who deactivates their sign-in leaves every account. Auth knows no accounts and never refuses, so the last
//! owner of an account can leave this way. Ownership then passes to the super manager with the longest membership.
//! If there is no super manager to promote, the account is scheduled for deletion after the 30-day grace period. The
//! user stays its owner meanwhile, and can cancel the deletion after reactivating their sign-in.

use baton_access::Role;
use baton_errors::{Error, Result};
use baton_proto::baton::events::v1::Envelope;
use baton_store::{Tenant, Tx};
use uuid::Uuid;

use crate::{
    events,
    member::{self, Member},
    ownership::transfer_ownership,
    store,
};

/// Ends all memberships of the event's user.
///
/// # Errors
/// Those of the database; INTERNAL when the event has no user id.
pub(crate) async fn leave_all_accounts(tx: &mut Tx, event: &Envelope) -> Result<()> {
    let user_id = parse_user_id(event)?;
    tx.switch(Tenant::user(user_id)).await?;
    for account_id in store::member::list_account_ids(tx, user_id).await? {
        tx.switch(Tenant { account_id, user_id }).await?;
        leave_account(tx, account_id, user_id).await?;
    }
    Ok(())
}

/// The user id that is the subject of an auth event.
///
/// # Errors
/// INTERNAL when the subject is not a UUID.
pub(crate) fn parse_user_id(event: &Envelope) -> Result<Uuid> {
    event.subject_id.parse().map_err(Error::internal)
}

/// The user id of an active member.
///
/// # Errors
/// INTERNAL when the member has not joined.
pub(crate) fn user_id_of(member: &Member) -> Result<Uuid> {
    member.user_id.ok_or_else(|| Error::internal("an active member has no user id"))
}

async fn leave_account(tx: &mut Tx, account_id: Uuid, user_id: Uuid) -> Result<()> {
    let Some(mut account) = store::account::lock(tx, account_id).await? else { return Ok(()) };
    let Some(leaving) = store::member::list_active(tx, account_id, &[user_id]).await?.pop() else { return Ok(()) };
    if let Some(successor) = find_successor(tx, &leaving, user_id).await? {
        return end_membership(tx, &leaving, user_id, successor).await;
    }
    let Some(new_owner) = store::member::oldest_super_manager(tx, account_id).await? else {
        let before = account.clone();
        account.schedule_deletion(tx.db().clock().now());
        let changed = account.changes_since(&before);
        if !changed.is_empty() {
            account.updated_at = tx.db().clock().now();
            store::account::save(tx, &mut account).await?;
            tx.publish(events::account_deletion_requested(account_id, &changed)).await?;
        }
        return Ok(());
    };
    let (old_owner, _) = transfer_ownership(tx, &leaving, &new_owner).await?;
    let successor = user_id_of(&new_owner)?;
    end_membership(tx, &old_owner, user_id, successor).await
}

/// The default successor for a leaver's open tasks: their manager, or else the other owner with the longest
/// membership. `None` for the last owner.
///
/// # Errors
/// Those of the database.
pub(crate) async fn find_successor(tx: &mut Tx, leaving: &Member, user_id: Uuid) -> Result<Option<Uuid>> {
    match leaving.manager_id {
        Some(manager_id) => Ok(Some(manager_id)),
        None => store::member::oldest_other_owner(tx, leaving.account_id, user_id).await,
    }
}

/// Ends a membership; the task service then assigns the open tasks to `successor`. Reports move to the leaver's
/// manager. The caller holds the hierarchy lock.
///
/// # Errors
/// Those of the database.
pub(crate) async fn end_membership(tx: &mut Tx, leaving: &Member, user_id: Uuid, successor: Uuid) -> Result<()> {
    let mut removed = leaving.removed(tx.db().clock().now());
    store::member::save(tx, &mut removed).await?;
    end_invitations(tx, leaving.account_id, user_id, None).await?;
    store::member::move_reports(tx, leaving.account_id, user_id, removed.manager_id).await?;
    tx.publish(events::member_removed(&removed, successor)).await
}

/// Ends the open invitations that `inviter` may no longer make with their current `role`; `None` for no active member.
/// The caller holds the hierarchy lock. Accepting takes the same lock, so no invitation is missed.
///
/// # Errors
/// Those of the database.
pub(crate) async fn end_invitations(tx: &mut Tx, account_id: Uuid, inviter: Uuid, role: Option<Role>) -> Result<()> {
    let grantable: Vec<Role> = Role::ALL.into_iter().filter(|&of| member::can_still_invite(role, of)).collect();
    let now = tx.db().clock().now();
    let ended = store::invitation::end_by_inviter(tx, account_id, inviter, &grantable, now).await?;
    tx.publish_all(ended.iter().map(events::member_invitation_ended)).await
}
