//! RPCs for other services.

use baton_access::service;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{
    BatchGetUsersRequest, BatchGetUsersResponse, Contact, IssueServiceTokenRequest, IssueServiceTokenResponse,
    internal_service_server::InternalService,
};
use baton_store::Tenant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{service_credentials::SERVICE_TOKEN_TTL_SECONDS, store};

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

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        tracing::debug!(service = service(&request)?.name, "users looked up");
        let ids: Vec<Uuid> = request.into_inner().ids.iter().filter_map(|id| id.parse().ok()).collect();
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
}
