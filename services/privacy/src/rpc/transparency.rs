//! RPCs that prove what is in the logs of consents and receipts.

use baton_audit::{Reader, Tree};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::privacy::v1::{
        GetLogCheckpointRequest, GetLogCheckpointResponse, GetLogProofRequest, GetLogProofResponse, LogCheckpoint,
        TransparencyLog, transparency_service_server::TransparencyService,
    },
    convert::timestamp,
};
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::{application::transparency::Log, convert::hexadecimal, store};

#[tonic::async_trait]
impl TransparencyService for Rpc {
    async fn get_log_checkpoint(
        &self,
        request: Request<GetLogCheckpointRequest>,
    ) -> Result<Response<GetLogCheckpointResponse>, Status> {
        let log = log(request.get_ref().log());
        let tree = self.tree(log).await?;
        Ok(Response::new(GetLogCheckpointResponse { checkpoint: Some(self.log_checkpoint(log, tree)) }))
    }

    async fn get_log_proof(
        &self,
        request: Request<GetLogProofRequest>,
    ) -> Result<Response<GetLogProofResponse>, Status> {
        let log = log(request.get_ref().log());
        let tree = self.tree(log).await?;
        let not_found = || Error::from(Reason::LeafNotFound);
        let leaf = bytes(&request.get_ref().leaf_hash).ok_or_else(not_found)?;
        let index = store::transparency::index_of(&self.db, log == Log::Consents, &leaf).await?;
        let index = index.filter(|index| *index < tree.size).ok_or_else(not_found)?;
        let proof = Reader::new(self.db.clone()).inclusion(log.id(), index, tree.size).await?;
        Ok(Response::new(GetLogProofResponse {
            index: i32::try_from(index).unwrap_or(i32::MAX),
            hashes: proof.hashes.iter().map(|hash| hexadecimal(hash)).collect(),
            checkpoint: Some(self.log_checkpoint(log, tree)),
        }))
    }
}

impl Rpc {
    async fn tree(&self, log: Log) -> Result<Tree> {
        let tree = Reader::new(self.db.clone()).tree(log.id()).await?;
        tree.ok_or_else(|| Error::from(Reason::CheckpointNotFound))
    }

    fn log_checkpoint(&self, log: Log, tree: Tree) -> LogCheckpoint {
        LogCheckpoint {
            note: tree.checkpoint,
            size: i32::try_from(tree.size).unwrap_or(i32::MAX),
            signed_at: Some(timestamp(tree.checkpoint_at)),
            origin: self.checkpoint_keys.origin(log.id()),
            keys: self.checkpoint_keys.verifiers().map(ToString::to_string).collect(),
        }
    }
}

fn log(log: TransparencyLog) -> Log {
    if log == TransparencyLog::Consents { Log::Consents } else { Log::Receipts }
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits = hexadecimal.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}
