//! Which events may change what a caller may do. Whatever goes on for longer than a call (a stream, a WebSocket) is decided
//! anew after each of them, in every protocol by this one rule.

use std::time::Duration;

use baton_proto::baton::{auth::v1::UserEvent, events::v1::Envelope, tenancy::v1::MemberEvent};
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
    /// What the event may have changed for this caller.
    pub fn of(event: &Envelope, principal: &Principal) -> Option<Self> {
        let kind = event.r#type.as_str();
        if event.account_id.is_empty() {
            let subject: Uuid = event.subject_id.parse().ok()?;
            let closed = (kind == "session.closed").then(|| payload::<UserEvent>(event)).flatten();
            if closed.is_some_and(|closed| closed.session_id.parse() == Ok(principal.caller.session_id)) {
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
        if kind.starts_with("member.") && kind != "member.invited" {
            let of_caller =
                payload::<MemberEvent>(event).is_some_and(|member| member.user_id.parse() == Ok(principal.user_id()));
            return Some(if of_caller { Self::Own } else { Self::Account });
        }
        kind.starts_with("account.").then_some(Self::Account)
    }
}

fn payload<M: prost::Name + Default>(event: &Envelope) -> Option<M> {
    event.payload.as_ref().and_then(|payload| payload.to_msg().ok())
}
