//! API keys: what people may ask of a new one, and what a presented one stands for.

use baton_access::{KeyGrant, SCOPES};
use baton_errors::{Error, Reason, Result};
use baton_store::{Db, Tenant};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::store;

/// Keys that one person may have.
pub(crate) const LIMIT: i64 = 50;
/// The last use is noted at most once in this time.
const NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// A key as it is stored, beside its hash.
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

/// The scopes of a new key: those asked for, or all that there are now. A scope that is added later widens no key.
///
/// # Errors
/// VALIDATION_FAILED, naming what is no scope.
pub(crate) fn scopes(asked: &[String]) -> Result<Vec<String>> {
    for (index, scope) in asked.iter().enumerate() {
        if !SCOPES.contains(&scope.as_str()) {
            let known = SCOPES.join(", ");
            return Err(Error::invalid(format!("scopes[{index}]"), format!("is none of {known}")));
        }
    }
    let wanted = |scope: &&&str| asked.is_empty() || asked.iter().any(|asked| asked == **scope);
    Ok(SCOPES.iter().filter(wanted).map(|&scope| scope.to_owned()).collect())
}

/// What the key with this hash stands for.
///
/// # Errors
/// TOKEN_INVALID when it is none, has ended or was deleted, or when its person cannot sign in.
pub(crate) async fn resolve(db: &Db, hash: &[u8]) -> Result<KeyGrant> {
    let now = db.clock().now();
    let mut tx = db.begin(Tenant::NONE).await?;
    let key = store::api_key::usable(&mut tx, hash, now).await?;
    let key = key.ok_or_else(|| Error::from(Reason::TokenInvalid))?;
    if key.last_used_at.is_none_or(|last| last + NOTED_EVERY <= now) {
        store::api_key::used(&mut tx, key.id, now, now - NOTED_EVERY).await?;
        tx.commit().await?;
    }
    Ok(KeyGrant {
        id: key.id,
        user_id: key.user_id,
        account_id: key.bound_account_id,
        scopes: key.scopes,
        amr: key.amr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gets_the_scopes_that_it_asks_for_once_each() {
        let asked = ["tasks:write", "tasks:read", "tasks:write"].map(str::to_owned);
        assert_eq!(scopes(&asked).unwrap(), ["tasks:read", "tasks:write"]);
        assert_eq!(scopes(&[]).unwrap(), SCOPES);
        for unknown in ["", "*", "tasks", "tasks:READ", "tasks:read tasks:write"] {
            assert!(scopes(&[unknown.to_owned()]).is_err(), "{unknown}");
        }
    }
}
