//! RPCs for the erasure of the caller.

use baton_access::caller;
use baton_catalog::Payload;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::privacy::v1::{
        CancelErasureRequest, CancelErasureResponse, GetErasureRequest, GetErasureResponse, ListReceiptKeysRequest,
        ListReceiptKeysResponse, RequestErasureRequest, RequestErasureResponse, RequestErasureVerificationRequest,
        RequestErasureVerificationResponse, erasure_service_server::ErasureService,
    },
    convert::timestamp,
};
use baton_store::{Idempotency, Tenant};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    convert, emails,
    erasure::{Erasure, GRACE_PERIOD, Origin, RESTRICT_JOB},
    request::{RequestKind, RequestState},
    store,
};

#[tonic::async_trait]
impl ErasureService for Rpc {
    async fn request_erasure_verification(
        &self,
        request: Request<RequestErasureVerificationRequest>,
    ) -> Result<Response<RequestErasureVerificationResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if store::erasure::is_open(&mut tx, user_id).await? {
            return Err(Error::from(Reason::ErasureScheduled).into());
        }
        let expires_at = store::erasure::request_code(&mut tx, user_id, self.db.clock().now()).await?;
        tx.enqueue(emails::ERASURE_CODE, &user_id).await?;
        tx.commit().await?;
        Ok(Response::new(RequestErasureVerificationResponse { expires_at: Some(timestamp(expires_at)) }))
    }

    async fn request_erasure(
        &self,
        request: Request<RequestErasureRequest>,
    ) -> Result<Response<RequestErasureResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let call = Idempotency::of("ErasureService/RequestErasure", request.metadata(), request.get_ref())?;
        let RequestErasureRequest { verification_code, reason } = request.into_inner();
        let clock = self.db.clock();
        let now = clock.now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if let Some(mut response) = tx.replay::<RequestErasureResponse>(&call).await? {
            // The token was not stored.
            let id: Uuid = response.request_id.parse().map_err(Error::internal)?;
            let erasure = store::erasure::get(&mut tx, user_id, id).await?;
            let erasure = erasure.ok_or_else(|| Error::internal("a scheduled erasure is gone"))?;
            response.cancellation_token = self.cancellations.issue(&erasure);
            return Ok(Response::new(response));
        }
        if store::erasure::is_open(&mut tx, user_id).await? {
            return Err(Error::from(Reason::ErasureScheduled).into());
        }
        if !store::erasure::take_code(&mut tx, user_id, &verification_code, now).await? {
            // Committed, so that the attempt counts.
            tx.commit().await?;
            return Err(Error::from(Reason::VerificationInvalid).into());
        }
        let erasure = Erasure {
            request_id: clock.new_id(),
            user_id,
            origin: Origin::Person,
            reason: reason.unwrap_or_default(),
            nonce: Uuid::new_v4(),
            requested_at: now,
            erase_at: now + GRACE_PERIOD,
            account: None,
        };
        if !store::erasure::insert(&mut tx, &erasure).await? {
            return Err(Error::from(Reason::ErasureScheduled).into());
        }
        let id = erasure.request_id;
        tx.enqueue(RESTRICT_JOB, &user_id).await?;
        tx.enqueue(emails::ERASURE_SCHEDULED, &id).await?;
        let (kind, state) = (RequestKind::Erasure, RequestState::Scheduled);
        tx.publish(convert::event(Payload::PrivacyRequestCreated, id, user_id, kind, state)).await?;
        let mut response = RequestErasureResponse {
            deletion_scheduled: true,
            grace_period_ends: Some(timestamp(erasure.erase_at)),
            cancellation_token: String::new(),
            request_id: id.to_string(),
        };
        tx.remember(&call, &response).await?;
        tx.commit().await?;
        self.eraser.restrict_soon(user_id).await;
        response.cancellation_token = self.cancellations.issue(&erasure);
        Ok(Response::new(response))
    }

    async fn cancel_erasure(
        &self,
        request: Request<CancelErasureRequest>,
    ) -> Result<Response<CancelErasureResponse>, Status> {
        let invalid = || Error::from(Reason::CancellationInvalid);
        let [id, nonce] = self.cancellations.open(&request.get_ref().cancellation_token).ok_or_else(invalid)?;
        let user_id = store::erasure::user_of(&self.db, id, nonce).await?.ok_or_else(invalid)?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if !store::erasure::cancel(&mut tx, id, self.db.clock().now()).await? {
            return Err(invalid().into());
        }
        tx.enqueue(RESTRICT_JOB, &user_id).await?;
        let (kind, state) = (RequestKind::Erasure, RequestState::Canceled);
        tx.publish(convert::event(Payload::PrivacyRequestCanceled, id, user_id, kind, state)).await?;
        tx.commit().await?;
        self.eraser.restrict_soon(user_id).await;
        Ok(Response::new(CancelErasureResponse {}))
    }

    async fn get_erasure(&self, request: Request<GetErasureRequest>) -> Result<Response<GetErasureResponse>, Status> {
        let not_found = || Error::from(Reason::PrivacyRequestNotFound);
        let [id, nonce] = self.cancellations.open(&request.get_ref().cancellation_token).ok_or_else(not_found)?;
        let user_id = store::erasure::user_of(&self.db, id, nonce).await?.ok_or_else(not_found)?;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let found = store::request::get(&mut tx, user_id, id).await?.ok_or_else(not_found)?;
        let receipts = store::receipt::receipts(&mut tx, id).await?;
        Ok(Response::new(GetErasureResponse { request: Some(convert::request(found, receipts)) }))
    }

    async fn list_receipt_keys(
        &self,
        _: Request<ListReceiptKeysRequest>,
    ) -> Result<Response<ListReceiptKeysResponse>, Status> {
        Ok(Response::new(ListReceiptKeysResponse {
            keys: self.receipt_keys.public().into_iter().map(convert::receipt_key).collect(),
        }))
    }
}
