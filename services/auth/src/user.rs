//! Users.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

/// A user, without secrets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) email_verified_at: Option<DateTime<Utc>>,
    pub(crate) password_changed_at: Option<DateTime<Utc>>,
    pub(crate) deactivated_at: Option<DateTime<Utc>>,
    pub(crate) data_retention_date: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) version: i32,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) mobile: String,
    pub(crate) avatar_url: String,
    pub(crate) company: String,
    pub(crate) job_role: String,
    pub(crate) timezone: String,
    pub(crate) language: String,
    pub(crate) preferences: Map<String, Value>,
    pub(crate) consent_version: i32,
    pub(crate) sign_in_count: i32,
    pub(crate) current_sign_in_at: Option<DateTime<Utc>>,
    pub(crate) current_sign_in_address: Option<String>,
    pub(crate) last_sign_in_at: Option<DateTime<Utc>>,
    pub(crate) last_sign_in_address: Option<String>,
}
