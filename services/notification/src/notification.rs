//! Notifications.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::notification_type::NotificationType;

/// A notification of one user.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) kind: NotificationType,
    pub(crate) task_id: Option<Uuid>,
    pub(crate) actor_id: Option<Uuid>,
    pub(crate) read_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    /// For a message.
    pub(crate) text: Option<String>,
}
