//! The events that the service publishes. They belong to no account.

use baton_proto::baton::auth::v1::UserEvent;
use baton_store::Event;
use uuid::Uuid;

/// A person registered; the address is not confirmed yet.
pub(crate) fn user_registered(user_id: Uuid) -> Event {
    user("user.registered", user_id, None)
}

/// A person confirmed their address.
pub(crate) fn user_verified(user_id: Uuid) -> Event {
    user("user.verified", user_id, None)
}

/// A person signed in.
pub(crate) fn session_opened(user_id: Uuid, session_id: Uuid) -> Event {
    user("session.opened", user_id, Some(session_id))
}

/// A session ended before its time.
pub(crate) fn session_closed(user_id: Uuid, session_id: Uuid) -> Event {
    user("session.closed", user_id, Some(session_id))
}

fn user(kind: &'static str, user_id: Uuid, session_id: Option<Uuid>) -> Event {
    let session_id = session_id.map(|id| id.to_string()).unwrap_or_default();
    Event::new(kind, Uuid::nil(), user_id, &UserEvent { user_id: user_id.to_string(), session_id })
}
