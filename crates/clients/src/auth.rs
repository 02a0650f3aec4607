//! The auth service: sessions, API keys, signing keys, and people.

use async_trait::async_trait;
use baton_access::{Caller, DelegationSource, KeyGrant, PresentedKey, Sessions, on_behalf_of, token::KeySource};
use baton_errors::{Error, Result};
use baton_proto::{
    baton::auth::v1::{
        self as proto, BatchGetProfilesRequest, BatchGetUsersRequest, CheckSessionRequest, Contact, GetJwksRequest,
        GetMeRequest, JsonWebKey, Profile, UpdateMeRequest, UserChange, auth_service_client::AuthServiceClient,
        internal_service_client::InternalServiceClient, user_service_client::UserServiceClient,
    },
    convert::datetime,
};
use baton_runtime::propagation;
use chrono::{DateTime, Utc};
use prost_types::FieldMask;
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_types::StatusExt as _;
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

    /// What anonymous profiles of people are made of, at most 500. Those who are restricted or do not exist are left out.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn profiles(&self, tokens: &ServiceTokens<T>, user_ids: &[Uuid]) -> Result<Vec<Profile>> {
        let message = BatchGetProfilesRequest { ids: user_ids.iter().map(Uuid::to_string).collect() };
        let authorization = tokens.authorization("auth").await?;
        let response = self.0.call(
            || crate::tokens::request(&authorization, message.clone()),
            async |auth, request| InternalServiceClient::new(auth).batch_get_profiles(request).await,
        );
        Ok(response.await?.profiles)
    }

    /// Corrects fields of the caller's profile, each with its value.
    ///
    /// # Errors
    /// VALIDATION_FAILED, SESSION_CLOSED, UNAVAILABLE.
    pub async fn correct_profile(&self, caller: &Caller, fields: &[(&str, &str)]) -> Result<()> {
        let mut user = UserChange::default();
        for &(field, value) in fields {
            let place = match field {
                "first_name" => &mut user.first_name,
                "last_name" => &mut user.last_name,
                "mobile" => &mut user.mobile,
                "avatar_url" => &mut user.avatar_url,
                "company" => &mut user.company,
                "job_role" => &mut user.job_role,
                "timezone" => &mut user.timezone,
                "language" => &mut user.language,
                _ => return Err(Error::invalid("field", "must be a field of the profile")),
            };
            value.clone_into(place);
        }
        let paths = fields.iter().map(|&(field, _)| field.to_owned()).collect();
        let message = UpdateMeRequest { user: Some(user), update_mask: Some(FieldMask { paths }) };
        let response = self.0.call(
            || on_behalf_of(caller, None, message.clone()),
            async |auth, request| match UserServiceClient::new(auth).update_me(request).await {
                // The values are the caller's, and so is the mistake.
                Err(status) if status.code() == Code::InvalidArgument => Ok(Response::new(Err(status))),
                response => response.map(|_| Response::new(Ok(()))),
            },
        );
        response.await?.map_err(|status| invalid_field(&status))
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

/// What is wrong with the first field that auth names: `user.timezone`.
fn invalid_field(status: &Status) -> Error {
    let details = status.get_error_details();
    let violation = details.bad_request().and_then(|request| request.field_violations.first());
    match violation {
        Some(wrong) => Error::invalid(wrong.field.trim_start_matches("user."), &wrong.description),
        None => Error::invalid("corrections", "must be allowed values"),
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

    async fn delegation(&self, caller: &Caller, _: DelegationSource) -> Result<Vec<String>> {
        // The forwarded token names its source.
        let response = self.0.call(
            || on_behalf_of(caller, None, CheckSessionRequest {}),
            async |auth, request| AuthServiceClient::new(auth).check_session(request).await,
        );
        Ok(response.await?.amr)
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
