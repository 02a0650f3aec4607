//! Limits of an account. Tenancy owns the numbers; they come with the membership.

use baton_errors::{Error, Reason};
use baton_proto::baton::tenancy::v1 as proto;
use uuid::Uuid;

/// Limits of an account; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Members and open invitations.
    pub users: Option<i32>,
    /// Open tasks that one member has created.
    pub open_tasks_per_user: Option<i32>,
    /// Stored attachments, in MiB.
    pub storage_mebibytes: Option<i32>,
    /// Tokens of the AI assistant per calendar month.
    pub ai_tokens_per_month: Option<i32>,
    /// API requests of the whole account per hour.
    pub api_requests_per_hour: Option<i32>,
    /// Rules of the automation service.
    pub automations: Option<i32>,
    /// Executions of rules per hour of the clock (UTC).
    pub automation_executions_per_hour: Option<i32>,
}

impl From<Limits> for proto::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            users: limits.users,
            open_tasks_per_user: limits.open_tasks_per_user,
            storage_mebibytes: limits.storage_mebibytes,
            ai_tokens_per_month: limits.ai_tokens_per_month,
            api_requests_per_hour: limits.api_requests_per_hour,
            automations: limits.automations,
            automation_executions_per_hour: limits.automation_executions_per_hour,
        }
    }
}

impl From<proto::Limits> for Limits {
    fn from(limits: proto::Limits) -> Self {
        Self {
            users: limits.users,
            open_tasks_per_user: limits.open_tasks_per_user,
            storage_mebibytes: limits.storage_mebibytes,
            ai_tokens_per_month: limits.ai_tokens_per_month,
            api_requests_per_hour: limits.api_requests_per_hour,
            automations: limits.automations,
            automation_executions_per_hour: limits.automation_executions_per_hour,
        }
    }
}

/// QUOTA_EXCEEDED, with the numbers.
pub fn exceeded(quota: &'static str, limit: i32, used: i64) -> Error {
    Error::from(Reason::QuotaExceeded)
        .with("quota", quota)
        .with("limit", limit.to_string())
        .with("used", used.to_string())
}

/// The Redis key of the counter of an account's requests in the current hour.
pub fn requests_key(account_id: Uuid) -> String {
    format!("baton:requests:account:{account_id}")
}
