//! Delegation RPCs.

use baton_access::{Caller, Credential, DelegationSource, caller};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{
    CreateDelegationRequest, CreateDelegationResponse, EndDelegationRequest, EndDelegationResponse,
    ListDelegationsRequest, ListDelegationsResponse, delegation_service_server::DelegationService,
};
use baton_store::{Idempotency, Tenant};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    application::delegation,
    auth_event::AuthEventKind,
    delegation::{MAX_DELEGATIONS_PER_USER, StoredDelegation, check_scopes},
    events::publish,
    store,
};

#[tonic::async_trait]
impl DelegationService for Rpc {
    async fn create_delegation(
        &self,
        request: Request<CreateDelegationRequest>,
    ) -> Result<Response<CreateDelegationResponse>, Status> {
        let caller = caller(&request)?;
        let user_id = caller.user_id;
        let session_id = session_of(caller)?;
        let call = Idempotency::of("DelegationService/CreateDelegation", request.metadata(), request.get_ref())?;
        let CreateDelegationRequest { service, account_id, scopes, purpose } = request.get_ref().clone();
        let account_id: Uuid = account_id.parse().map_err(|_| Error::invalid("account_id", "must be a UUID"))?;
        if let Credential::Delegated(held) = &caller.credential {
            // A weaker token does not create a stronger grant.
            if held.account_id != account_id {
                return Err(Error::from(Reason::NotAMember).into());
            }
            delegation::require_scopes(&held.scopes, &scopes)?;
        }
        check_scopes(&scopes)?;
        if !self.service_credentials.knows(&service) {
            return Err(Error::invalid("service", "must be the name of a service").into());
        }
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let session = store::session::lock_open(&mut tx, session_id, user_id, now).await?;
        let session = session.ok_or_else(|| Error::from(Reason::SessionClosed))?;
        if let Some(response) = tx.replay::<CreateDelegationResponse>(&call).await? {
            return Ok(Response::new(response));
        }
        let grant = StoredDelegation {
            id: self.db.clock().new_id(),
            user_id,
            service,
            bound_account_id: account_id,
            scopes,
            purpose,
            // From the session, not the token: the token may name a second factor that has been disabled since.
            amr: session.amr,
            created_at: now,
            last_used_at: None,
        };
        if !store::delegation::insert(&mut tx, &grant, MAX_DELEGATIONS_PER_USER).await? {
            return Err(Error::from(Reason::DelegationLimit).into());
        }
        tx.publish(publish::delegation_created(&grant)).await?;
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::DelegationCreated, Some(session_id)).await?;
        let response = CreateDelegationResponse { delegation: Some(grant.into()) };
        tx.remember(&call, &response).await?;
        tx.commit().await?;
        Ok(Response::new(response))
    }

    async fn list_delegations(
        &self,
        request: Request<ListDelegationsRequest>,
    ) -> Result<Response<ListDelegationsResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let grants = store::delegation::list(&mut tx, user_id).await?;
        Ok(Response::new(ListDelegationsResponse { delegations: grants.into_iter().map(Into::into).collect() }))
    }

    async fn end_delegation(
        &self,
        request: Request<EndDelegationRequest>,
    ) -> Result<Response<EndDelegationResponse>, Status> {
        let Caller { user_id, session_id, .. } = *caller(&request)?;
        let not_found = || Error::from(Reason::DelegationNotFound);
        let id: Uuid = request.into_inner().id.parse().map_err(|_| not_found())?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        let ended = store::delegation::delete(&mut tx, id, user_id).await?.ok_or_else(not_found)?;
        delegation::publish_ended(&mut tx, &[ended]).await?;
        store::auth_event::insert(&mut tx, user_id, AuthEventKind::DelegationEnded, Some(session_id)).await?;
        tx.commit().await?;
        Ok(Response::new(EndDelegationResponse {}))
    }
}

/// The caller's own session: that of the call, or the one whose token was exchanged.
fn session_of(caller: &Caller) -> Result<Uuid> {
    match &caller.credential {
        Credential::Session => Ok(caller.session_id),
        Credential::Delegated(held) => match held.source {
            DelegationSource::Session(id) => Ok(id),
            DelegationSource::ApiKey(_) | DelegationSource::Grant(_) => Err(Reason::SessionRequired.into()),
        },
        Credential::ApiKey(_) => Err(Reason::SessionRequired.into()),
    }
}
