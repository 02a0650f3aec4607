//! RPCs that prove what is in the activity log.

use std::pin::Pin;

use baton_access::{Principal, principal};
use baton_audit::{Reader, Tree};
use baton_errors::{Error, Reason, Result};
use baton_merkle::Hash;
use baton_proto::{
    baton::tenancy::v1::{
        Checkpoint, ExportAuditLogRequest, ExportAuditLogResponse, GetCheckpointRequest, GetCheckpointResponse,
        GetProofRequest, GetProofResponse, audit_service_server::AuditService,
    },
    convert::timestamp,
    google::api::HttpBody,
};
use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status};

use super::Rpc;
use crate::{
    audit_file::{Header, Line},
    export::to_hex,
    store,
};

/// Rows per piece of an audit file.
const BATCH: i64 = 1_000;

#[tonic::async_trait]
impl AuditService for Rpc {
    type ExportAuditLogStream = Pin<Box<dyn Stream<Item = Result<ExportAuditLogResponse, Status>> + Send + 'static>>;

    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        let principal = principal(&request)?;
        let tree = self.tree(principal).await?;
        Ok(Response::new(GetCheckpointResponse { checkpoint: Some(self.checkpoint(principal, tree).await?) }))
    }

    async fn get_proof(&self, request: Request<GetProofRequest>) -> Result<Response<GetProofResponse>, Status> {
        let principal = principal(&request)?;
        let GetProofRequest { sequence, from_size, size } = *request.get_ref();
        let tree = self.tree(principal).await?;
        let size = size.map_or(Ok(tree.size), |size| positive("size", size))?;
        if size > tree.size {
            return Err(Error::invalid("size", "must not be above the checkpoint's size").into());
        }
        let (log, reader) = (principal.account_id(), Reader::new(self.db.clone()));
        let proof = match (sequence, from_size) {
            (Some(sequence), None) => {
                let from = self.tree_from(principal).await?;
                let index = positive("sequence", sequence)?.checked_sub(from);
                let index = index.ok_or_else(|| Error::invalid("sequence", "must be in the log's tree"))?;
                reader.inclusion(log, index, size).await?
            }
            (None, Some(old)) => reader.consistency(log, positive("from_size", old)?, size).await?,
            _ => return Err(Error::invalid("sequence", "must be given, or from_size, and not both").into()),
        };
        let checkpoint = self.checkpoint(principal, tree).await?;
        Ok(Response::new(GetProofResponse {
            size: to_i32(size),
            root: to_hex(&proof.root),
            hashes: proof.hashes.iter().map(|hash: &Hash| to_hex(hash)).collect(),
            checkpoint: Some(checkpoint),
        }))
    }

    async fn export_audit_log(
        &self,
        request: Request<ExportAuditLogRequest>,
    ) -> Result<Response<Self::ExportAuditLogStream>, Status> {
        let principal = principal(&request)?.clone();
        let (log, reader) = (principal.account_id(), Reader::new(self.db.clone()));
        let tree = self.tree(&principal).await?;
        let from = self.tree_from(&principal).await?;
        let (first, last) = (i64::try_from(from), i64::try_from(from + tree.size - 1));
        let (first, last) = (first.map_err(Error::internal)?, last.map_err(Error::internal)?);
        // Rows before the first one that is left have their hashes in the tree only.
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        let kept = store::audit::entries(&mut tx, log, (first - 1, last), 1).await?;
        drop(tx);
        let begin = kept.first().map_or(last + 1, |entry| entry.position.seq);
        let prefix = u64::try_from(begin - first).map_err(Error::internal)?;
        let header = Header {
            format: Header::FORMAT,
            account_id: log,
            tree_from: first,
            prefix: to_hex(&reader.frontier(log, prefix).await?.to_bytes()),
            checkpoint: tree.checkpoint.clone(),
            keys: self.checkpoint_keys.verifiers().map(ToString::to_string).collect(),
        };
        let piece = |content_type: &str, data: Vec<u8>| {
            let body = HttpBody { content_type: content_type.to_owned(), data, extensions: Vec::new() };
            ExportAuditLogResponse { body: Some(body) }
        };
        let head = piece("application/x-ndjson", header.encode()?);
        let rpc = self.clone();
        // Each piece has its own transaction: a slow client holds none open.
        let rest = stream::try_unfold((rpc, reader, begin - 1), move |(rpc, reader, after)| {
            let tenant = principal.tenant();
            async move {
                let mut tx = rpc.db.begin_list(tenant).await?;
                let rows = store::audit::entries(&mut tx, log, (after, last), BATCH).await?;
                drop(tx);
                let Some(newest) = rows.last().map(|row| row.position.seq) else { return Ok(None) };
                let index = u64::try_from(after + 1 - first).map_err(Error::internal)?;
                let hashes = reader.leaves(log, index, rows.len() as u64).await?;
                let mut text = Vec::new();
                for (row, hash) in rows.iter().zip(&hashes) {
                    text.extend(Line::new(row, hash).encode()?);
                }
                Ok::<_, Status>(Some((piece("", text), (rpc, reader, newest))))
            }
        });
        let mut response = Response::new(stream::once(async move { Ok(head) }).chain(rest).boxed());
        let disposition = format!("attachment; filename=\"audit-log-{log}.ndjson\"");
        let disposition = disposition.parse().map_err(Error::internal)?;
        response.metadata_mut().insert("content-disposition", disposition);
        Ok(response)
    }
}

impl Rpc {
    /// The tree of the caller's account.
    async fn tree(&self, principal: &Principal) -> Result<Tree> {
        let tree = Reader::new(self.db.clone()).tree(principal.account_id()).await?;
        tree.ok_or_else(|| Error::from(Reason::CheckpointNotFound))
    }

    async fn tree_from(&self, principal: &Principal) -> Result<u64> {
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let from = store::audit::tree_from(&mut tx, principal.account_id()).await?;
        u64::try_from(from).map_err(Error::internal)
    }

    async fn checkpoint(&self, principal: &Principal, tree: Tree) -> Result<Checkpoint> {
        Ok(Checkpoint {
            note: tree.checkpoint,
            size: to_i32(tree.size),
            first_sequence: to_i32(self.tree_from(principal).await?),
            signed_at: Some(timestamp(tree.checkpoint_at)),
            origin: self.checkpoint_keys.origin(principal.account_id()),
            keys: self.checkpoint_keys.verifiers().map(ToString::to_string).collect(),
        })
    }
}

fn positive(field: &str, number: i32) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::invalid(field, "must not be negative"))
}

fn to_i32(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
