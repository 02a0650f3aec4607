//! The auth service: sessions, API keys, signing keys, and people.

use async_trait::async_trait;
use baton_access::{Caller, KeyGrant, PresentedKey, Sessions, on_behalf_of, token::KeySource};
use baton_errors::{Error, Result};
use baton_proto::{
    baton::auth::v1::{
        self as proto, BatchGetUsersRequest, CheckSessionRequest, Contact, GetJwksRequest, GetMeRequest, JsonWebKey,
        auth_service_client::AuthServiceClient, internal_service_client::InternalServiceClient,
        user_service_client::UserServiceClient,
    },
    convert::datetime,
};
use baton_runtime::propagation;
use chrono::{DateTime, Utc};
use tonic::{Request, transport::Channel};
use uuid::Uuid;

use crate::{Peer, ServiceTokens, Transport};

/// The auth service. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Auth<T = Channel>(Peer<T>);

impl<T: Transport> Auth<T> {
    /// The auth service as a peer.
    pub fn new(peer: Peer<T>) -> Self {
        Self(peer)
    }

    /// Name, address, language and time zone of a person, on the service's own behalf; `None` when the person does not
    /// exist any more.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn contact(&self, tokens: &ServiceTokens<T>, user_id: Uuid) -> Result<Option<Contact>> {
        Ok(self.contacts(tokens, &[user_id]).await?.into_iter().next())
    }

    /// [`Auth::contact`] for several people, at most 100. Those who do not exist are left out.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn contacts(&self, tokens: &ServiceTokens<T>, user_ids: &[Uuid]) -> Result<Vec<Contact>> {
        let message = BatchGetUsersRequest { ids: user_ids.iter().map(Uuid::to_string).collect() };
        let authorization = tokens.authorization("auth").await?;
        let response = self.0.call(
            || crate::tokens::request(&authorization, message.clone()),
            async |auth, request| InternalServiceClient::new(auth).batch_get_users(request).await,
        );
        Ok(response.await?.users)
    }

    /// The caller's confirmed e-mail address.
    ///
    /// # Errors
    /// SESSION_CLOSED, TOKEN_INVALID, UNAVAILABLE.
    pub async fn email(&self, caller: &Caller) -> Result<String> {
        let response = self.0.call(
            || on_behalf_of(caller, None, GetMeRequest {}),
            async |auth, request| UserServiceClient::new(auth).get_me(request).await,
        );
        let user = response.await?.user.filter(|user| !user.email.is_empty());
        Ok(user.ok_or_else(|| Error::internal("auth returned no user"))?.email)
    }
}

#[async_trait]
impl<T: Transport> Sessions for Auth<T> {
    async fn check(&self, caller: &Caller) -> Result<Option<DateTime<Utc>>> {
        let response = self.0.call(
            || on_behalf_of(caller, None, CheckSessionRequest {}),
            async |auth, request| AuthServiceClient::new(auth).check_session(request).await,
        );
        Ok(response.await?.proved_at.as_ref().and_then(datetime))
    }

    async fn api_key(&self, key: &PresentedKey) -> Result<KeyGrant> {
        let request = || {
            let mut request = Request::new(CheckSessionRequest {});
            request.metadata_mut().insert("authorization", key.authorization.clone());
            propagation::inject(request.metadata_mut());
            request
        };
        let response =
            self.0.call(request, async |auth, request| AuthServiceClient::new(auth).check_session(request).await);
        let response = response.await?;
        let malformed = || Error::internal("auth returned an API key that does not parse");
        response.key.and_then(|key| grant(&response.user_id, key)).ok_or_else(malformed)
    }
}

fn grant(user_id: &str, key: proto::KeyGrant) -> Option<KeyGrant> {
    let account_id = (!key.account_id.is_empty()).then(|| key.account_id.parse());
    Some(KeyGrant {
        id: key.id.parse().ok()?,
        user_id: user_id.parse().ok()?,
        account_id: account_id.transpose().ok()?,
        scopes: key.scopes,
        amr: key.amr,
        expires_at: key.expires_at.as_ref().and_then(datetime),
    })
}

#[async_trait]
impl<T: Transport> KeySource for Auth<T> {
    async fn fetch(&self) -> Result<Vec<JsonWebKey>> {
        let response = self.0.call(
            || Request::new(GetJwksRequest {}),
            async |auth, request| AuthServiceClient::new(auth).get_jwks(request).await,
        );
        Ok(response.await?.keys)
    }
}
