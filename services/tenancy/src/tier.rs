//! What accounts may use: a table of tiers, and its columns, the quotas.

use std::fmt;

use baton_access::Limits;
use baton_errors::Result;
use baton_proto::baton::tenancy::v1 as proto;
use chrono::{DateTime, Datelike, Utc};

use crate::account::SubscriptionTier;

/// Something that a tier limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quota {
    Users,
    OpenTasksPerUser,
    StorageMebibytes,
    AiTokensPerMonth,
    ApiRequestsPerHour,
}

impl Quota {
    pub(crate) const ALL: [Self; 5] =
        [Self::Users, Self::OpenTasksPerUser, Self::StorageMebibytes, Self::AiTokensPerMonth, Self::ApiRequestsPerHour];

    /// As it is stored, and as errors name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::OpenTasksPerUser => "open_tasks_per_user",
            Self::StorageMebibytes => "storage_mebibytes",
            Self::AiTokensPerMonth => "ai_tokens_per_month",
            Self::ApiRequestsPerHour => "api_requests_per_hour",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quota| quota.name() == name)
    }

    pub(crate) fn to_proto(self) -> proto::Quota {
        match self {
            Self::Users => proto::Quota::Users,
            Self::OpenTasksPerUser => proto::Quota::OpenTasksPerUser,
            Self::StorageMebibytes => proto::Quota::StorageMebibytes,
            Self::AiTokensPerMonth => proto::Quota::AiTokensPerMonth,
            Self::ApiRequestsPerHour => proto::Quota::ApiRequestsPerHour,
        }
    }

    pub(crate) fn from_proto(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|quota| quota.to_proto() as i32 == number)
    }

    /// Whether another service counts it, and says so by `usage.changed`.
    pub(crate) fn is_reported(self) -> bool {
        matches!(self, Self::OpenTasksPerUser | Self::StorageMebibytes | Self::AiTokensPerMonth)
    }

    /// What is used of it now, if this much was at `changed_at`: a month's use ends with the month.
    pub(crate) fn current(self, used: i32, changed_at: DateTime<Utc>, now: DateTime<Utc>) -> i32 {
        let month = |time: DateTime<Utc>| (time.year(), time.month());
        if self == Self::AiTokensPerMonth && month(changed_at) != month(now) { 0 } else { used }
    }

    /// Its limit.
    pub(crate) fn of(self, limits: &Limits) -> Option<i32> {
        match self {
            Self::Users => limits.users,
            Self::OpenTasksPerUser => limits.open_tasks_per_user,
            Self::StorageMebibytes => limits.storage_mebibytes,
            Self::AiTokensPerMonth => limits.ai_tokens_per_month,
            Self::ApiRequestsPerHour => limits.api_requests_per_hour,
        }
    }

    fn of_mut(self, limits: &mut Limits) -> &mut Option<i32> {
        match self {
            Self::Users => &mut limits.users,
            Self::OpenTasksPerUser => &mut limits.open_tasks_per_user,
            Self::StorageMebibytes => &mut limits.storage_mebibytes,
            Self::AiTokensPerMonth => &mut limits.ai_tokens_per_month,
            Self::ApiRequestsPerHour => &mut limits.api_requests_per_hour,
        }
    }
}

/// The limits of every tier: free, pro, enterprise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiers([Limits; 3]);

impl Default for Tiers {
    /// The enterprise plan's table.
    fn default() -> Self {
        let of = |[users, tasks, storage, tokens, requests]: [Option<i32>; 5]| Limits {
            users,
            open_tasks_per_user: tasks,
            storage_mebibytes: storage,
            ai_tokens_per_month: tokens,
            api_requests_per_hour: requests,
        };
        Self([
            of([Some(5), Some(100), Some(1024), Some(100_000), Some(100)]),
            of([Some(50), Some(1000), Some(102_400), Some(2_000_000), Some(1000)]),
            of([None, None, None, None, Some(10_000)]),
        ])
    }
}

impl Tiers {
    /// The table with some cells changed: `free.users=10`, `pro.storage_mebibytes=unlimited`.
    ///
    /// # Errors
    /// Which of them is none.
    pub(crate) fn with(changes: &[String]) -> anyhow::Result<Self> {
        let mut tiers = Self::default();
        for change in changes {
            tiers.change(change).ok_or_else(|| {
                anyhow::anyhow!(
                    "BATON_TENANCY_TIER_LIMITS: {change:?} is not like free.users=10 or pro.users=unlimited"
                )
            })?;
        }
        Ok(tiers)
    }

    fn change(&mut self, change: &str) -> Option<()> {
        let (cell, value) = change.split_once('=')?;
        let (tier, quota) = cell.trim().split_once('.')?;
        let (tier, quota) = (SubscriptionTier::from_name(tier)?, Quota::from_name(quota)?);
        let value = match value.trim() {
            "unlimited" => None,
            number => Some(number.parse().ok().filter(|&number: &i32| number >= 0)?),
        };
        *quota.of_mut(&mut self.0[tier as usize]) = value;
        Some(())
    }

    /// What an account may use.
    pub(crate) fn limits(&self, plan: &Plan) -> Limits {
        let mut limits = self.0[plan.tier as usize];
        for quota in Quota::ALL {
            if let Some(own) = quota.of(&plan.overrides) {
                *quota.of_mut(&mut limits) = Some(own);
            }
        }
        limits
    }
}

/// What an account pays for, and what was agreed with it beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) tier: SubscriptionTier,
    /// `None` is as the tier says.
    pub(crate) overrides: Limits,
}

/// How much of a limit is used, in whole percent. Nothing to have is all used up.
pub(crate) fn percent(used: i64, limit: i32) -> i32 {
    if limit == 0 {
        return 100;
    }
    i32::try_from(used.saturating_mul(100) / i64::from(limit)).unwrap_or(i32::MAX)
}

/// Refuses one more of what is used up.
///
/// # Errors
/// QUOTA_EXCEEDED.
pub(crate) fn room_for(quota: Quota, limit: Option<i32>, used: i64, more: i64) -> Result<()> {
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
    fn the_table_is_the_plans() {
        use SubscriptionTier::{Enterprise, Free, Pro};
        let tiers = Tiers::default();
        for (quota, expected) in [
            (Quota::Users, [Some(5), Some(50), None]),
            (Quota::OpenTasksPerUser, [Some(100), Some(1000), None]),
            (Quota::ApiRequestsPerHour, [Some(100), Some(1000), Some(10_000)]),
        ] {
            assert_eq!([Free, Pro, Enterprise].map(|tier| quota.of(&tiers.limits(&plan(tier)))), expected, "{quota}");
        }
    }

    #[test]
    fn cells_are_changed_by_name_and_nonsense_keeps_the_service_from_starting() {
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
    fn what_was_agreed_with_one_account_wins() {
        let overrides = Limits { users: Some(0), ..Limits::default() };
        let limits = Tiers::default().limits(&Plan { tier: SubscriptionTier::Enterprise, overrides });
        assert_eq!((limits.users, limits.open_tasks_per_user), (Some(0), None));
    }

    #[test]
    fn the_last_place_can_be_taken_and_no_more() {
        assert!(room_for(Quota::Users, Some(5), 4, 1).is_ok());
        assert!(room_for(Quota::Users, None, i64::MAX - 1, 1).is_ok());
        for (used, more) in [(5, 1), (4, 2), (9, 1)] {
            assert_eq!(room_for(Quota::Users, Some(5), used, more).unwrap_err().reason(), Reason::QuotaExceeded);
        }
    }

    #[test]
    fn percents_are_rounded_down() {
        assert_eq!((percent(799, 1000), percent(800, 1000), percent(7, 5), percent(0, 0)), (79, 80, 140, 100));
    }

    #[test]
    fn tokens_of_another_month_are_gone() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(40);
        let before = DateTime::UNIX_EPOCH + TimeDelta::days(30);
        assert_eq!(Quota::AiTokensPerMonth.current(9, before, now), 0);
        assert_eq!(Quota::AiTokensPerMonth.current(9, now, now), 9);
        assert_eq!(Quota::StorageMebibytes.current(9, before, now), 9);
    }
}
