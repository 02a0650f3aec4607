//! People, asked of the auth service.

use std::time::Duration;

use baton_access::{Caller, on_behalf_of};
use baton_errors::{Error, Reason, Result, reason_of};
use baton_proto::baton::auth::v1::{GetMeRequest, user_service_client::UserServiceClient};
use tonic::transport::Channel;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The auth service's people. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct Users(UserServiceClient<Channel>);

impl Users {
    pub(crate) fn new(auth: Channel) -> Self {
        Self(UserServiceClient::new(auth))
    }

    /// The caller's address, which auth has confirmed: who has not followed the link cannot sign in.
    ///
    /// # Errors
    /// SESSION_CLOSED, TOKEN_INVALID, UNAVAILABLE.
    pub(crate) async fn email(&self, caller: &Caller) -> Result<String> {
        let mut request = on_behalf_of(caller, None, GetMeRequest {});
        request.set_timeout(TIMEOUT);
        let answer = self.0.clone().get_me(request).await;
        let answer = answer.map_err(|status| match reason_of(&status) {
            Some(reason @ (Reason::SessionClosed | Reason::TokenInvalid)) => Error::from(reason),
            _ => Error::from(Reason::Unavailable).because(status),
        })?;
        let user = answer.into_inner().user.filter(|user| !user.email.is_empty());
        Ok(user.ok_or_else(|| Error::internal("auth answered no user"))?.email)
    }
}
