//! Conversion of identities at other providers.

use baton_proto::{baton::auth::v1 as proto, convert::timestamp};

use crate::identity::Identity;

impl From<Identity> for proto::Identity {
    fn from(identity: Identity) -> Self {
        Self {
            id: identity.id.to_string(),
            provider: identity.provider,
            email: identity.email,
            created_at: Some(timestamp(identity.created_at)),
            last_used_at: Some(timestamp(identity.last_used_at)),
        }
    }
}
