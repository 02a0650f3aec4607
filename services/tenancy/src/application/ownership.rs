//! Transfer of an account's ownership.

use baton_errors::Result;
use baton_store::Tx;

use super::invitations;
use crate::{
    events::publish,
    member::{self, Member},
    store,
};

/// Transfers ownership from one member to another and publishes the changes. Returns the old and the new owner as
/// stored. The caller holds the hierarchy lock.
///
/// # Errors
/// PERMISSION_MISSING when `from` is not an owner.
pub(crate) async fn transfer_ownership(tx: &mut Tx, from: &Member, to: &Member) -> Result<(Member, Member)> {
    let (from_id, to_id) = (from.joined_user_id()?, to.joined_user_id()?);
    let (mut old, mut new) = member::swap_ownership(from, to)?;
    store::member::save(tx, &mut new).await?;
    store::member::save(tx, &mut old).await?;
    invitations::end_unpermitted(tx, from.account_id, from_id, Some(old.role)).await?;
    // The old owner is a super manager now, and cannot manage other super managers.
    let moved = store::member::move_super_managers(tx, from.account_id, from_id, to_id).await?;
    let moved = moved.iter().map(publish::member_updated);
    let changed = [&old, &new].map(publish::member_role_changed);
    tx.publish_all(changed.into_iter().chain(moved)).await?;
    Ok((old, new))
}
