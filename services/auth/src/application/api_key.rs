//! The grant of a presented API key.

use baton_access::KeyGrant;
use baton_errors::{Error, Reason, Result};
use baton_store::{Db, Tenant};
use chrono::TimeDelta;

use crate::store;

/// The last use is written at most once per interval.
pub(crate) const LAST_USED_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// Returns the grant of the key with this hash.
///
/// # Errors
/// TOKEN_INVALID when the key is unknown, expired or deleted, or when its user cannot sign in.
pub(crate) async fn resolve(db: &Db, hash: &[u8]) -> Result<KeyGrant> {
    let now = db.clock().now();
    let mut tx = db.begin(Tenant::NONE).await?;
    let key = store::api_key::find_usable(&mut tx, hash, now).await?;
    let key = key.ok_or_else(|| Error::from(Reason::TokenInvalid))?;
    if key.last_used_at.is_none_or(|last| last + LAST_USED_INTERVAL <= now) {
        store::api_key::record_use(&mut tx, key.id, now, now - LAST_USED_INTERVAL).await?;
        tx.commit().await?;
    }
    Ok(KeyGrant {
        id: key.id,
        user_id: key.user_id,
        account_id: key.bound_account_id,
        scopes: key.scopes,
        amr: key.amr,
        expires_at: key.expires_at,
    })
}
