//! People, from the auth service.

use baton_access::Caller;
use baton_clients::{Auth, ServiceTokens};
use baton_errors::Result;
use baton_proto::baton::auth::v1::Contact;
use uuid::Uuid;

/// The auth service, and this service's credentials for it. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    auth: Auth,
    tokens: ServiceTokens,
}

impl Users {
    pub(crate) fn new(auth: Auth, tokens: ServiceTokens) -> Self {
        Self { auth, tokens }
    }

    /// See [`Auth::contact`].
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn contact(&self, user_id: Uuid) -> Result<Option<Contact>> {
        self.auth.contact(&self.tokens, user_id).await
    }

    /// See [`Auth::email`]. Auth has confirmed the address: nobody signs in without following the link.
    ///
    /// # Errors
    /// SESSION_CLOSED, TOKEN_INVALID, UNAVAILABLE.
    pub(crate) async fn email(&self, caller: &Caller) -> Result<String> {
        self.auth.email(caller).await
    }
}
