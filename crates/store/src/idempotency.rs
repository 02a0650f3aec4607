//! `Idempotency-Key` (IETF draft-ietf-httpapi-idempotency-key-header): a repeated request returns the first response
//! instead of having a second effect.

use baton_errors::{Error, Reason, Result};
use prost::Message;
use sha2::{Digest, Sha256};
use sqlx::Row;
use tonic::metadata::MetadataMap;

use crate::{ReadTx, Tx};

/// Name of the header, and of the gRPC metadata.
pub const HEADER: &str = "idempotency-key";

/// The idempotency key of a call, if it has one.
#[derive(Debug, Clone)]
pub struct Idempotency(Option<Keyed>);

#[derive(Debug, Clone)]
struct Keyed {
    rpc: &'static str,
    key: String,
    request_hash: Vec<u8>,
}

impl Idempotency {
    /// Reads the key of a call of `rpc`. `request` distinguishes requests with the same key.
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

impl ReadTx {
    /// Returns the response of an earlier call with this key, if that has completed. It does not reserve the key. For
    /// calls that commit even when they fail, for example to count a wrong code: they reserve the key only on success.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_REUSED if another request used the key.
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
            .fetch_optional(self.connection())
            .await?;
        let Some(row) = row else { return Ok(None) };
        if row.get::<Vec<u8>, _>("request_hash") != call.request_hash {
            return Err(Reason::IdempotencyKeyReused.into());
        }
        let response: Vec<u8> = row.get::<Option<_>, _>("response").unwrap_or_default();
        M::decode(response.as_slice()).map(Some).map_err(Error::internal)
    }
}

impl Tx {
    /// Reserves the key, or returns the response of an earlier call with it. Waits for a call that is still running.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_REUSED if another request used the key, IDEMPOTENCY_KEY_IN_USE if the first call runs too long.
    pub async fn replay<M: Message + Default>(&mut self, call: &Idempotency) -> Result<Option<M>> {
        let Some(call) = &call.0 else { return Ok(None) };
        let tenant = self.tenant();
        // The primary key resolves the race: the second insert waits for the first transaction to end.
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
            .execute(self.connection())
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

    /// Stores the response for a repetition of the call.
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
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
