//! Offboarding: ends memberships, chooses who gets the open tasks, and ends the leaver's invitations.
//!
//! A user who deactivates their sign-in leaves every account. Auth knows no accounts and never refuses, so the last
//! owner of an account can leave this way. Ownership then passes to the super manager with the longest membership.
//! If there is no super manager to promote, the account is scheduled for deletion after the 30-day grace period. The
//! user stays its owner meanwhile, and can cancel the deletion after reactivating their sign-in.

use baton_errors::Result;
use baton_store::{ReadTx, Tenant, Tx};
use uuid::Uuid;

use super::{invitations, ownership::transfer_ownership};
use crate::{events::publish, member::Member, store};

/// Ends all memberships of a user.
///
/// # Errors
/// Those of the database.
pub(crate) async fn leave_all_accounts(tx: &mut Tx, user_id: Uuid) -> Result<()> {
    tx.switch(Tenant::user(user_id)).await?;
    for account_id in store::member::list_account_ids(tx, user_id).await? {
        tx.switch(Tenant { account_id, user_id }).await?;
        leave_account(tx, account_id, user_id).await?;
    }
    Ok(())
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
            tx.publish(publish::account_deletion_requested(account_id, &changed)).await?;
        }
        return Ok(());
    };
    let (old_owner, _) = transfer_ownership(tx, &leaving, &new_owner).await?;
    let successor = new_owner.joined_user_id()?;
    end_membership(tx, &old_owner, user_id, successor).await
}

/// The default successor for a leaver's open tasks: their manager, or else the other owner with the longest
/// membership. `None` for the last owner.
///
/// # Errors
/// Those of the database.
pub(crate) async fn find_successor(tx: &mut ReadTx, leaving: &Member, user_id: Uuid) -> Result<Option<Uuid>> {
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
    invitations::end_unpermitted(tx, leaving.account_id, user_id, None).await?;
    store::member::move_reports(tx, leaving.account_id, user_id, removed.manager_id).await?;
    tx.publish(publish::member_removed(&removed, successor)).await
}
