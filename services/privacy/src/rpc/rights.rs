//! RPCs to correct data, to restrict its processing, and to object to it.

use baton_access::caller;
use baton_catalog::Payload;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::privacy::v1::{
    Correction, EmailPreferences, GetEmailPreferencesRequest, GetEmailPreferencesResponse, LiftRestrictionRequest,
    LiftRestrictionResponse, RequestObjectionRequest, RequestObjectionResponse, RequestRectificationRequest,
    RequestRectificationResponse, RequestRestrictionRequest, RequestRestrictionResponse, UpdateEmailPreferencesRequest,
    UpdateEmailPreferencesResponse, rights_service_server::RightsService,
};
use baton_store::{Tenant, Tx};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    consent::{self, ConsentState},
    convert,
    erasure::RESTRICT_JOB,
    purpose,
    request::{PrivacyRequest, RequestKind, RequestState},
    store,
};

/// The purpose of mails that are not about work.
const MAIL_PURPOSE: &str = "marketing";

#[tonic::async_trait]
impl RightsService for Rpc {
    async fn request_rectification(
        &self,
        request: Request<RequestRectificationRequest>,
    ) -> Result<Response<RequestRectificationResponse>, Status> {
        let caller = caller(&request)?;
        let corrections = &request.get_ref().corrections;
        let mut fields: Vec<(&str, &str)> = Vec::with_capacity(corrections.len());
        for Correction { field, value } in corrections {
            if fields.iter().any(|(known, _)| known == field) {
                return Err(Error::invalid("corrections", "must name each field once").into());
            }
            fields.push((field, value));
        }
        // Nobody but auth has names and addresses, so what is corrected there is correct everywhere.
        self.auth.correct_profile(caller, &fields).await?;
        let done = self.new_request(caller.user_id, RequestKind::Rectification, RequestState::Completed);
        let mut tx = self.db.begin(Tenant::user(caller.user_id)).await?;
        store::request::insert(&mut tx, &done).await?;
        publish(&mut tx, Payload::PrivacyRequestCompleted, &done).await?;
        tx.commit().await?;
        Ok(Response::new(RequestRectificationResponse { request: Some(convert::request(done, Vec::new())) }))
    }

    async fn request_restriction(
        &self,
        request: Request<RequestRestrictionRequest>,
    ) -> Result<Response<RequestRestrictionResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut restriction = self.new_request(user_id, RequestKind::Restriction, RequestState::InForce);
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if store::request::insert(&mut tx, &restriction).await? {
            publish(&mut tx, Payload::PrivacyRequestCreated, &restriction).await?;
        } else if let Some(known) = store::request::restriction(&mut tx, user_id).await? {
            restriction = known;
        }
        tx.enqueue(RESTRICT_JOB, &user_id).await?;
        tx.commit().await?;
        self.eraser.restrict_soon(user_id).await;
        Ok(Response::new(RequestRestrictionResponse { request: Some(convert::request(restriction, Vec::new())) }))
    }

    async fn lift_restriction(
        &self,
        request: Request<LiftRestrictionRequest>,
    ) -> Result<Response<LiftRestrictionResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        if let Some(id) = store::request::lift_restriction(&mut tx, user_id, self.db.clock().now()).await? {
            let (kind, state) = (RequestKind::Restriction, RequestState::Lifted);
            tx.publish(convert::event(Payload::PrivacyRequestCompleted, id, user_id, kind, state)).await?;
            tx.enqueue(RESTRICT_JOB, &user_id).await?;
        }
        tx.commit().await?;
        self.eraser.restrict_soon(user_id).await;
        Ok(Response::new(LiftRestrictionResponse {}))
    }

    async fn request_objection(
        &self,
        request: Request<RequestObjectionRequest>,
    ) -> Result<Response<RequestObjectionResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let purpose = consent::consentable(&request.get_ref().purpose)?;
        let done = self.new_request(user_id, RequestKind::Objection, RequestState::Completed);
        let effective = self.refuse(user_id, self.new_answer(purpose, false, "objection"), Some(&done)).await?;
        Ok(Response::new(RequestObjectionResponse { effective: effective.into() }))
    }

    async fn get_email_preferences(
        &self,
        request: Request<GetEmailPreferencesRequest>,
    ) -> Result<Response<GetEmailPreferencesResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let preferences = Some(self.email_preferences(user_id).await?);
        Ok(Response::new(GetEmailPreferencesResponse { preferences }))
    }

    async fn update_email_preferences(
        &self,
        request: Request<UpdateEmailPreferencesRequest>,
    ) -> Result<Response<UpdateEmailPreferencesResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let UpdateEmailPreferencesRequest { preferences, update_mask } = request.into_inner();
        let wanted = preferences.unwrap_or_default().marketing;
        for path in update_mask.unwrap_or_default().paths {
            if path != "marketing" {
                return Err(Error::invalid("update_mask", "must name only fields that can be changed").into());
            }
            let purpose = purpose::find(MAIL_PURPOSE).ok_or_else(|| Error::from(Reason::PurposeUnknown))?;
            if wanted {
                self.answer(user_id, &[self.new_answer(purpose, true, "email")], None).await?;
            } else {
                self.refuse(user_id, self.new_answer(purpose, false, "email"), None).await?;
            }
        }
        let preferences = Some(self.email_preferences(user_id).await?);
        Ok(Response::new(UpdateEmailPreferencesResponse { preferences }))
    }
}

impl Rpc {
    fn new_request(&self, user_id: Uuid, kind: RequestKind, state: RequestState) -> PrivacyRequest {
        let clock = self.db.clock();
        PrivacyRequest::new(clock.new_id(), user_id, (kind, state), clock.now())
    }

    async fn email_preferences(&self, user_id: Uuid) -> Result<EmailPreferences> {
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let states = store::consent::states(&mut tx, user_id).await?;
        let purpose = purpose::find(MAIL_PURPOSE).ok_or_else(|| Error::from(Reason::PurposeUnknown))?;
        let state = consent::state(purpose, states.get(purpose.id).copied());
        Ok(EmailPreferences { marketing: state == ConsentState::Given })
    }
}

/// Publishes that a request was made or done.
pub(super) async fn publish(
    tx: &mut Tx,
    payload: fn(baton_proto::baton::privacy::v1::PrivacyRequestEvent) -> Payload,
    request: &PrivacyRequest,
) -> Result<()> {
    let PrivacyRequest { id, user_id, kind, state, .. } = *request;
    tx.publish(convert::event(payload, id, user_id, kind, state)).await
}
