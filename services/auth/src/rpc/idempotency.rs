//! Idempotency of calls whose request or response holds a secret.
//!
//! The request is stored as an HMAC, since a plain hash would allow fast guesses of passwords. The response is stored
//! sealed.

use baton_errors::{Error, Result};
use baton_store::{Idempotency, ReadTx, Tx};
use prost::Message;
use tonic::metadata::MetadataMap;

use super::Rpc;

impl Rpc {
    /// Reads the `Idempotency-Key` of a call.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_INVALID.
    pub(super) fn idempotency(
        &self,
        rpc: &'static str,
        metadata: &MetadataMap,
        request: &impl Message,
    ) -> Result<Idempotency> {
        let tag = aws_lc_rs::hmac::sign(&self.replay_key, &request.encode_to_vec());
        Idempotency::of(rpc, metadata, &tag.as_ref().to_vec())
    }

    /// Returns the response of an earlier call with this key, without claiming the key; see [`ReadTx::recall`].
    pub(super) async fn recall<M: Message + Default>(&self, tx: &mut ReadTx, call: &Idempotency) -> Result<Option<M>> {
        let sealed = tx.recall::<Vec<u8>>(call).await?;
        sealed.map(|sealed| self.unseal(tx, &sealed)).transpose()
    }

    /// Returns the response of an earlier call with this key, or claims the key; see [`Tx::replay`].
    pub(super) async fn replay<M: Message + Default>(&self, tx: &mut Tx, call: &Idempotency) -> Result<Option<M>> {
        let sealed = tx.replay::<Vec<u8>>(call).await?;
        sealed.map(|sealed| self.unseal(tx, &sealed)).transpose()
    }

    /// Stores the response for retries of the call.
    pub(super) async fn remember(&self, tx: &mut Tx, call: &Idempotency, response: &impl Message) -> Result<()> {
        let sealed = self.sealer.seal(&seal_context(tx), &response.encode_to_vec()).map_err(Error::internal)?;
        tx.remember(call, &sealed).await
    }

    fn unseal<M: Message + Default>(&self, tx: &ReadTx, sealed: &[u8]) -> Result<M> {
        let response = self.sealer.open(&seal_context(tx), sealed).map_err(Error::internal)?;
        M::decode(response.as_slice()).map_err(Error::internal)
    }
}

/// Context in which a response is sealed.
fn seal_context(tx: &ReadTx) -> String {
    format!("replay:{}", tx.tenant().user_id)
}
