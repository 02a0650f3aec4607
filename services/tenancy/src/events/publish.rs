//! Events that the service publishes.

use baton_catalog::Payload;
use baton_proto::baton::tenancy::v1::{AccountEvent, DpaEvent, MemberEvent, UsageWarning};
use baton_store::Event;
use uuid::Uuid;

use crate::{convert, member::Member, tier::Quota};

/// An account was created.
pub(crate) fn account_created(account_id: Uuid) -> Event {
    account_event(Payload::AccountCreated, account_id, &[])
}

/// An account's name, slug or branding changed.
pub(crate) fn account_updated(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account_event(Payload::AccountUpdated, account_id, changed_fields)
}

/// An account was suspended.
pub(crate) fn account_suspended(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account_event(Payload::AccountSuspended, account_id, changed_fields)
}

/// An account was reactivated.
pub(crate) fn account_reactivated(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account_event(Payload::AccountReactivated, account_id, changed_fields)
}

/// Deletion of an account was scheduled; the grace period has begun.
pub(crate) fn account_deletion_requested(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account_event(Payload::AccountDeletionRequested, account_id, changed_fields)
}

/// The scheduled deletion of an account was canceled.
pub(crate) fn account_deletion_canceled(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account_event(Payload::AccountDeletionCanceled, account_id, changed_fields)
}

/// An account was deleted together with its memberships, which publish no events of their own.
pub(crate) fn account_deleted(account_id: Uuid) -> Event {
    account_event(Payload::AccountDeleted, account_id, &[])
}

fn account_event(kind: fn(AccountEvent) -> Payload, account_id: Uuid, changed_fields: &[&str]) -> Event {
    let changed_fields = changed_fields.iter().map(|&field| field.to_owned()).collect();
    Event::new(kind(AccountEvent { changed_fields }), account_id, account_id)
}

/// Settings of an account changed.
pub(crate) fn account_settings_changed(account_id: Uuid, changed_fields: &[&str]) -> Event {
    account_event(Payload::AccountSettingsChanged, account_id, changed_fields)
}

/// The account has accepted a data processing agreement.
pub(crate) fn dpa_accepted(account_id: Uuid, version: i32) -> Event {
    Event::new(Payload::DpaAccepted(DpaEvent { version }), account_id, account_id)
}

/// An invitation was sent.
pub(crate) fn member_invited(member: &Member) -> Event {
    member_event(Payload::MemberInvited, member)
}

/// A member joined.
pub(crate) fn member_joined(member: &Member) -> Event {
    member_event(Payload::MemberJoined, member)
}

/// A member's role changed.
pub(crate) fn member_role_changed(member: &Member) -> Event {
    member_event(Payload::MemberRoleChanged, member)
}

/// A member's manager, reassignment permission, handle or address changed.
pub(crate) fn member_updated(member: &Member) -> Event {
    member_event(Payload::MemberUpdated, member)
}

/// An invitation was sent again.
pub(crate) fn member_invitation_resent(member: &Member) -> Event {
    member_event(Payload::MemberInvitationResent, member)
}

/// The e-mail of an invitation is undeliverable; the invitation has ended.
pub(crate) fn member_invitation_undeliverable(member: &Member) -> Event {
    member_event(Payload::MemberInvitationUndeliverable, member)
}

/// An invitation has ended: revoked, expired, or its inviter lost the right to make it.
pub(crate) fn member_invitation_ended(member: &Member) -> Event {
    member_event(Payload::MemberRemoved, member)
}

/// A member left or was removed. The task service assigns the open tasks to `hand_over_to`. Direct reports now report
/// to the event's `manager_id`; they publish no events of their own.
pub(crate) fn member_removed(member: &Member, hand_over_to: Uuid) -> Event {
    let payload = MemberEvent { hand_over_to: hand_over_to.to_string(), ..payload(member) };
    Event::new(Payload::MemberRemoved(payload), member.account_id, member.id)
}

fn member_event(kind: fn(MemberEvent) -> Payload, member: &Member) -> Event {
    Event::new(kind(payload(member)), member.account_id, member.id)
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

/// The subscription tier of an account changed.
pub(crate) fn account_tier_changed(account_id: Uuid) -> Event {
    account_event(Payload::AccountTierChanged, account_id, &["subscription_tier"])
}

/// Usage of a quota crossed a warning threshold. `user_id` is the user whose usage it is; nil for the account.
pub(crate) fn usage_warning(account_id: Uuid, quota: Quota, percent: i32, user_id: Uuid, owners: &[Uuid]) -> Event {
    let payload = UsageWarning {
        quota: convert::quota(quota).into(),
        percent,
        user_id: if user_id.is_nil() { String::new() } else { user_id.to_string() },
        owner_ids: owners.iter().map(Uuid::to_string).collect(),
    };
    Event::new(Payload::AccountUsageWarning(payload), account_id, account_id)
}
