//! Subscription tiers and their quotas.

use std::fmt;

use baton_access::Limits;
use baton_errors::Result;
use chrono::{DateTime, Datelike, Utc};

use crate::account::SubscriptionTier;

/// A limited resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quota {
    Users,
    OpenTasksPerUser,
    StorageMebibytes,
    AiTokensPerMonth,
    ApiRequestsPerHour,
    Automations,
    AutomationExecutionsPerHour,
}

impl Quota {
    pub(crate) const ALL: [Self; 7] = [
        Self::Users,
        Self::OpenTasksPerUser,
        Self::StorageMebibytes,
        Self::AiTokensPerMonth,
        Self::ApiRequestsPerHour,
        Self::Automations,
        Self::AutomationExecutionsPerHour,
    ];

    /// The name in the database, in errors and in configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::OpenTasksPerUser => "open_tasks_per_user",
            Self::StorageMebibytes => "storage_mebibytes",
            Self::AiTokensPerMonth => "ai_tokens_per_month",
            Self::ApiRequestsPerHour => "api_requests_per_hour",
            Self::Automations => "automations",
            Self::AutomationExecutionsPerHour => "automation_executions_per_hour",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quota| quota.name() == name)
    }

    /// Whether another service counts usage and reports it by `usage.changed`.
    pub(crate) fn is_reported(self) -> bool {
        matches!(self, Self::OpenTasksPerUser | Self::StorageMebibytes | Self::AiTokensPerMonth | Self::Automations)
    }

    /// The usage at `now`, given the usage at `changed_at`. Monthly quotas reset at the start of a month (UTC).
    pub(crate) fn current_usage(self, used: i32, changed_at: DateTime<Utc>, now: DateTime<Utc>) -> i32 {
        let month = |time: DateTime<Utc>| (time.year(), time.month());
        if self == Self::AiTokensPerMonth && month(changed_at) != month(now) { 0 } else { used }
    }

    /// The limit of this quota; `None` is unlimited.
    pub(crate) fn limit(self, limits: &Limits) -> Option<i32> {
        match self {
            Self::Users => limits.users,
            Self::OpenTasksPerUser => limits.open_tasks_per_user,
            Self::StorageMebibytes => limits.storage_mebibytes,
            Self::AiTokensPerMonth => limits.ai_tokens_per_month,
            Self::ApiRequestsPerHour => limits.api_requests_per_hour,
            Self::Automations => limits.automations,
            Self::AutomationExecutionsPerHour => limits.automation_executions_per_hour,
        }
    }

    fn limit_mut(self, limits: &mut Limits) -> &mut Option<i32> {
        match self {
            Self::Users => &mut limits.users,
            Self::OpenTasksPerUser => &mut limits.open_tasks_per_user,
            Self::StorageMebibytes => &mut limits.storage_mebibytes,
            Self::AiTokensPerMonth => &mut limits.ai_tokens_per_month,
            Self::ApiRequestsPerHour => &mut limits.api_requests_per_hour,
            Self::Automations => &mut limits.automations,
            Self::AutomationExecutionsPerHour => &mut limits.automation_executions_per_hour,
        }
    }
}

/// The limits of each tier: free, pro, enterprise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiers([Limits; 3]);

impl Default for Tiers {
    /// The limits without configuration.
    fn default() -> Self {
        let of = |[users, tasks, storage, tokens, requests, automations, executions]: [Option<i32>; 7]| Limits {
            users,
            open_tasks_per_user: tasks,
            storage_mebibytes: storage,
            ai_tokens_per_month: tokens,
            api_requests_per_hour: requests,
            automations,
            automation_executions_per_hour: executions,
        };
        Self([
            of([Some(5), Some(100), Some(1024), Some(100_000), Some(100), Some(50), Some(100)]),
            of([Some(50), Some(1000), Some(102_400), Some(2_000_000), Some(1000), Some(200), Some(2000)]),
            of([None, None, None, None, Some(10_000), Some(1000), Some(20_000)]),
        ])
    }
}

impl Tiers {
    /// The default limits with overrides such as `free.users=10` or `pro.storage_mebibytes=unlimited`.
    ///
    /// # Errors
    /// Names the malformed override.
    pub(crate) fn with(changes: &[String]) -> anyhow::Result<Self> {
        let mut tiers = Self::default();
        for change in changes {
            tiers.override_limit(change).ok_or_else(|| {
                anyhow::anyhow!(
                    "BATON_TENANCY_TIER_LIMITS: {change:?} must have the form free.users=10 or pro.users=unlimited"
                )
            })?;
        }
        Ok(tiers)
    }

    fn override_limit(&mut self, change: &str) -> Option<()> {
        let (cell, value) = change.split_once('=')?;
        let (tier, quota) = cell.trim().split_once('.')?;
        let (tier, quota) = (SubscriptionTier::from_name(tier)?, Quota::from_name(quota)?);
        let value = match value.trim() {
            "unlimited" => None,
            number => Some(number.parse().ok().filter(|&number: &i32| number >= 0)?),
        };
        *quota.limit_mut(&mut self.0[tier as usize]) = value;
        Some(())
    }

    /// The limits of an account: its own overrides, else those of its tier.
    pub(crate) fn limits(&self, plan: &Plan) -> Limits {
        let mut limits = self.0[plan.tier as usize];
        for quota in Quota::ALL {
            if let Some(own) = quota.limit(&plan.overrides) {
                *quota.limit_mut(&mut limits) = Some(own);
            }
        }
        limits
    }
}

/// The tier of an account, with its own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) tier: SubscriptionTier,
    /// Limits of this account; `None` means the tier's.
    pub(crate) overrides: Limits,
}

/// Usage of a limit in whole percent, rounded down. A limit of zero counts as used up.
pub(crate) fn percent_used(used: i64, limit: i32) -> i32 {
    if limit == 0 {
        return 100;
    }
    i32::try_from(used.saturating_mul(100) / i64::from(limit)).unwrap_or(i32::MAX)
}

/// Checks that `more` fits into the limit.
///
/// # Errors
/// QUOTA_EXCEEDED.
pub(crate) fn check_quota(quota: Quota, limit: Option<i32>, used: i64, more: i64) -> Result<()> {
    match limit {
        Some(limit) if used + more > i64::from(limit) => Err(baton_access::limits::exceeded(quota.name(), limit, used)),
        _ => Ok(()),
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use baton_errors::Reason;
    use chrono::TimeDelta;

    use super::*;

    fn plan(tier: SubscriptionTier) -> Plan {
        Plan { tier, overrides: Limits::default() }
    }

    #[test]
    fn default_limits_per_tier() {
        use SubscriptionTier::{Enterprise, Free, Pro};
        let tiers = Tiers::default();
        for (quota, expected) in [
            (Quota::Users, [Some(5), Some(50), None]),
            (Quota::OpenTasksPerUser, [Some(100), Some(1000), None]),
            (Quota::ApiRequestsPerHour, [Some(100), Some(1000), Some(10_000)]),
            (Quota::Automations, [Some(50), Some(200), Some(1000)]),
            (Quota::AutomationExecutionsPerHour, [Some(100), Some(2000), Some(20_000)]),
        ] {
            assert_eq!(
                [Free, Pro, Enterprise].map(|tier| quota.limit(&tiers.limits(&plan(tier)))),
                expected,
                "{quota}"
            );
        }
    }

    #[test]
    fn overrides_change_limits_by_name_and_malformed_ones_are_refused() {
        let with = |changes: &[&str]| Tiers::with(&changes.iter().map(|&c| c.to_owned()).collect::<Vec<_>>());
        let tiers = with(&["free.users=7", "pro.users = unlimited"]).unwrap();
        assert_eq!(tiers.limits(&plan(SubscriptionTier::Free)).users, Some(7));
        assert_eq!(tiers.limits(&plan(SubscriptionTier::Pro)).users, None);
        assert_eq!(tiers.limits(&plan(SubscriptionTier::Free)).open_tasks_per_user, Some(100));
        for nonsense in ["free.users", "gold.users=1", "free.cats=1", "free.users=-1", "free.users=many", "=", ""] {
            assert!(with(&[nonsense]).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn limits_of_the_account_override_the_tier() {
        let overrides = Limits { users: Some(0), ..Limits::default() };
        let limits = Tiers::default().limits(&Plan { tier: SubscriptionTier::Enterprise, overrides });
        assert_eq!((limits.users, limits.open_tasks_per_user), (Some(0), None));
    }

    #[test]
    fn usage_up_to_the_limit_is_accepted_and_no_more() {
        assert!(check_quota(Quota::Users, Some(5), 4, 1).is_ok());
        assert!(check_quota(Quota::Users, None, i64::MAX - 1, 1).is_ok());
        for (used, more) in [(5, 1), (4, 2), (9, 1)] {
            assert_eq!(check_quota(Quota::Users, Some(5), used, more).unwrap_err().reason(), Reason::QuotaExceeded);
        }
    }

    #[test]
    fn percentages_are_rounded_down() {
        assert_eq!(
            (percent_used(799, 1000), percent_used(800, 1000), percent_used(7, 5), percent_used(0, 0)),
            (79, 80, 140, 100)
        );
    }

    #[test]
    fn monthly_usage_resets_with_the_month() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(40);
        let before = DateTime::UNIX_EPOCH + TimeDelta::days(30);
        assert_eq!(Quota::AiTokensPerMonth.current_usage(9, before, now), 0);
        assert_eq!(Quota::AiTokensPerMonth.current_usage(9, now, now), 9);
        assert_eq!(Quota::StorageMebibytes.current_usage(9, before, now), 9);
    }
}
