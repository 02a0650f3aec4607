//! API keys.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::api_key::StoredKey;

/// Inserts a key. Returns `false` when the user has `limit` keys. `store::session::lock_open` has locked the user, so
/// concurrent calls do not exceed the limit.
pub(crate) async fn insert(tx: &mut Tx, key: &StoredKey, hash: &[u8], limit: i64) -> Result<bool> {
    let added = sqlx::query!(
        "insert into auth.api_keys
             (id, user_id, name, prefix, hash, scopes, bound_account_id, amr, created_at, expires_at)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
         where (select count(*) from auth.api_keys where user_id = $2) < $11",
        key.id,
        key.user_id,
        key.name,
        key.prefix,
        hash,
        &key.scopes,
        key.bound_account_id,
        &key.amr,
        key.created_at,
        key.expires_at,
        limit
    )
    .execute(tx.connection())
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Lists a user's keys, newest first.
pub(crate) async fn list(tx: &mut ReadTx, user_id: Uuid) -> Result<Vec<StoredKey>> {
    let keys = sqlx::query_as!(
        StoredKey,
        "select id, user_id, name, prefix, scopes, bound_account_id, amr, created_at, expires_at, last_used_at
         from auth.api_keys where user_id = $1 order by created_at desc, id desc",
        user_id
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(keys)
}

/// Deletes a user's key and returns the account that it was bound to; `None` when the user has no such key.
pub(crate) async fn delete(tx: &mut Tx, id: Uuid, user_id: Uuid) -> Result<Option<Option<Uuid>>> {
    let bound = sqlx::query_scalar!(
        "delete from auth.api_keys where id = $1 and user_id = $2 returning bound_account_id",
        id,
        user_id
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(bound)
}

/// A deleted key.
pub(crate) struct DeletedKey {
    pub(crate) id: Uuid,
    pub(crate) bound_account_id: Option<Uuid>,
}

/// Deletes and returns all keys of a user.
pub(crate) async fn delete_all(tx: &mut Tx, user_id: Uuid) -> Result<Vec<DeletedKey>> {
    let deleted = sqlx::query_as!(
        DeletedKey,
        "delete from auth.api_keys where user_id = $1 returning id, bound_account_id",
        user_id
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(deleted)
}

/// Finds the key with this hash, if it has not expired and its user is confirmed and active.
pub(crate) async fn find_usable(tx: &mut ReadTx, hash: &[u8], now: DateTime<Utc>) -> Result<Option<StoredKey>> {
    let key = sqlx::query_as!(
        StoredKey,
        "select k.id, k.user_id, k.name, k.prefix, k.scopes, k.bound_account_id, k.amr, k.created_at, k.expires_at,
                k.last_used_at
         from auth.api_keys k join auth.users u on u.id = k.user_id
         where k.hash = $1 and (k.expires_at is null or k.expires_at > $2) and u.email_verified_at is not null
           and u.deactivated_at is null",
        hash,
        now
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(key)
}

/// Records a use, unless one was recorded after `since`.
pub(crate) async fn record_use(tx: &mut Tx, id: Uuid, now: DateTime<Utc>, since: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update auth.api_keys set last_used_at = $2 where id = $1 and (last_used_at is null or last_used_at <= $3)",
        id,
        now,
        since
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
