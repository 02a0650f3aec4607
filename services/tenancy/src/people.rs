//! What becomes of memberships when a person deactivates their sign-in or changes their address.
//!
//! Auth knows of no accounts, and lets everyone go at once. For whoever deactivates it is as if they had left every
//! account, with one difference: nobody can keep the last owner of an account from going. Then the account passes
//! to the super manager who has belonged to it longest. Where there is none, nobody could be made its owner who was
//! trusted with less before, so the account is given up: its grace is as long as the person may change their mind
//! about their sign-in, they keep the membership, and can call the deletion off when they are back.

use baton_access::Role;
use baton_errors::{Error, Result};
use baton_proto::baton::events::v1::Envelope;
use baton_store::{Db, Tenant, Tx, jobs::Job};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    events,
    member::{self, Member},
    store,
    users::Users,
};

/// A person deactivated their sign-in.
pub(crate) const DEACTIVATED: &str = "user.deactivated";
/// A person has another address.
pub(crate) const EMAIL_CHANGED: &str = "user.email_changed";
/// Job: bring a person's address in their memberships up to date.
pub(crate) const REFRESH_EMAIL: &str = "member.email";

/// Whose address it is.
#[derive(Debug, Serialize, Deserialize)]
struct Whose {
    user_id: Uuid,
}

/// Ends the memberships of a person who is gone.
///
/// # Errors
/// Those of the database; INTERNAL for an event that is none.
pub(crate) async fn deactivated(tx: &mut Tx, event: &Envelope) -> Result<()> {
    let user_id = person(event)?;
    tx.switch(Tenant::user(user_id)).await?;
    for account_id in store::member::accounts_of(tx, user_id).await? {
        tx.switch(Tenant { account_id, user_id }).await?;
        leave(tx, account_id, user_id).await?;
    }
    Ok(())
}

/// Has the person's address looked up once the event is handled: no transaction waits for another service.
///
/// # Errors
/// Those of the database; INTERNAL for an event that is none.
pub(crate) async fn email_changed(tx: &mut Tx, event: &Envelope) -> Result<()> {
    tx.enqueue(REFRESH_EMAIL, &Whose { user_id: person(event)? }).await
}

/// Brings a person's address in their memberships up to date. An invitation that waits for the new address in an
/// account that they belong to already has nobody left to wait for.
///
/// # Errors
/// When auth is away, or a member's address that is out of date itself stands in the way: the job comes again.
pub(crate) async fn refresh_email(db: &Db, users: &Users, job: &Job) -> anyhow::Result<()> {
    let Whose { user_id } = job.payload()?;
    let Some(contact) = users.contact(user_id).await? else { return Ok(()) };
    let mut tx = db.begin(Tenant::user(user_id)).await?;
    for account_id in store::member::accounts_of(&mut tx, user_id).await? {
        tx.switch(Tenant { account_id, user_id }).await?;
        store::account::lock_hierarchy(&mut tx, account_id).await?;
        let now = db.clock().now();
        let ended =
            store::invitation::end_old(&mut tx, account_id, std::slice::from_ref(&contact.email), now, now).await?;
        let changed = store::member::set_email(&mut tx, account_id, user_id, &contact.email).await?;
        let ended = ended.iter().map(events::member_invitation_ended);
        tx.publish_all(ended.chain(changed.iter().map(events::member_updated))).await?;
    }
    tx.commit().await?;
    Ok(())
}

fn person(event: &Envelope) -> Result<Uuid> {
    event.subject_id.parse().map_err(Error::internal)
}

async fn leave(tx: &mut Tx, account_id: Uuid, user_id: Uuid) -> Result<()> {
    let Some(mut account) = store::account::lock(tx, account_id).await? else { return Ok(()) };
    let Some(leaving) = store::member::active(tx, account_id, &[user_id]).await?.pop() else { return Ok(()) };
    if let Some(heir) = heir(tx, &leaving, user_id).await? {
        return end(tx, &leaving, user_id, heir).await;
    }
    let Some(successor) = store::member::oldest_super_manager(tx, account_id).await? else {
        let before = account.clone();
        account.give_up(tx.db().clock().now());
        let changed = account.changes_since(&before);
        if !changed.is_empty() {
            account.updated_at = tx.db().clock().now();
            store::account::save(tx, &mut account).await?;
            tx.publish(events::account_deletion_requested(account_id, &changed)).await?;
        }
        return Ok(());
    };
    let (old, _) = succeed(tx, &leaving, &successor).await?;
    let heir = successor.user_id.ok_or_else(|| Error::internal("an active member is nobody"))?;
    end(tx, &old, user_id, heir).await
}

/// Who has the open tasks of one who leaves, if they do not say: their manager, or else the owner who has been one
/// longest. `None` for the last owner.
///
/// # Errors
/// Those of the database.
pub(crate) async fn heir(tx: &mut Tx, leaving: &Member, user_id: Uuid) -> Result<Option<Uuid>> {
    match leaving.manager_id {
        Some(manager_id) => Ok(Some(manager_id)),
        None => store::member::oldest_other_owner(tx, leaving.account_id, user_id).await,
    }
}

/// Ends a membership; `heir` has the open tasks from now on. The caller holds the lock of the hierarchy.
///
/// # Errors
/// Those of the database.
pub(crate) async fn end(tx: &mut Tx, leaving: &Member, user_id: Uuid, heir: Uuid) -> Result<()> {
    let mut removed = leaving.removed(tx.db().clock().now());
    store::member::save(tx, &mut removed).await?;
    end_invitations(tx, leaving.account_id, user_id, None).await?;
    store::member::move_reports(tx, leaving.account_id, user_id, removed.manager_id).await?;
    tx.publish(events::member_removed(&removed, heir)).await
}

/// Ends the open invitations that a person may not make any more, now that their role is `role`; `None` when they are
/// no member. The caller holds the lock of the hierarchy, under which invitations are accepted, so that none slips
/// through.
///
/// # Errors
/// Those of the database.
pub(crate) async fn end_invitations(tx: &mut Tx, account_id: Uuid, inviter: Uuid, role: Option<Role>) -> Result<()> {
    let still: Vec<Role> = Role::ALL.into_iter().filter(|&of| member::still_may_invite(role, of)).collect();
    let now = tx.db().clock().now();
    let ended = store::invitation::end_of_inviter(tx, account_id, inviter, &still, now).await?;
    tx.publish_all(ended.iter().map(events::member_invitation_ended)).await
}

/// Hands an ownership over, and tells of it; answers the old and the new owner as they are now. The caller holds the
/// lock of the hierarchy.
///
/// # Errors
/// PERMISSION_MISSING when `from` owns nothing.
pub(crate) async fn succeed(tx: &mut Tx, from: &Member, to: &Member) -> Result<(Member, Member)> {
    let nobody = || Error::internal("an active member is nobody");
    let (from_id, to_id) = (from.user_id.ok_or_else(nobody)?, to.user_id.ok_or_else(nobody)?);
    let (mut old, mut new) = member::transferred(from, to)?;
    store::member::save(tx, &mut new).await?;
    store::member::save(tx, &mut old).await?;
    end_invitations(tx, from.account_id, from_id, Some(old.role)).await?;
    // Super managers cannot report to one of their own.
    let moved = store::member::move_super_managers(tx, from.account_id, from_id, to_id).await?;
    let moved = moved.iter().map(events::member_updated);
    let changed = [&old, &new].map(events::member_role_changed);
    tx.publish_all(changed.into_iter().chain(moved)).await?;
    Ok((old, new))
}
