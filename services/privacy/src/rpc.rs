//! The gRPC methods: parse, begin, call, publish, commit, reply.

mod accountability;
mod anonymization;
mod consent;
mod erasure;
mod member;
mod operator;
mod policy;
mod rights;
mod transparency;

use std::sync::Arc;

use baton_access::caller;
use baton_audit::LogKeys;
use baton_catalog::Payload;
use baton_clients::{Auth, SubjectDataPeer};
use baton_errors::{Error, Reason, Result};
use baton_files::Files;
use baton_proto::{
    baton::privacy::v1::{
        DownloadDataExportRequest, DownloadDataExportResponse, GetDataExportFileRequest, GetDataExportFileResponse,
        GetDataExportRequest, GetDataExportResponse, GetPrivacyRequestRequest, GetPrivacyRequestResponse,
        ListPrivacyRequestsRequest, ListPrivacyRequestsResponse, RequestDataExportRequest, RequestDataExportResponse,
        privacy_service_server::PrivacyService,
    },
    convert::timestamp,
    google::api::HttpBody,
};
use baton_store::{Db, Idempotency, Page, Tenant};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream::BoxStream};
use tonic::{Request, Response, Status};
use url::Url;
use uuid::Uuid;

use crate::{
    application::{
        consents::Collectors, erasure::Eraser, export, profiles::Profiles, pseudonyms::Names, withdrawals::Withdrawals,
    },
    cancellation::CancellationTokens,
    convert,
    file_token::FileTokens,
    policy::Subprocessor,
    receipt::ReceiptKeys,
    request::{self, DataExport, PrivacyRequest, RequestKind, RequestState},
    store,
};

/// Dependencies of the RPC methods. Clones share them.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) db: Db,
    pub(crate) files: Files,
    pub(crate) tokens: FileTokens,
    /// URL of the gateway.
    pub(crate) public_url: Url,
    pub(crate) collectors: Collectors,
    pub(crate) eraser: Eraser,
    pub(crate) cancellations: CancellationTokens,
    pub(crate) receipt_keys: ReceiptKeys,
    pub(crate) withdrawals: Withdrawals,
    pub(crate) auth: Auth,
    /// The other services.
    pub(crate) sources: Vec<SubjectDataPeer>,
    pub(crate) subprocessors: Arc<[Subprocessor]>,
    pub(crate) names: Names,
    pub(crate) profiles: Profiles,
    /// Keys of the checkpoints of consents and receipts.
    pub(crate) checkpoint_keys: Arc<LogKeys>,
}

#[tonic::async_trait]
impl PrivacyService for Rpc {
    type GetDataExportFileStream = BoxStream<'static, Result<GetDataExportFileResponse, Status>>;

    async fn request_data_export(
        &self,
        request: Request<RequestDataExportRequest>,
    ) -> Result<Response<RequestDataExportResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let call = Idempotency::of("PrivacyService/RequestDataExport", request.metadata(), request.get_ref())?;
        let clock = self.db.clock();
        let (id, now) = (clock.new_id(), clock.now());
        let export = DataExport {
            request: PrivacyRequest::export(id, user_id, now),
            categories: convert::category_names(request.get_ref().include_categories()),
            sha256: None,
            available_until: None,
        };
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if let Some(response) = tx.replay(&call).await? {
            return Ok(Response::new(response));
        }
        store::export::insert(&mut tx, &export).await?;
        tx.enqueue(export::BUILD_JOB, &id).await?;
        let (kind, state) = (RequestKind::Export, RequestState::Processing);
        tx.publish(convert::event(Payload::PrivacyRequestCreated, id, user_id, kind, state)).await?;
        let estimate = request::estimate(store::export::average_seconds(&mut tx).await?);
        let response = RequestDataExportResponse { data_export: Some(convert::data_export(export, estimate)) };
        tx.remember(&call, &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn get_data_export(
        &self,
        request: Request<GetDataExportRequest>,
    ) -> Result<Response<GetDataExportResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let export = store::export::get(&mut tx, user_id, parse_export_id(&request.get_ref().export_id)?).await?;
        let estimate = request::estimate(store::export::average_seconds(&mut tx).await?);
        Ok(Response::new(GetDataExportResponse { data_export: Some(convert::data_export(export, estimate)) }))
    }

    async fn download_data_export(
        &self,
        request: Request<DownloadDataExportRequest>,
    ) -> Result<Response<DownloadDataExportResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let export = store::export::get(&mut tx, user_id, parse_export_id(&request.get_ref().export_id)?).await?;
        let now = self.db.clock().now();
        let sha256 = export.sha256.filter(|_| {
            export.request.state == RequestState::Ready && export.available_until.is_some_and(|until| until > now)
        });
        let sha256 = sha256.ok_or_else(|| Error::from(Reason::ExportNotReady))?;
        let (url, expires_at) = self.file_url(export.request.id, now);
        Ok(Response::new(DownloadDataExportResponse {
            url,
            sha256: convert::hexadecimal(&sha256),
            expires_at: Some(timestamp(expires_at)),
        }))
    }

    async fn get_data_export_file(
        &self,
        request: Request<GetDataExportFileRequest>,
    ) -> Result<Response<Self::GetDataExportFileStream>, Status> {
        let GetDataExportFileRequest { export_id, token } = request.into_inner();
        let id = parse_export_id(&export_id)?;
        let not_found = || Error::from(Reason::ExportNotFound);
        if !self.tokens.verify(&token, id, self.db.clock().now()) {
            return Err(not_found().into());
        }
        let file = store::export::file(&self.db, id).await?.ok_or_else(not_found)?;
        let content = self.files.read(&export::file_key(file)).await?.ok_or_else(not_found)?;
        let mut is_first = true;
        let responses = content.map(move |piece| {
            let content_type = if std::mem::take(&mut is_first) { "application/zip" } else { "" };
            let data = piece?.to_vec();
            let file = HttpBody { content_type: content_type.to_owned(), data, extensions: Vec::new() };
            Ok(GetDataExportFileResponse { file: Some(file) })
        });
        let mut response = Response::new(responses.boxed());
        let name = format!("attachment; filename=\"baton-data-{id}.zip\"");
        response.metadata_mut().insert("content-disposition", name.parse().map_err(Error::internal)?);
        Ok(response)
    }

    async fn list_privacy_requests(
        &self,
        request: Request<ListPrivacyRequestsRequest>,
    ) -> Result<Response<ListPrivacyRequestsResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let page = Page::of(request.get_ref().page.as_ref(), &"privacy_requests")?;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let (mut requests, total) = store::request::list(&mut tx, user_id, &page).await?;
        let meta = page.meta(&mut requests, total, &"privacy_requests", |request| (None, request.id));
        let requests = requests.into_iter().map(|found| convert::request(found, Vec::new())).collect();
        Ok(Response::new(ListPrivacyRequestsResponse { requests, meta: Some(meta) }))
    }

    async fn get_privacy_request(
        &self,
        request: Request<GetPrivacyRequestRequest>,
    ) -> Result<Response<GetPrivacyRequestResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let not_found = || Error::from(Reason::PrivacyRequestNotFound);
        let id: Uuid = request.get_ref().id.parse().map_err(|_| not_found())?;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let found = store::request::get(&mut tx, user_id, id).await?.ok_or_else(not_found)?;
        let receipts = store::receipt::receipts(&mut tx, id).await?;
        Ok(Response::new(GetPrivacyRequestResponse { request: Some(convert::request(found, receipts)) }))
    }
}

impl Rpc {
    /// A URL of the file of an export, and until when it is valid.
    fn file_url(&self, id: Uuid, now: DateTime<Utc>) -> (String, DateTime<Utc>) {
        let (token, expires_at) = self.tokens.issue(id, now);
        let mut url = self.public_url.clone();
        url.set_path(&format!("{}/v1/privacy/data-export/{id}/file", url.path().trim_end_matches('/')));
        url.query_pairs_mut().append_pair("token", &token);
        (url.into(), expires_at)
    }
}

fn parse_export_id(id: &str) -> Result<Uuid> {
    id.parse().map_err(|_| Reason::ExportNotFound.into())
}
