//! `Idempotency-Key` (IETF draft-ietf-httpapi-idempotency-key-header): a repeated request gets the first
//! answer instead of a second effect.

use baton_errors::{Error, Reason, Result};
use prost::Message;
use sha2::{Digest, Sha256};
use sqlx::Row;
use tonic::metadata::MetadataMap;

use crate::Tx;

/// The header, and the gRPC metadata.
pub const HEADER: &str = "idempotency-key";

/// The key of one call, if it sent one.
#[derive(Debug, Clone)]
pub struct Idempotency(Option<Keyed>);

#[derive(Debug, Clone)]
struct Keyed {
    rpc: &'static str,
    key: String,
    request_hash: Vec<u8>,
}

impl Idempotency {
    /// Reads the key of a call of `rpc`. `request` tells requests under one key apart.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_INVALID.
    pub fn of(rpc: &'static str, metadata: &MetadataMap, request: &impl Message) -> Result<Self> {
        let Some(value) = metadata.get(HEADER) else { return Ok(Self(None)) };
        let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
        let key = key.ok_or_else(|| Error::from(Reason::IdempotencyKeyInvalid))?.to_owned();
        Ok(Self(Some(Keyed { rpc, key, request_hash: Sha256::digest(request.encode_to_vec()).to_vec() })))
    }
}

impl Tx {
    /// The answer that an earlier call with this key got, if there was one. A call that still runs is
    /// waited for.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_REUSED for another request under the key, IDEMPOTENCY_KEY_IN_USE when the first
    /// call runs too long.
    pub async fn replay<M: Message + Default>(&mut self, call: &Idempotency) -> Result<Option<M>> {
        let Some(call) = &call.0 else { return Ok(None) };
        let tenant = self.tenant();
        // The primary key decides the race: the second insert waits for the first transaction to end.
        let insert = self.db().sql(
            "insert into {schema}.idempotency_keys (account_id, user_id, rpc, key, request_hash)
             values ($1, $2, $3, $4, $5) on conflict do nothing",
        );
        let inserted = sqlx::query(insert)
            .bind(tenant.account_id)
            .bind(tenant.user_id)
            .bind(call.rpc)
            .bind(&call.key)
            .bind(&call.request_hash)
            .execute(&mut **self)
            .await
            .map_err(|e| match Error::from(e) {
                e if e.reason() == Reason::Conflict => Reason::IdempotencyKeyInUse.into(),
                e => e,
            })?;
        if inserted.rows_affected() == 1 {
            return Ok(None);
        }
        self.recall(&Idempotency(Some(call.clone()))).await
    }

    /// The answer that an earlier call with this key got, if one has ended; the key is not taken. For calls that commit
    /// what is wrong with them, such as a code that counts: they take the key once nothing is.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_REUSED for another request under the key.
    pub async fn recall<M: Message + Default>(&mut self, call: &Idempotency) -> Result<Option<M>> {
        let Some(call) = &call.0 else { return Ok(None) };
        let tenant = self.tenant();
        let select = self.db().sql(
            "select request_hash, response from {schema}.idempotency_keys
             where account_id = $1 and user_id = $2 and rpc = $3 and key = $4",
        );
        let row = sqlx::query(select)
            .bind(tenant.account_id)
            .bind(tenant.user_id)
            .bind(call.rpc)
            .bind(&call.key)
            .fetch_optional(&mut **self)
            .await?;
        let Some(row) = row else { return Ok(None) };
        if row.get::<Vec<u8>, _>("request_hash") != call.request_hash {
            return Err(Reason::IdempotencyKeyReused.into());
        }
        let response: Vec<u8> = row.get::<Option<_>, _>("response").unwrap_or_default();
        M::decode(response.as_slice()).map(Some).map_err(Error::internal)
    }

    /// Keeps the answer for a repetition of the call.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remember(&mut self, call: &Idempotency, response: &impl Message) -> Result<()> {
        let Some(call) = &call.0 else { return Ok(()) };
        let tenant = self.tenant();
        let update = self.db().sql(
            "update {schema}.idempotency_keys set response = $5
             where account_id = $1 and user_id = $2 and rpc = $3 and key = $4",
        );
        sqlx::query(update)
            .bind(tenant.account_id)
            .bind(tenant.user_id)
            .bind(call.rpc)
            .bind(&call.key)
            .bind(response.encode_to_vec())
            .execute(&mut **self)
            .await?;
        Ok(())
    }
}
