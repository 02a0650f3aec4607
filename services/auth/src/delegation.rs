//! Delegations: grants by which services act for users.

use baton_access::SCOPES;
use baton_errors::{Error, Result};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Grants that one user may have: a rule takes one, and a user has at most 20 rules in each account.
pub(crate) const MAX_DELEGATIONS_PER_USER: i64 = 500;

/// A stored grant.
#[derive(Debug, Clone)]
pub(crate) struct StoredDelegation {
    pub(crate) id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) service: String,
    pub(crate) bound_account_id: Uuid,
    pub(crate) scopes: Vec<String>,
    pub(crate) purpose: String,
    pub(crate) amr: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) last_used_at: Option<DateTime<Utc>>,
}

/// Checks the scopes of a grant: a service never gets the right to create grants.
///
/// # Errors
/// VALIDATION_FAILED, naming the unknown scope.
pub(crate) fn check_scopes(requested: &[String]) -> Result<()> {
    for (index, scope) in requested.iter().enumerate() {
        if !SCOPES.contains(&scope.as_str()) {
            let known = SCOPES.join(", ");
            return Err(Error::invalid(format!("scopes[{index}]"), format!("must be one of {known}")));
        }
    }
    Ok(())
}
