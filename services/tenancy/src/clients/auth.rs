//! Client of the auth service: contact data and e-mail addresses of users.

use baton_access::Caller;
use baton_clients::{Auth, ServiceTokens};
use baton_errors::Result;
use baton_proto::baton::auth::v1::Contact;
use uuid::Uuid;

/// The auth service, with this service's credentials. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct AuthClient {
    auth: Auth,
    tokens: ServiceTokens,
}

impl AuthClient {
    pub(crate) fn new(auth: Auth, tokens: ServiceTokens) -> Self {
        Self { auth, tokens }
    }

    /// Fetches a user's contact data. See [`Auth::contact`].
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn contact(&self, user_id: Uuid) -> Result<Option<Contact>> {
        self.auth.contact(&self.tokens, user_id).await
    }

    /// Fetches the caller's address. See [`Auth::email`]. The address is confirmed: sign-in requires it.
    ///
    /// # Errors
    /// SESSION_CLOSED, TOKEN_INVALID, UNAVAILABLE.
    pub(crate) async fn email(&self, caller: &Caller) -> Result<String> {
        self.auth.email(caller).await
    }
}
