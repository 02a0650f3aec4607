//! Conversions of quotas and usage reports.

use baton_catalog::Payload;
use baton_errors::{Error, Result};
use baton_proto::baton::{events::v1::Envelope, tenancy::v1 as proto};
use uuid::Uuid;

use crate::{tier::Quota, usage::UsageReport};

/// Converts a quota to the contract's enum.
pub(crate) fn quota(quota: Quota) -> proto::Quota {
    match quota {
        Quota::Users => proto::Quota::Users,
        Quota::OpenTasksPerUser => proto::Quota::OpenTasksPerUser,
        Quota::StorageMebibytes => proto::Quota::StorageMebibytes,
        Quota::AiTokensPerMonth => proto::Quota::AiTokensPerMonth,
        Quota::ApiRequestsPerHour => proto::Quota::ApiRequestsPerHour,
        Quota::Automations => proto::Quota::Automations,
        Quota::AutomationExecutionsPerHour => proto::Quota::AutomationExecutionsPerHour,
    }
}

fn parse_quota(number: i32) -> Option<Quota> {
    Quota::ALL.into_iter().find(|&known| quota(known) as i32 == number)
}

/// Parses a `usage.changed` event.
///
/// # Errors
/// INTERNAL when the payload is malformed.
pub(crate) fn usage_report(event: &Envelope) -> Result<UsageReport> {
    let Some(Payload::UsageReported(report)) = Payload::decode(event).map_err(Error::internal)? else {
        return Err(Error::internal("the event is no usage report"));
    };
    let user_id = match report.user_id.as_str() {
        "" => Uuid::nil(),
        id => id.parse().map_err(Error::internal)?,
    };
    let quota = parse_quota(report.quota).filter(|quota| quota.is_reported());
    Ok(UsageReport { quota, user_id, used: report.used.max(0) })
}
