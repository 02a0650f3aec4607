//! The events that the service publishes.

use baton_proto::baton::tenancy::v1::{AccountEvent, MemberEvent, UsageWarning};
use baton_store::Event;
use uuid::Uuid;

use crate::{member::Member, tier::Quota};

/// An account exists.
pub(crate) fn account_created(account_id: Uuid) -> Event {
    account("account.created", account_id, &[])
}

/// An account's name, slug, looks or status is another now.
pub(crate) fn account_updated(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account("account.updated", account_id, changed_fields)
}

/// An account is closed for the time being.
pub(crate) fn account_suspended(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account("account.suspended", account_id, changed_fields)
}

/// An account is open again.
pub(crate) fn account_reactivated(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account("account.reactivated", account_id, changed_fields)
}

/// An account was given up; its grace has begun.
pub(crate) fn account_deletion_requested(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account("account.deletion_requested", account_id, changed_fields)
}

/// An account is kept after all.
pub(crate) fn account_deletion_canceled(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account("account.deletion_canceled", account_id, changed_fields)
}

/// An account is gone, and who belonged to it belongs no longer; no events of their own say so.
pub(crate) fn account_deleted(account_id: Uuid) -> Event {
    account("account.deleted", account_id, &[])
}

fn account(kind: &'static str, account_id: Uuid, changed_fields: &[&str]) -> Event {
    let changed_fields = changed_fields.iter().map(|&field| field.to_owned()).collect();
    Event::new(kind, account_id, account_id, &AccountEvent { changed_fields })
}

/// Settings of an account are others now.
pub(crate) fn account_settings_changed(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account("account.settings_changed", account_id, changed_fields)
}

/// Someone was invited.
pub(crate) fn member_invited(member: &Member) -> Event {
    about("member.invited", member)
}

/// Someone is a member from now on.
pub(crate) fn member_joined(member: &Member) -> Event {
    about("member.joined", member)
}

/// A member's role is another now.
pub(crate) fn member_role_changed(member: &Member) -> Event {
    about("member.role_changed", member)
}

/// A member's manager or reassignment right is another now.
pub(crate) fn member_updated(member: &Member) -> Event {
    about("member.updated", member)
}

/// An invitation is mailed again.
pub(crate) fn member_invitation_resent(member: &Member) -> Event {
    about("member.invitation_resent", member)
}

/// The mail of an invitation can never be delivered. The invitation has ended.
pub(crate) fn member_invitation_undeliverable(member: &Member) -> Event {
    about("member.invitation_undeliverable", member)
}

/// An invitation has ended: taken back, or not accepted in time.
pub(crate) fn member_invitation_ended(member: &Member) -> Event {
    about("member.removed", member)
}

/// A member has left; `hand_over_to` has their open tasks from now on. Those who reported to them report to the event's
/// `manager_id` from now on; no event of its own says so.
pub(crate) fn member_removed(member: &Member, hand_over_to: Uuid) -> Event {
    let payload = MemberEvent { hand_over_to: hand_over_to.to_string(), ..payload(member) };
    Event::new("member.removed", member.account_id, member.id, &payload)
}

fn about(kind: &'static str, member: &Member) -> Event {
    Event::new(kind, member.account_id, member.id, &payload(member))
}

fn payload(member: &Member) -> MemberEvent {
    let or_empty = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    MemberEvent {
        member_id: member.id.to_string(),
        user_id: or_empty(member.user_id),
        role: member.role.to_proto().into(),
        manager_id: or_empty(member.manager_id),
        invited_by: or_empty(member.invited_by),
        hand_over_to: String::new(),
    }
}

/// An account pays for another tier now, or for none any more.
pub(crate) fn account_tier_changed(account_id: Uuid) -> Event {
    account("account.tier_changed", account_id, &["subscription_tier"])
}

/// So much of a quota is used that the owners should know. `user_id` is whose use it is, or nil.
pub(crate) fn usage_warning(account_id: Uuid, quota: Quota, percent: i32, user_id: Uuid, owners: &[Uuid]) -> Event {
    let payload = UsageWarning {
        quota: quota.to_proto().into(),
        percent,
        user_id: if user_id.is_nil() { String::new() } else { user_id.to_string() },
        owner_ids: owners.iter().map(Uuid::to_string).collect(),
    };
    Event::new("account.usage_warning", account_id, account_id, &payload)
}
