//! Users and memberships, read with the service's own credentials: for work without a caller, and for facts that a
//! caller may not read.

use baton_access::Membership;
use baton_clients::{Auth, ServiceTokens, Tenancy};
use baton_errors::Result;
use uuid::Uuid;

/// The auth and tenancy services, and this service's credentials for them. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct InternalDirectory {
    auth: Auth,
    tenancy: Tenancy,
    tokens: ServiceTokens,
}

impl InternalDirectory {
    pub(crate) fn new(auth: Auth, tenancy: Tenancy, tokens: ServiceTokens) -> Self {
        Self { auth, tenancy, tokens }
    }

    /// IANA name of a user's time zone; `None` when the user no longer exists.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn timezone(&self, user_id: Uuid) -> Result<Option<String>> {
        let contact = self.auth.contact(&self.tokens, user_id).await?;
        Ok(contact.map(|contact| contact.timezone).filter(|timezone| !timezone.is_empty()))
    }

    /// The membership of a user in an account; `None` when they are no longer a member.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn membership(&self, account_id: Uuid, user_id: Uuid) -> Result<Option<Membership>> {
        self.tenancy.membership_in(&self.tokens, account_id, user_id).await
    }
}
