//! Fixture for attachments: the task service with a file store.

use aws_lc_rs::digest::{SHA256, digest};
use baton_files::{Content, Download, Files, FilesConfig, Refused};
use baton_proto::baton::{
    events::v1::Envelope,
    task::v1::{
        Attachment, CompleteAttachmentRequest, CreateAttachmentRequest, CreateAttachmentResponse,
        DeleteAttachmentRequest, GetAttachmentRequest, GetAttachmentResponse, ListAttachmentsRequest,
        attachment_service_client::AttachmentServiceClient,
    },
};
use baton_runtime::{Clock, Env};
use baton_task::{Config, SPEC, maintenance::attachment_gc};
use baton_testkit::Person;
use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use tonic::{
    codegen::http::{HeaderMap, Method},
    transport::Channel,
};

use crate::fixture::{Fixture, RpcResult};

pub(crate) const HELLO: &[u8] = b"hello world";

/// The task fixture and its file store.
pub(crate) struct AttachmentFixture {
    pub(crate) base: Fixture,
    pub(crate) files: Files,
}

impl AttachmentFixture {
    pub(crate) async fn new() -> Self {
        let base = Fixture::new().await;
        let files = files(&base, &base.context.env());
        Self { base, files }
    }

    pub(crate) fn service(&self) -> AttachmentServiceClient<Channel> {
        AttachmentServiceClient::new(self.base.channel())
    }

    pub(crate) async fn create(
        &self,
        actor: &Person,
        request: CreateAttachmentRequest,
    ) -> RpcResult<CreateAttachmentResponse> {
        Ok(self.service().create_attachment(self.base.call(actor, request)).await?.into_inner())
    }

    pub(crate) async fn complete(&self, actor: &Person, id: &str) -> RpcResult<Attachment> {
        let request = self.base.call(actor, CompleteAttachmentRequest { attachment_id: id.to_owned() });
        Ok(self.service().complete_attachment(request).await?.into_inner().attachment.unwrap())
    }

    pub(crate) async fn get(&self, actor: &Person, id: &str) -> RpcResult<GetAttachmentResponse> {
        let request = self.base.call(actor, GetAttachmentRequest { attachment_id: id.to_owned() });
        Ok(self.service().get_attachment(request).await?.into_inner())
    }

    pub(crate) async fn delete(&self, actor: &Person, id: &str) -> RpcResult<()> {
        let request = self.base.call(actor, DeleteAttachmentRequest { attachment_id: id.to_owned() });
        self.service().delete_attachment(request).await?;
        Ok(())
    }

    pub(crate) async fn list(&self, actor: &Person, task_id: &str) -> RpcResult<Vec<String>> {
        let request = self.base.call(actor, ListAttachmentsRequest { task_id: task_id.to_owned(), page: None });
        let response = self.service().list_attachments(request).await?.into_inner();
        assert_eq!(response.meta.unwrap().total_count as usize, response.attachments.len());
        Ok(response.attachments.into_iter().map(|attachment| attachment.id).collect())
    }

    /// Sends content to an upload URL, as the gateway does for a client.
    pub(crate) async fn send(&self, url: &str, content: &'static [u8]) -> Result<(), Refused> {
        let parts = content.chunks(4).map(|part| Ok::<_, std::io::Error>(Bytes::from_static(part)));
        self.files.folder().unwrap().take(&token(url), stream::iter(parts.collect::<Vec<_>>())).await
    }

    pub(crate) async fn fetch(&self, url: &str) -> Result<Vec<u8>, Refused> {
        match self.download(url).await?.content {
            Content::Whole(content) => Ok(content.try_collect::<Vec<_>>().await.unwrap().concat()),
            _ => panic!("expected the whole file"),
        }
    }

    pub(crate) async fn download(&self, url: &str) -> Result<Download, Refused> {
        self.files.folder().unwrap().give(&token(url), &Method::GET, &HeaderMap::new()).await
    }

    /// Uploads and completes a file.
    pub(crate) async fn attach(&self, actor: &Person, task_id: &str) -> String {
        let created = self.create(actor, announce(task_id, HELLO)).await.unwrap();
        self.send(&created.upload_url, HELLO).await.unwrap();
        self.complete(actor, &created.id).await.unwrap();
        created.id
    }

    /// Keys of all objects.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let later = Clock::system().now() + TimeDelta::days(1000);
        self.files.older_than("accounts", later).map(Result::unwrap).collect().await
    }

    pub(crate) async fn rows(&self) -> i64 {
        let count = sqlx::query_scalar("select count(*) from task.attachments");
        count.fetch_one(&self.base.context.admin()).await.unwrap()
    }

    pub(crate) async fn used(&self) -> i64 {
        let used = sqlx::query_scalar("select coalesce(sum(used_bytes), 0)::bigint from task.storage_usage");
        used.fetch_one(&self.base.context.admin()).await.unwrap()
    }

    pub(crate) async fn sweep(&self) {
        let db = self.db();
        attachment_gc::sweep(&db, &self.files).await.unwrap();
    }

    /// The service's database, by the service's clock.
    pub(crate) fn db(&self) -> baton_store::Db {
        let config = Config::from_env(&SPEC, &self.base.context.env()).unwrap().service;
        let clock = self.base.clock.clone();
        baton_store::Db::open(SPEC.name, &config.database_url, &config.system_database_url, 2, clock).unwrap()
    }

    pub(crate) async fn events(&self, kind: &str) -> Vec<Envelope> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from task.outbox order by position")
            .fetch_all(&self.base.context.admin())
            .await
            .unwrap();
        let events = rows.iter().map(|row| Envelope::decode(row.as_slice()).unwrap());
        events.filter(|event| event.r#type == kind).collect()
    }
}

pub(crate) fn files(fixture: &Fixture, env: &Env) -> Files {
    Files::open(&FilesConfig::from_env(env).unwrap(), fixture.clock.clone()).unwrap()
}

pub(crate) fn token(url: &str) -> String {
    url.strip_prefix("http://files.test/v1/files/").expect("a URL of the folder").to_owned()
}

pub(crate) fn hex(content: &[u8]) -> String {
    digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn announce(task_id: &str, content: &[u8]) -> CreateAttachmentRequest {
    CreateAttachmentRequest {
        task_id: task_id.to_owned(),
        file_name: "Grüße an alle.txt".to_owned(),
        content_type: "text/plain".to_owned(),
        size_bytes: content.len() as i32,
        checksum_sha256: hex(content),
    }
}
