//! Registrations: users who have not confirmed their address yet.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A registration.
pub(crate) struct Registration {
    /// Id of the future user.
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) password_hash: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) created_at: DateTime<Utc>,
}
