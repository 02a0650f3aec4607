//! RPCs of the owners of an account, about what it has of its members.

use baton_access::{Principal, principal};
use baton_catalog::Payload;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::privacy::v1::{
        DownloadMemberExportRequest, DownloadMemberExportResponse, GetMemberPrivacyRequestRequest,
        GetMemberPrivacyRequestResponse, ListMemberPrivacyRequestsRequest, ListMemberPrivacyRequestsResponse,
        MemberPrivacyAction, RequestMemberPrivacyRequest, RequestMemberPrivacyResponse,
        member_privacy_service_server::MemberPrivacyService,
    },
    convert::timestamp,
};
use baton_store::{Idempotency, Page, Tx, personal_data::CATEGORIES, subject_data::Subject};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    application::{export::BUILD_MEMBER_JOB, members::memberships},
    convert,
    erasure::{Erasure, Origin},
    request::{DataExport, PrivacyRequest, RequestKind, RequestState, Requester},
    store,
};

/// What an export for an account does not contain: predictions and scores.
const NOT_FOR_ACCOUNTS: &str = "analytics";

#[tonic::async_trait]
impl MemberPrivacyService for Rpc {
    async fn request_member_privacy(
        &self,
        request: Request<RequestMemberPrivacyRequest>,
    ) -> Result<Response<RequestMemberPrivacyResponse>, Status> {
        let principal = principal(&request)?.clone();
        let call = Idempotency::of("MemberPrivacyService/RequestMemberPrivacy", request.metadata(), request.get_ref())?;
        let account_id = parse_account_id(&principal, &request.get_ref().account_id)?;
        let not_found = || Error::from(Reason::MemberNotFound);
        let user_id = request.get_ref().user_id.parse().map_err(|_| not_found())?;
        let action = request.get_ref().action();
        let subject = Subject { user_id, account_id: Some(account_id) };
        // Before the transaction, which spans no call to another service. Somebody who joins meanwhile is erased nevertheless.
        let memberships = memberships(&self.sources, subject).await?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(&call).await? {
            return Ok(Response::new(response));
        }
        if memberships.is_empty() {
            return Err(not_found().into());
        }
        let account = Requester { account_id, user_id: principal.user_id() };
        let request = match action {
            MemberPrivacyAction::Erasure if memberships.iter().any(|membership| membership.status == "active") => {
                return Err(Error::from(Reason::MemberActive).into());
            }
            MemberPrivacyAction::Erasure => self.begin_erasure(&mut tx, user_id, account).await?,
            _ => self.begin_export(&mut tx, user_id, account).await?,
        };
        let kind_and_state = (request.kind, request.state);
        let payload = Payload::MemberRequestCreated;
        tx.publish(convert::member_event(payload, account, request.id, user_id, kind_and_state)).await?;
        let response = RequestMemberPrivacyResponse { request: Some(convert::member_request(request, Vec::new())) };
        tx.remember(&call, &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn list_member_privacy_requests(
        &self,
        request: Request<ListMemberPrivacyRequestsRequest>,
    ) -> Result<Response<ListMemberPrivacyRequestsResponse>, Status> {
        let principal = principal(&request)?;
        let account_id = parse_account_id(principal, &request.get_ref().account_id)?;
        let list = ("member_privacy_requests", account_id);
        let page = Page::of(request.get_ref().page.as_ref(), &list)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let (mut requests, total) = store::request::list_of_account(&mut tx, account_id, &page).await?;
        let meta = page.meta(&mut requests, total, &list, |request| (None, request.id));
        let requests = requests.into_iter().map(|found| convert::member_request(found, Vec::new())).collect();
        Ok(Response::new(ListMemberPrivacyRequestsResponse { requests, meta: Some(meta) }))
    }

    async fn get_member_privacy_request(
        &self,
        request: Request<GetMemberPrivacyRequestRequest>,
    ) -> Result<Response<GetMemberPrivacyRequestResponse>, Status> {
        let principal = principal(&request)?;
        let (account_id, id) = ids(principal, &request.get_ref().account_id, &request.get_ref().id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let found = store::request::get_of_account(&mut tx, account_id, id).await?;
        let found = found.ok_or_else(|| Error::from(Reason::PrivacyRequestNotFound))?;
        let receipts = store::receipt::receipts(&mut tx, id).await?;
        Ok(Response::new(GetMemberPrivacyRequestResponse { request: Some(convert::member_request(found, receipts)) }))
    }

    async fn download_member_export(
        &self,
        request: Request<DownloadMemberExportRequest>,
    ) -> Result<Response<DownloadMemberExportResponse>, Status> {
        let principal = principal(&request)?;
        let (account_id, id) = ids(principal, &request.get_ref().account_id, &request.get_ref().id)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let found = store::request::get_of_account(&mut tx, account_id, id).await?;
        let found = found.filter(|found| found.kind == RequestKind::MemberExport);
        found.ok_or_else(|| Error::from(Reason::PrivacyRequestNotFound))?;
        let download = store::export::download_of_member(&mut tx, account_id, id).await?;
        let download = download.filter(|(_, until)| *until > now);
        let (sha256, _) = download.ok_or_else(|| Error::from(Reason::ExportNotReady))?;
        let (url, expires_at) = self.file_url(id, now);
        let (sha256, expires_at) = (convert::hexadecimal(&sha256), Some(timestamp(expires_at)));
        Ok(Response::new(DownloadMemberExportResponse { url, sha256, expires_at }))
    }
}

impl Rpc {
    async fn begin_export(&self, tx: &mut Tx, user_id: Uuid, account: Requester) -> Result<PrivacyRequest> {
        let (id, now) = (self.db.clock().new_id(), self.db.clock().now());
        let kind_and_state = (RequestKind::MemberExport, RequestState::Processing);
        let request = PrivacyRequest::of_account(id, user_id, kind_and_state, account, now);
        let categories = CATEGORIES.iter().filter(|&&name| name != NOT_FOR_ACCOUNTS).map(|&name| name.to_owned());
        let categories = categories.collect();
        let export = DataExport { request, categories, sha256: None, available_until: None };
        store::export::insert_of_member(tx, account, &export).await?;
        tx.enqueue(BUILD_MEMBER_JOB, &id).await?;
        Ok(export.request)
    }

    async fn begin_erasure(&self, tx: &mut Tx, user_id: Uuid, account: Requester) -> Result<PrivacyRequest> {
        let (request_id, now) = (self.db.clock().new_id(), self.db.clock().now());
        let erasure = Erasure {
            request_id,
            user_id,
            origin: Origin::Account,
            reason: String::new(),
            nonce: Uuid::new_v4(),
            requested_at: now,
            erase_at: now,
            account: Some(account),
        };
        if !store::erasure::insert(tx, &erasure).await? {
            return Err(Error::new(Reason::ErasureScheduled, "the account erases the member already"));
        }
        let request = store::request::get_of_account(tx, account.account_id, request_id).await?;
        request.ok_or_else(|| Error::internal("a request that was just made is not there"))
    }
}

/// The account, which is that of the call, and a request.
fn ids(principal: &Principal, account_id: &str, id: &str) -> Result<(Uuid, Uuid)> {
    let id = id.parse().map_err(|_| Error::from(Reason::PrivacyRequestNotFound))?;
    Ok((parse_account_id(principal, account_id)?, id))
}

fn parse_account_id(principal: &Principal, named: &str) -> Result<Uuid> {
    let named = named.parse().ok().filter(|&named: &Uuid| named == principal.account_id());
    named.ok_or_else(|| Error::from(Reason::AccountNotFound))
}
