//! Conversion of memberships, as other services see them.

use std::collections::HashSet;

use baton_access::Membership;
use baton_proto::baton::tenancy::v1::{AccountStatus, ResolveMembershipResponse};
use uuid::Uuid;

/// Converts a membership to the contract's message.
pub(crate) fn membership(membership: Membership) -> ResolveMembershipResponse {
    let texts = |ids: &HashSet<Uuid>| ids.iter().map(Uuid::to_string).collect();
    let status = if membership.suspended { AccountStatus::Suspended } else { AccountStatus::Active };
    let settings = membership.settings;
    ResolveMembershipResponse {
        account_id: membership.account_id.to_string(),
        role: membership.role.to_proto().into(),
        may_reassign: membership.may_reassign,
        report_ids: texts(&membership.reports),
        team_ids: texts(&membership.team),
        account_status: status.into(),
        second_factor_required: settings.second_factor_required,
        rejection_enabled: settings.rejection_enabled,
        default_visibility: settings.default_visibility.into(),
        timezone: settings.timezone,
        one_running_timer: settings.one_running_timer,
        limits: Some(membership.limits.into()),
    }
}
