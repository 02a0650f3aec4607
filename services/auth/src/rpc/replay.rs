//! Repetitions of calls whose request or answer holds a secret.
//!
//! Of the request a keyed hash is kept: by a bare one, passwords could be tried fast. The answer is kept sealed.

use baton_errors::{Error, Result};
use baton_store::{Idempotency, Tx};
use prost::Message;
use tonic::metadata::MetadataMap;

use super::Rpc;

impl Rpc {
    /// The `Idempotency-Key` of a call.
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

    /// What an earlier call with this key was answered, without taking the key: see [`Tx::recall`].
    pub(super) async fn recall<M: Message + Default>(&self, tx: &mut Tx, call: &Idempotency) -> Result<Option<M>> {
        let sealed = tx.recall::<Vec<u8>>(call).await?;
        sealed.map(|sealed| self.opened(tx, &sealed)).transpose()
    }

    /// The same, and takes the key: see [`Tx::replay`].
    pub(super) async fn replay<M: Message + Default>(&self, tx: &mut Tx, call: &Idempotency) -> Result<Option<M>> {
        let sealed = tx.replay::<Vec<u8>>(call).await?;
        sealed.map(|sealed| self.opened(tx, &sealed)).transpose()
    }

    /// Keeps the answer for a repetition of the call.
    pub(super) async fn remember(&self, tx: &mut Tx, call: &Idempotency, answer: &impl Message) -> Result<()> {
        let sealed = self.sealer.seal(&context(tx), &answer.encode_to_vec()).map_err(Error::internal)?;
        tx.remember(call, &sealed).await
    }

    fn opened<M: Message + Default>(&self, tx: &Tx, sealed: &[u8]) -> Result<M> {
        let answer = self.sealer.open(&context(tx), sealed).map_err(Error::internal)?;
        M::decode(answer.as_slice()).map_err(Error::internal)
    }
}

/// What an answer is sealed for.
fn context(tx: &Tx) -> String {
    format!("replay:{}", tx.tenant().user_id)
}
