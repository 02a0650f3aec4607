//! A greeting of a member, and how long it is kept.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// Time after which a greeting is deleted.
const GREETING_RETENTION: TimeDelta = TimeDelta::days(30);

/// A greeting of a member who joined an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Greeting {
    pub(crate) id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) created_at: DateTime<Utc>,
}

/// The time before which greetings have expired.
pub(crate) fn expired_before(now: DateTime<Utc>) -> DateTime<Utc> {
    now - GREETING_RETENTION
}
