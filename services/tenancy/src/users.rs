//! People, asked of the auth service.

use std::time::Duration;

use baton_access::{Caller, ServiceTokens, on_behalf_of};
use baton_errors::{Error, Reason, Result, reason_of};
use baton_proto::baton::auth::v1::{
    BatchGetUsersRequest, Contact, GetMeRequest, internal_service_client::InternalServiceClient,
    user_service_client::UserServiceClient,
};
use baton_runtime::Secret;
use tonic::transport::Channel;
use uuid::Uuid;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The auth service's people. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    callers: UserServiceClient<Channel>,
    anyone: InternalServiceClient<Channel>,
    tokens: ServiceTokens,
}

impl Users {
    /// `secret` is what auth knows this service by.
    pub(crate) fn new(auth: Channel, secret: Secret) -> Self {
        Self {
            callers: UserServiceClient::new(auth.clone()),
            anyone: InternalServiceClient::new(auth.clone()),
            tokens: ServiceTokens::new(auth, crate::SCHEMA, secret),
        }
    }

    /// Name and address of a person, asked on the service's own behalf; `None` when there is no such person any more.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn contact(&self, user_id: Uuid) -> Result<Option<Contact>> {
        let message = BatchGetUsersRequest { ids: vec![user_id.to_string()] };
        let mut request = self.tokens.request("auth", message).await?;
        request.set_timeout(TIMEOUT);
        let answer = self.anyone.clone().batch_get_users(request).await;
        let answer = answer.map_err(|status| Error::from(Reason::Unavailable).with_source(status))?;
        Ok(answer.into_inner().users.into_iter().next())
    }

    /// The caller's address, which auth has confirmed: who has not followed the link cannot sign in.
    ///
    /// # Errors
    /// SESSION_CLOSED, TOKEN_INVALID, UNAVAILABLE.
    pub(crate) async fn email(&self, caller: &Caller) -> Result<String> {
        let mut request = on_behalf_of(caller, None, GetMeRequest {});
        request.set_timeout(TIMEOUT);
        let answer = self.callers.clone().get_me(request).await;
        let answer = answer.map_err(|status| match reason_of(&status) {
            Some(reason @ (Reason::SessionClosed | Reason::TokenInvalid)) => Error::from(reason),
            _ => Error::from(Reason::Unavailable).with_source(status),
        })?;
        let user = answer.into_inner().user.filter(|user| !user.email.is_empty());
        Ok(user.ok_or_else(|| Error::internal("auth answered no user"))?.email)
    }
}
