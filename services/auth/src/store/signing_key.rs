//! Signing keys.

use baton_errors::Result;
use baton_store::{ReadTx, Tx};
use chrono::{DateTime, Utc};

/// A stored signing key.
#[derive(Debug, Clone)]
pub(crate) struct StoredSigningKey {
    pub(crate) kid: String,
    pub(crate) public_key: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) signs_from: DateTime<Utc>,
}

/// Lists all keys in the order in which they sign.
pub(crate) async fn list(tx: &mut ReadTx) -> Result<Vec<StoredSigningKey>> {
    let keys = sqlx::query_as!(
        StoredSigningKey,
        "select kid, public_key, sealed, created_at, signs_from from auth.signing_keys order by signs_from, kid"
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(keys)
}

/// Locks the table for writes by other instances until the transaction ends. Reads continue.
pub(crate) async fn lock(tx: &mut Tx) -> Result<()> {
    sqlx::query!("lock table auth.signing_keys in share row exclusive mode").execute(tx.connection()).await?;
    Ok(())
}

pub(crate) async fn insert(tx: &mut Tx, key: &StoredSigningKey) -> Result<()> {
    sqlx::query!(
        "insert into auth.signing_keys (kid, public_key, sealed, created_at, signs_from) values ($1, $2, $3, $4, $5)",
        key.kid,
        key.public_key,
        key.sealed,
        key.created_at,
        key.signs_from
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Stores resealed private keys.
pub(crate) async fn update_sealed(tx: &mut Tx, kids: &[String], sealed: &[Vec<u8>]) -> Result<()> {
    sqlx::query!(
        "update auth.signing_keys k set sealed = anew.sealed
         from unnest($1::text[], $2::bytea[]) as anew (kid, sealed) where k.kid = anew.kid",
        kids,
        sealed
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Tx, kids: &[String]) -> Result<()> {
    sqlx::query!("delete from auth.signing_keys where kid = any($1)", kids).execute(tx.connection()).await?;
    Ok(())
}
