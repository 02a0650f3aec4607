//! Ends invitations whose inviter has lost the right to make them.

use baton_access::Role;
use baton_errors::Result;
use baton_store::Tx;
use uuid::Uuid;

use crate::{events::publish, member, store};

/// Ends the open invitations that `inviter` may no longer make with their current `role`; `None` for no active member.
/// The caller holds the hierarchy lock. Accepting takes the same lock, so no invitation is missed.
///
/// # Errors
/// Those of the database.
pub(crate) async fn end_unpermitted(tx: &mut Tx, account_id: Uuid, inviter: Uuid, role: Option<Role>) -> Result<()> {
    let grantable: Vec<Role> = Role::ALL.into_iter().filter(|&of| member::can_still_invite(role, of)).collect();
    let now = tx.db().clock().now();
    let ended = store::invitation::end_by_inviter(tx, account_id, inviter, &grantable, now).await?;
    tx.publish_all(ended.iter().map(publish::member_invitation_ended)).await
}
