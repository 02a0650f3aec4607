//! What accounts and their members may do, as far as tokens do not say it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use baton_access::Role;
use baton_clients::{ServiceTokens, Tenancy};
use baton_errors::{Reason, Result};
use uuid::Uuid;

/// How long a limit is used before it is asked for again.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Accounts whose limits are kept.
const MAX_KEPT: usize = 10_000;

/// Whether members with this role may let rules call URLs.
pub(crate) fn may_call_urls(role: Role) -> bool {
    role >= Role::SuperManager
}

/// Executions per hour by account, as tenancy said a minute ago at most. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Memberships {
    tenancy: Tenancy,
    tokens: ServiceTokens,
    kept: Arc<Mutex<HashMap<Uuid, (Instant, i32)>>>,
}

impl Memberships {
    pub(crate) fn new(tenancy: Tenancy, tokens: ServiceTokens) -> Self {
        Self { tenancy, tokens, kept: Arc::default() }
    }

    /// Executions of rules that the account may have in an hour.
    ///
    /// # Errors
    /// NOT_A_MEMBER when the member has left, UNAVAILABLE.
    pub(crate) async fn executions_per_hour(&self, account_id: Uuid, member_id: Uuid) -> Result<i32> {
        let kept = self.kept().get(&account_id).copied();
        if let Some((asked_at, limit)) = kept
            && asked_at.elapsed() < KEPT_FOR
        {
            return Ok(limit);
        }
        let membership = self.tenancy.membership_in(&self.tokens, account_id, member_id).await?;
        let limits = membership.ok_or(Reason::NotAMember)?.limits;
        let limit = limits.automation_executions_per_hour.unwrap_or(i32::MAX);
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(account_id, (Instant::now(), limit));
        Ok(limit)
    }

    /// Whether the member may let rules call URLs, now.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn may_call_urls(&self, account_id: Uuid, member_id: Uuid) -> Result<bool> {
        let membership = self.tenancy.membership_in(&self.tokens, account_id, member_id).await?;
        Ok(membership.is_some_and(|membership| may_call_urls(membership.role)))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, (Instant, i32)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
