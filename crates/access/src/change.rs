//! Which events may change what a caller may do. Whatever goes on for longer than a call (a stream, a WebSocket) is decided
//! anew after each of them, in every protocol by this one rule.

use std::time::Duration;

use baton_catalog::{AccessEffect, EventType, Payload};
use baton_proto::baton::{events::v1::Envelope, tenancy::v1::MemberEvent};
use uuid::Uuid;

use crate::{Credential, Principal, identity_cache::CACHE_TTL};

/// How long after such an event the decision is made: services remember sessions and memberships for [`CACHE_TTL`].
pub const SETTLE_TIME: Duration = CACHE_TTL.saturating_add(Duration::from_millis(100));
/// How often a decision is made without an event, since word of one may be lost.
pub const REAUTHORIZE_INTERVAL: Duration = Duration::from_secs(30);

/// Whose access an event may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessChange {
    /// That of everybody in the account: its status, its settings, or who reports to whom.
    Account,
    /// The caller's own: their membership, a session, or their key.
    Own,
    /// The session that the call belongs to was closed, and never opens again: there is nothing to ask.
    SessionClosed,
}

impl AccessChange {
    /// The change of this caller's access that the event may mean, by the catalogue's [`AccessEffect`]. An event of a type
    /// that this version does not know may mean any change.
    pub fn of(event: &Envelope, principal: &Principal) -> Option<Self> {
        let effect = EventType::of(event).map(EventType::access_effect);
        if event.account_id.is_empty() {
            let subject: Uuid = event.subject_id.parse().ok()?;
            if effect == Some(AccessEffect::Session)
                && let Ok(Some(Payload::SessionClosed(closed))) = Payload::decode(event)
                && closed.session_id.parse() == Ok(principal.caller.session_id)
            {
                return Some(Self::SessionClosed);
            }
            let key = match &principal.caller.credential {
                Credential::ApiKey(key) => Some(key.id),
                Credential::Session => None,
            };
            return (subject == principal.user_id() || Some(subject) == key).then_some(Self::Own);
        }
        if event.account_id.parse() != Ok(principal.account_id()) {
            return None;
        }
        match effect {
            Some(AccessEffect::None | AccessEffect::Task) => None,
            Some(AccessEffect::Member) if is_about(event, principal.user_id()) => Some(Self::Own),
            _ => Some(Self::Account),
        }
    }
}

/// Whether the event is about this user's membership.
fn is_about(event: &Envelope, user_id: Uuid) -> bool {
    let member = event.payload.as_ref().and_then(|payload| payload.to_msg::<MemberEvent>().ok());
    member.is_some_and(|member| member.user_id.parse() == Ok(user_id))
}
