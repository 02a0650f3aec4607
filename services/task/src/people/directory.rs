//! People, asked on the service's own behalf: for what is done later than it was asked for, and for what callers may
//! not ask themselves.

use std::time::Duration;

use baton_access::{Membership, ServiceTokens};
use baton_errors::{Error, Reason, Result, reason_of};
use baton_proto::baton::{
    auth::v1::{BatchGetUsersRequest, internal_service_client::InternalServiceClient as AuthClient},
    tenancy::v1::{DescribeMemberRequest, internal_service_client::InternalServiceClient as TenancyClient},
};
use baton_runtime::Secret;
use tonic::transport::Channel;
use uuid::Uuid;

/// An answer that takes longer counts as none.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The auth and tenancy services, as this service knows them. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct People {
    auth: AuthClient<Channel>,
    tenancy: TenancyClient<Channel>,
    tokens: ServiceTokens,
}

impl People {
    /// `secret` is what auth knows this service by.
    pub(crate) fn new(auth: Channel, tenancy: Channel, secret: Secret) -> Self {
        Self {
            auth: AuthClient::new(auth.clone()),
            tenancy: TenancyClient::new(tenancy),
            tokens: ServiceTokens::new(auth, crate::SCHEMA, secret),
        }
    }

    /// IANA name of the timezone that a person lives by; `None` when there is no such person any more.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn timezone(&self, user_id: Uuid) -> Result<Option<String>> {
        let message = BatchGetUsersRequest { ids: vec![user_id.to_string()] };
        let mut request = self.tokens.request("auth", message).await?;
        request.set_timeout(TIMEOUT);
        let answer = self.auth.clone().batch_get_users(request).await;
        let answer = answer.map_err(|status| Error::from(Reason::Unavailable).with_source(status))?;
        let user = answer.into_inner().users.into_iter().next();
        Ok(user.map(|user| user.timezone).filter(|timezone| !timezone.is_empty()))
    }

    /// What a person is in an account; `None` when they are nothing there any more.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn membership(&self, account_id: Uuid, user_id: Uuid) -> Result<Option<Membership>> {
        let message = DescribeMemberRequest { account_id: account_id.to_string(), user_id: user_id.to_string() };
        let mut request = self.tokens.request("tenancy", message).await?;
        request.set_timeout(TIMEOUT);
        match self.tenancy.clone().describe_member(request).await {
            Ok(answer) => {
                let membership = answer.into_inner().membership;
                let membership = membership.ok_or_else(|| Error::internal("tenancy described no membership"))?;
                Membership::from_proto(membership).map(Some)
            }
            Err(status) if reason_of(&status) == Some(Reason::NotAMember) => Ok(None),
            Err(status) => Err(Error::from(Reason::Unavailable).with_source(status)),
        }
    }
}
