//! Reported usage of quotas.

use uuid::Uuid;

use crate::tier::Quota;

/// Usage that another service has counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UsageReport {
    /// `None` for a quota that this version does not know.
    pub(crate) quota: Option<Quota>,
    /// Nil for account-wide quotas.
    pub(crate) user_id: Uuid,
    pub(crate) used: i32,
}
