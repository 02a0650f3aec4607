//! Conversion of API keys.

use baton_proto::{baton::auth::v1 as proto, convert::timestamp};

use crate::api_key::StoredKey;

impl From<StoredKey> for proto::ApiKey {
    fn from(key: StoredKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes,
            account_id: key.bound_account_id.map(|id| id.to_string()),
            created_at: Some(timestamp(key.created_at)),
            expires_at: key.expires_at.map(timestamp),
            last_used_at: key.last_used_at.map(timestamp),
        }
    }
}
