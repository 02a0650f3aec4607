//! The events that the service publishes.

use baton_proto::baton::tenancy::v1::{AccountEvent, MemberEvent};
use baton_store::Event;
use uuid::Uuid;

use crate::member::Member;

/// An account exists.
pub(crate) fn account_created(account_id: Uuid) -> Event {
    Event::new("account.created", account_id, account_id, &AccountEvent { changed_fields: Vec::new() })
}

/// Settings of an account are others now.
pub(crate) fn account_settings_changed(account_id: Uuid, changed_fields: &[&str]) -> Event {
    let changed_fields = changed_fields.iter().map(|&field| field.to_owned()).collect();
    Event::new("account.settings_changed", account_id, account_id, &AccountEvent { changed_fields })
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

/// A member has left, or an invitation has ended. Those who reported to them report to the event's
/// `manager_id` from now on; no event of its own says so.
pub(crate) fn member_removed(member: &Member) -> Event {
    about("member.removed", member)
}

fn about(kind: &'static str, member: &Member) -> Event {
    let or_empty = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let payload = MemberEvent {
        member_id: member.id.to_string(),
        user_id: or_empty(member.user_id),
        role: member.role.to_proto().into(),
        manager_id: or_empty(member.manager_id),
        invited_by: or_empty(member.invited_by),
    };
    Event::new(kind, member.account_id, member.id, &payload)
}
