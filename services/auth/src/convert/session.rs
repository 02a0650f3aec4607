//! Conversion of sessions.

use baton_proto::{baton::auth::v1 as proto, convert::timestamp};
use uuid::Uuid;

use crate::sessions::Session;

/// A session. `current` is the caller's session.
pub(crate) fn session(session: Session, current: Uuid) -> proto::Session {
    proto::Session {
        id: session.id.to_string(),
        device: session.device,
        address: session.address.unwrap_or_default(),
        current: session.id == current,
        amr: session.amr,
        created_at: Some(timestamp(session.created_at)),
        last_used_at: Some(timestamp(session.last_used_at)),
        expires_at: Some(timestamp(session.expires_at)),
    }
}
