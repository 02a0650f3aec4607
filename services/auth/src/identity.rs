//! Identities at other providers.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// An identity that is linked to a user.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) id: Uuid,
    pub(crate) provider: String,
    pub(crate) email: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) last_used_at: DateTime<Utc>,
}
