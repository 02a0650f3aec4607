//! Conversions of delegations.

use baton_proto::{baton::auth::v1 as proto, convert::timestamp};

use crate::delegation::StoredDelegation;

impl From<StoredDelegation> for proto::Delegation {
    fn from(grant: StoredDelegation) -> Self {
        Self {
            id: grant.id.to_string(),
            service: grant.service,
            account_id: grant.bound_account_id.to_string(),
            scopes: grant.scopes,
            purpose: grant.purpose,
            created_at: Some(timestamp(grant.created_at)),
            last_used_at: grant.last_used_at.map(timestamp),
        }
    }
}
