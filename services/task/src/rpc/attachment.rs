//! Attachment RPCs. Clients exchange content with the object store directly.

use std::{sync::Arc, time::Duration};

use baton_access::{Principal, principal};
use baton_errors::{Error, Reason, Result};
use baton_files::Files;
use baton_proto::{
    baton::task::v1::{
        CompleteAttachmentRequest, CompleteAttachmentResponse, CreateAttachmentRequest, CreateAttachmentResponse,
        DeleteAttachmentRequest, DeleteAttachmentResponse, GetAttachmentRequest, GetAttachmentResponse,
        ListAttachmentsRequest, ListAttachmentsResponse, attachment_service_server::AttachmentService,
    },
    convert::timestamp,
};
use baton_store::{Db, Page, ReadTx};
use tokio::sync::Notify;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    lookup::get,
    mutation::{Mutation, lock},
};
use crate::{
    convert::attachment as convert,
    events::publish::attachment as events,
    policy::visibility::Actor,
    store,
    task::{
        Task,
        attachment::{
            Attachment, COMPLETION_TIMEOUT, DOWNLOAD_URL_TTL, Limits, MAX_ATTACHMENTS_PER_TASK, UPLOAD_URL_TTL,
        },
    },
};

/// State of the methods. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) files: Files,
    pub(crate) limits: Limits,
    /// Wakes the garbage collection.
    pub(crate) deleted: Arc<Notify>,
}

#[tonic::async_trait]
impl AttachmentService for Rpc {
    async fn create_attachment(
        &self,
        request: Request<CreateAttachmentRequest>,
    ) -> Result<Response<CreateAttachmentResponse>, Status> {
        let mutation = Mutation::of("CreateAttachment", &request)?;
        let attachment = self.create(&mutation, request.get_ref()).await?;
        // After the commit, because signing may have to fetch credentials. A repeated call gets a new URL.
        let left = (attachment.expires_at - self.db.clock().now()).to_std().unwrap_or_default();
        let file = baton_files::Announced {
            content_type: &attachment.content_type,
            size: attachment.size_bytes.unsigned_abs(),
            checksum: &attachment.checksum,
        };
        let upload = self.files.upload(&attachment.upload_key(), file, left.max(Duration::from_secs(1))).await?;
        Ok(Response::new(convert::create_response(attachment.id, attachment.expires_at, Some(upload))))
    }

    async fn complete_attachment(
        &self,
        request: Request<CompleteAttachmentRequest>,
    ) -> Result<Response<CompleteAttachmentResponse>, Status> {
        let principal = principal(&request)?;
        let id = parse_id(&request.get_ref().attachment_id)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let (_, attachment) = find(&mut tx, principal, id).await?;
        tx.commit().await?;
        let attachment =
            if attachment.object_id.is_some() { attachment } else { self.complete(principal, attachment).await? };
        Ok(Response::new(CompleteAttachmentResponse { attachment: Some(convert::attachment(attachment)) }))
    }

    async fn list_attachments(
        &self,
        request: Request<ListAttachmentsRequest>,
    ) -> Result<Response<ListAttachmentsResponse>, Status> {
        let principal = principal(&request)?;
        let ListAttachmentsRequest { task_id, page } = request.get_ref();
        let page = Page::of(page.as_ref(), task_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), task_id).await?;
        let (mut found, total) = store::attachment::page(&mut tx, task.id, &page).await?;
        drop(tx);
        let meta = page.meta(&mut found, total, task_id, |attachment| (None, attachment.id));
        let attachments = found.into_iter().map(convert::attachment).collect();
        Ok(Response::new(ListAttachmentsResponse { attachments, meta: Some(meta) }))
    }

    async fn get_attachment(
        &self,
        request: Request<GetAttachmentRequest>,
    ) -> Result<Response<GetAttachmentResponse>, Status> {
        let principal = principal(&request)?;
        let id = parse_id(&request.get_ref().attachment_id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let (_, attachment) = find(&mut tx, principal, id).await?;
        drop(tx);
        let object_id = attachment.object_id.ok_or_else(not_found)?;
        let key = attachment.object_key(object_id);
        let url = self
            .files
            .download(&key, &attachment.file_name, attachment.response_content_type(), DOWNLOAD_URL_TTL)
            .await?;
        let expires_at = self.db.clock().now() + DOWNLOAD_URL_TTL;
        Ok(Response::new(GetAttachmentResponse {
            attachment: Some(convert::attachment(attachment)),
            download_url: url.into(),
            expires_at: Some(timestamp(expires_at)),
        }))
    }

    async fn delete_attachment(
        &self,
        request: Request<DeleteAttachmentRequest>,
    ) -> Result<Response<DeleteAttachmentResponse>, Status> {
        let principal = principal(&request)?;
        let id = parse_id(&request.get_ref().attachment_id)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let (task, attachment) = find(&mut tx, principal, id).await?;
        if attachment.uploaded_by != principal.user_id() {
            Actor::of(principal).can_change(&task)?;
        }
        if !store::attachment::delete(&mut tx, id).await? {
            return Err(not_found().into());
        }
        // An upload that was never completed was not announced to anyone.
        if attachment.object_id.is_some() {
            tx.publish(events::removed(&attachment, &task)).await?;
        }
        let used = store::storage_usage::subtract(&mut tx, attachment.size_bytes.into()).await?;
        tx.publish_all(events::storage_changed(attachment.account_id, used)).await?;
        tx.commit().await?;
        self.deleted.notify_one();
        Ok(Response::new(DeleteAttachmentResponse {}))
    }
}

impl Rpc {
    /// Stores the announced file in one transaction. A repeated call returns the first one's.
    async fn create(&self, mutation: &Mutation<'_>, request: &CreateAttachmentRequest) -> Result<Attachment> {
        let mut tx = self.db.begin(mutation.principal().tenant()).await?;
        if let Some(CreateAttachmentResponse { id, .. }) = tx.replay(mutation.idempotency()).await? {
            return store::attachment::get(&mut tx, parse_id(&id)?).await?.ok_or_else(not_found);
        }
        // The task's lock decides which file is the last that fits the limit.
        let task = lock(&mut tx, mutation, &request.task_id).await?;
        let file = convert::announced_file(request)?;
        self.limits.check(&file)?;
        if store::attachment::count(&mut tx, task.id).await? >= MAX_ATTACHMENTS_PER_TASK {
            return Err(Reason::AttachmentLimit.into());
        }
        let attachment = Attachment::new(&tx, task.id, file, self.db.clock().now() + UPLOAD_URL_TTL);
        store::attachment::insert(&mut tx, &attachment).await?;
        tx.remember(mutation.idempotency(), &convert::create_response(attachment.id, attachment.expires_at, None))
            .await?;
        let limit = mutation.principal().membership.limits.storage_mebibytes;
        let used = store::storage_usage::add(&mut tx, attachment.size_bytes, limit).await?;
        tx.publish_all(events::storage_changed(attachment.account_id, used)).await?;
        tx.commit().await?;
        Ok(attachment)
    }

    /// Verifies the upload and makes the attachment visible.
    async fn complete(&self, principal: &Principal, attachment: Attachment) -> Result<Attachment> {
        let copied = self.copy_upload(&attachment).await;
        let completed = self.publish(principal, attachment.id, &copied).await;
        // After an error it is unknown whether the copy became the attachment's content; if not, the sweep deletes it.
        if let Ok(completed) = &completed {
            self.discard(&attachment.upload_key()).await;
            // Of two concurrent completions, the other's copy was stored.
            if let Some(object_id) = copied.ok().filter(|id| completed.object_id != Some(*id)) {
                self.discard(&attachment.object_key(object_id)).await;
            }
        }
        completed
    }

    /// Copies the upload to a key that no client can write and verifies the copy: the verified content is the stored
    /// content. No row refers to the copy yet.
    async fn copy_upload(&self, attachment: &Attachment) -> Result<Uuid> {
        let upload = attachment.upload_key();
        let size = self.files.size(&upload).await?.ok_or_else(|| Error::from(Reason::AttachmentNotUploaded))?;
        let announced = attachment.size_bytes.unsigned_abs().into();
        if size != announced {
            self.discard(&upload).await;
            return Err(Reason::AttachmentMismatch.into());
        }
        let object_id = self.db.clock().new_id();
        let key = attachment.object_key(object_id);
        if !self.files.copy(&upload, &key).await? {
            return Err(Reason::AttachmentNotUploaded.into());
        }
        match self.files.measure(&key, announced).await {
            Ok(Some((size, checksum))) if attachment.matches(size, &checksum) => Ok(object_id),
            other => {
                self.discard(&key).await;
                other?;
                self.discard(&upload).await;
                Err(Reason::AttachmentMismatch.into())
            }
        }
    }

    /// Makes the verified copy visible, unless another call has done so or the attachment was deleted meanwhile.
    async fn publish(&self, principal: &Principal, id: Uuid, copied: &Result<Uuid>) -> Result<Attachment> {
        let mut tx = self.db.begin(principal.tenant()).await?;
        let (task, mut attachment) = find(&mut tx, principal, id).await?;
        if attachment.object_id.is_some() {
            return Ok(attachment);
        }
        let object_id = match copied {
            Ok(object_id) => *object_id,
            Err(error) => return Err(Error::from(error.reason())),
        };
        let now = self.db.clock().now();
        if !store::attachment::complete(&mut tx, id, object_id, now).await? {
            let (_, attachment) = find(&mut tx, principal, id).await?;
            return Ok(attachment);
        }
        (attachment.object_id, attachment.completed_at) = (Some(object_id), Some(now));
        tx.publish(events::added(&attachment, &task)).await?;
        tx.commit().await?;
        Ok(attachment)
    }

    /// Deletes an object that is not needed. If that fails, the sweep deletes it.
    async fn discard(&self, key: &str) {
        if let Err(error) = self.files.delete(key).await {
            tracing::warn!(%error, "cannot delete an object; the garbage collection retries");
        }
    }
}

/// An attachment and its task, if the caller sees both. An incomplete attachment is visible to its uploader only, until
/// it expires.
async fn find(tx: &mut ReadTx, principal: &Principal, id: Uuid) -> Result<(Task, Attachment)> {
    let attachment = store::attachment::get(tx, id).await?.ok_or_else(not_found)?;
    let now = tx.db().clock().now();
    let open = attachment.uploaded_by == principal.user_id() && now < attachment.expires_at + COMPLETION_TIMEOUT;
    if attachment.object_id.is_none() && !open {
        return Err(not_found());
    }
    let task = store::task::get(tx, attachment.task_id).await?;
    let task = task.filter(|task| Actor::of(principal).can_see(task)).ok_or_else(not_found)?;
    Ok((task, attachment))
}

fn not_found() -> Error {
    Reason::AttachmentNotFound.into()
}

fn parse_id(id: &str) -> Result<Uuid> {
    id.parse().map_err(|_| not_found())
}
