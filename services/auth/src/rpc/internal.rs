//! RPCs for other services.

use baton_access::{DelegationSource, service, token::Actor};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::auth::v1::{
        BatchGetProfilesRequest, BatchGetProfilesResponse, BatchGetUsersRequest, BatchGetUsersResponse, Contact,
        DelegationCause, ExchangeTokenRequest, ExchangeTokenResponse, IssueDelegatedTokenRequest,
        IssueDelegatedTokenResponse, IssueServiceTokenRequest, IssueServiceTokenResponse, Profile,
        ReleaseDelegationsRequest, ReleaseDelegationsResponse, internal_service_server::InternalService,
    },
    convert::timestamp,
};
use baton_runtime::Cause;
use baton_store::Tenant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    application::{
        api_key::LAST_USED_INTERVAL,
        delegation::{self, Subject},
        signing_keys::NewDelegatedToken,
    },
    service_credentials::SERVICE_TOKEN_TTL_SECONDS,
    store,
};

/// The service that acts for people who have restricted the processing of their data.
const PRIVACY: &str = "privacy";

#[tonic::async_trait]
impl InternalService for Rpc {
    async fn issue_service_token(
        &self,
        request: Request<IssueServiceTokenRequest>,
    ) -> Result<Response<IssueServiceTokenResponse>, Status> {
        let IssueServiceTokenRequest { service, secret, audience } = request.into_inner();
        if !self.service_credentials.verify(&service, &secret) {
            return Err(Error::from(Reason::CredentialsInvalid).into());
        }
        Ok(Response::new(IssueServiceTokenResponse {
            access_token: self.keys.sign_service_token(&service, &audience)?,
            token_type: "Bearer".to_owned(),
            expires_in: SERVICE_TOKEN_TTL_SECONDS,
        }))
    }

    async fn exchange_token(
        &self,
        request: Request<ExchangeTokenRequest>,
    ) -> Result<Response<ExchangeTokenResponse>, Status> {
        let service = service(&request)?.name.clone();
        let ExchangeTokenRequest { subject_token, audience, account_id, scopes, cause } = request.into_inner();
        let account_id: Uuid = account_id.parse().map_err(|_| Error::invalid("account_id", "must be a UUID"))?;
        let subject = Subject::of(&self.db, &self.tokens, &subject_token, &service).await?;
        subject.require(account_id, &scopes)?;
        let cause = subject.next_cause(cause.map(parse_cause).transpose()?);
        let token = self.keys.sign_delegated_token(NewDelegatedToken {
            audience,
            user_id: subject.user_id,
            act: Actor { sub: service, act: subject.act.map(Box::new) },
            account_id,
            scopes,
            source: subject.source,
            cause,
            expires_at: subject.expires_at,
        })?;
        Ok(Response::new(ExchangeTokenResponse {
            access_token: token.text,
            token_type: "Bearer".to_owned(),
            expires_in: token.expires_in,
        }))
    }

    async fn issue_delegated_token(
        &self,
        request: Request<IssueDelegatedTokenRequest>,
    ) -> Result<Response<IssueDelegatedTokenResponse>, Status> {
        let service = service(&request)?.name.clone();
        let IssueDelegatedTokenRequest { delegation_id, audience, mut scopes, cause } = request.into_inner();
        let ended = || Error::from(Reason::DelegationEnded);
        let id: Uuid = delegation_id.parse().map_err(|_| ended())?;
        let cause = cause.ok_or_else(|| Error::invalid("cause", "is required"))?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let grant = store::delegation::find_usable(&mut tx, id, &service).await?.ok_or_else(ended)?;
        // Services do not read for them either.
        if self.restrictions.contains(grant.user_id) {
            return Err(Error::from(Reason::ProcessingRestricted).into());
        }
        if scopes.is_empty() {
            scopes.clone_from(&grant.scopes);
        }
        delegation::require_scopes(&grant.scopes, &scopes)?;
        if grant.last_used_at.is_none_or(|last| last + LAST_USED_INTERVAL <= now) {
            store::delegation::record_use(&mut tx, id, now, now - LAST_USED_INTERVAL).await?;
            tx.commit().await?;
        }
        let token = self.keys.sign_delegated_token(NewDelegatedToken {
            audience,
            user_id: grant.user_id,
            act: Actor { sub: service, act: None },
            account_id: grant.bound_account_id,
            scopes,
            source: DelegationSource::Grant(id),
            cause: Some(parse_cause(cause)?),
            expires_at: None,
        })?;
        Ok(Response::new(IssueDelegatedTokenResponse {
            access_token: token.text,
            token_type: "Bearer".to_owned(),
            expires_in: token.expires_in,
        }))
    }

    async fn release_delegations(
        &self,
        request: Request<ReleaseDelegationsRequest>,
    ) -> Result<Response<ReleaseDelegationsResponse>, Status> {
        let service = service(&request)?.name.clone();
        let ids: Vec<Uuid> = request.into_inner().ids.iter().filter_map(|id| id.parse().ok()).collect();
        let mut tx = self.db.begin(Tenant::NONE).await?;
        let ended = store::delegation::release(&mut tx, &ids, &service).await?;
        delegation::publish_ended(&mut tx, &ended).await?;
        tx.commit().await?;
        Ok(Response::new(ReleaseDelegationsResponse {}))
    }

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        let caller = service(&request)?.name.clone();
        tracing::debug!(service = caller, "users looked up");
        let mut ids: Vec<Uuid> = request.into_inner().ids.iter().filter_map(|id| id.parse().ok()).collect();
        // Only the service of their rights still writes to people who have restricted the processing of their data.
        ids.retain(|&id| caller == PRIVACY || !self.restrictions.contains(id));
        let mut tx = self.db.begin_read(Tenant::NONE).await?;
        let users = store::contact::by_ids(&mut tx, &ids).await?;
        let contact = |user: store::contact::Contact| Contact {
            id: user.id.to_string(),
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
            timezone: user.timezone,
        };
        Ok(Response::new(BatchGetUsersResponse { users: users.into_iter().map(contact).collect() }))
    }

    async fn batch_get_profiles(
        &self,
        request: Request<BatchGetProfilesRequest>,
    ) -> Result<Response<BatchGetProfilesResponse>, Status> {
        if service(&request)?.name != PRIVACY {
            return Err(Error::from(Reason::ServiceOnly).into());
        }
        let mut ids: Vec<Uuid> = request.into_inner().ids.iter().filter_map(|id| id.parse().ok()).collect();
        ids.retain(|&id| !self.restrictions.contains(id));
        let mut tx = self.db.begin_read(Tenant::NONE).await?;
        let profiles = store::contact::profiles(&mut tx, &ids).await?;
        let profile = |user: store::contact::Profile| Profile {
            id: user.id.to_string(),
            created_at: Some(timestamp(user.created_at)),
            email_domain: user.email.rsplit_once('@').map(|(_, domain)| domain.to_owned()).unwrap_or_default(),
            timezone: user.timezone,
        };
        Ok(Response::new(BatchGetProfilesResponse { profiles: profiles.into_iter().map(profile).collect() }))
    }
}

fn parse_cause(cause: DelegationCause) -> Result<Cause> {
    let invalid = |field: &str| Error::invalid(format!("cause.{field}"), "is invalid");
    Ok(Cause {
        id: cause.id.parse().map_err(|_| invalid("id"))?,
        depth: cause.depth.try_into().map_err(|_| invalid("depth"))?,
        kind: cause.kind,
    })
}
