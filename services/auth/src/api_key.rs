//! API keys, and the scopes of a new one.

use baton_access::SCOPES;
use baton_errors::{Error, Result};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// API keys that one user may have.
pub(crate) const MAX_KEYS_PER_USER: i64 = 50;

/// A stored key, without its hash.
#[derive(Debug, Clone)]
pub(crate) struct StoredKey {
    pub(crate) id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) name: String,
    pub(crate) prefix: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) bound_account_id: Option<Uuid>,
    pub(crate) amr: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) last_used_at: Option<DateTime<Utc>>,
}

/// Returns the scopes of a new key: those requested, or all scopes that exist now. A scope that is added later widens
/// no existing key.
///
/// # Errors
/// VALIDATION_FAILED, naming the unknown scope.
pub(crate) fn parse_scopes(requested: &[String]) -> Result<Vec<String>> {
    for (index, scope) in requested.iter().enumerate() {
        if !SCOPES.contains(&scope.as_str()) {
            let known = SCOPES.join(", ");
            return Err(Error::invalid(format!("scopes[{index}]"), format!("must be one of {known}")));
        }
    }
    let wanted = |scope: &&&str| requested.is_empty() || requested.iter().any(|requested| requested == **scope);
    Ok(SCOPES.iter().filter(wanted).map(|&scope| scope.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_key_gets_each_requested_scope_once() {
        let requested = ["tasks:write", "tasks:read", "tasks:write"].map(str::to_owned);
        assert_eq!(parse_scopes(&requested).unwrap(), ["tasks:read", "tasks:write"]);
        assert_eq!(parse_scopes(&[]).unwrap(), SCOPES);
        for unknown in ["", "*", "tasks", "tasks:READ", "tasks:read tasks:write"] {
            assert!(parse_scopes(&[unknown.to_owned()]).is_err(), "{unknown}");
        }
    }
}
