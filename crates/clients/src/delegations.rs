//! Acting for people who are not there: grants, and the delegated tokens that auth issues for them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use baton_access::{ACCOUNT_HEADER, Caller, Credential, on_behalf_of};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::{
    CreateDelegationRequest, DelegationCause, ExchangeTokenRequest, IssueDelegatedTokenRequest,
    ReleaseDelegationsRequest, delegation_service_client::DelegationServiceClient,
    internal_service_client::InternalServiceClient,
};
use baton_runtime::Cause;
use baton_store::idempotency::HEADER;
use tokio::sync::Mutex;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use uuid::Uuid;

use crate::{Peer, ServiceTokens, Transport};

/// Time before its expiry at which a token is replaced, so that none expires on its way.
const REFRESH_MARGIN: Duration = Duration::from_secs(30);
/// Tokens that are kept: one more and the expired ones are dropped, or all.
const MAX_KEPT: usize = 1_000;
/// Grants of one ReleaseDelegations call.
const MAX_RELEASED: usize = 1_000;

/// The grants of one service. Clones share the tokens.
#[derive(Clone)]
pub struct Delegations<T = Channel> {
    auth: Peer<T>,
    tokens: ServiceTokens<T>,
    service: &'static str,
    issued: Arc<Mutex<HashMap<Key, Issued>>>,
}

type Key = (Uuid, &'static str, Cause);

struct Issued {
    authorization: MetadataValue<Ascii>,
    valid_until: Instant,
}

/// The rights of a person in an account, for calls to one service.
#[derive(Debug, Clone)]
pub struct ActingCredentials {
    authorization: MetadataValue<Ascii>,
    /// The account.
    pub account_id: Uuid,
    /// The person.
    pub user_id: Uuid,
}

impl ActingCredentials {
    /// A request with these rights, in the current trace.
    pub fn request<M>(&self, message: M) -> Request<M> {
        let mut request = crate::tokens::request(&self.authorization, message);
        if let Ok(id) = self.account_id.to_string().parse() {
            request.metadata_mut().insert(ACCOUNT_HEADER, id);
        }
        request
    }

    /// [`ActingCredentials::request`] for a change that is safe to repeat with this key.
    pub fn change<M>(&self, message: M, key: Uuid) -> Request<M> {
        let mut request = self.request(message);
        if let Ok(key) = key.to_string().parse() {
            request.metadata_mut().insert(HEADER, key);
        }
        request
    }
}

impl<T: Transport> Delegations<T> {
    /// The grants of `service`, whose credentials are `tokens`.
    pub fn new(auth: Peer<T>, tokens: ServiceTokens<T>, service: &'static str) -> Self {
        Self { auth, tokens, service, issued: Arc::default() }
    }

    /// The caller's own rights, for calls to the service `audience`. The token of a service that acts for them is exchanged for
    /// one with that audience.
    ///
    /// # Errors
    /// UNAVAILABLE, and those of a call that is not valid any more.
    pub async fn credentials_of_caller(
        &self,
        caller: &Caller,
        account_id: Uuid,
        audience: &str,
    ) -> Result<ActingCredentials> {
        let presented = on_behalf_of(caller, None, ()).metadata().get("authorization").cloned();
        let presented = presented.ok_or_else(|| Error::internal("a caller without a credential"))?;
        let Credential::Delegated(held) = &caller.credential else {
            return Ok(ActingCredentials { authorization: presented, account_id, user_id: caller.user_id });
        };
        let subject_token =
            presented.to_str().ok().and_then(|text| text.split_once(' ')).map(|(_, token)| token.to_owned());
        let message = ExchangeTokenRequest {
            subject_token: subject_token.ok_or_else(|| Error::internal("a credential that is no token"))?,
            audience: audience.to_owned(),
            account_id: account_id.to_string(),
            scopes: held.scopes.clone(),
            cause: None,
        };
        let own = self.tokens.authorization("auth").await?;
        let response = self.auth.call(
            || crate::tokens::request(&own, message.clone()),
            async |auth, request| InternalServiceClient::new(auth).exchange_token(request).await,
        );
        let authorization = format!("Bearer {}", response.await?.access_token).parse().map_err(Error::internal)?;
        Ok(ActingCredentials { authorization, account_id, user_id: caller.user_id })
    }

    /// Asks auth for a grant of the caller: the service may act for them in the account, within the scopes. The call needs
    /// their session. `key` makes it safe to repeat.
    ///
    /// # Errors
    /// SESSION_REQUIRED, DELEGATION_LIMIT, UNAVAILABLE, and those of a call that is not valid any more.
    pub async fn create(
        &self,
        caller: &Caller,
        account_id: Uuid,
        scopes: &[&str],
        purpose: &str,
        key: Uuid,
    ) -> Result<Uuid> {
        let message = CreateDelegationRequest {
            service: self.service.to_owned(),
            account_id: account_id.to_string(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            purpose: purpose.to_owned(),
        };
        let credentials = self.credentials_of_caller(caller, account_id, "auth").await?;
        let response = self.auth.call(
            || credentials.change(message.clone(), key),
            async |auth, request| DelegationServiceClient::new(auth).create_delegation(request).await,
        );
        let id = response.await?.delegation.and_then(|delegation| delegation.id.parse().ok());
        id.ok_or_else(|| Error::internal("auth returned no grant"))
    }

    /// The rights of the person who has given the grant, for calls to the service `audience`.
    ///
    /// # Errors
    /// DELEGATION_ENDED, PROCESSING_RESTRICTED, UNAVAILABLE.
    pub async fn credentials(
        &self,
        delegation_id: Uuid,
        (account_id, user_id): (Uuid, Uuid),
        audience: &'static str,
        cause: &Cause,
    ) -> Result<ActingCredentials> {
        let key = (delegation_id, audience, cause.clone());
        let now = Instant::now();
        let kept =
            self.issued.lock().await.get(&key).filter(|it| it.valid_until > now).map(|it| it.authorization.clone());
        if let Some(authorization) = kept {
            return Ok(ActingCredentials { authorization, account_id, user_id });
        }
        let message = IssueDelegatedTokenRequest {
            delegation_id: delegation_id.to_string(),
            audience: audience.to_owned(),
            scopes: Vec::new(),
            cause: Some(DelegationCause {
                kind: cause.kind.clone(),
                id: cause.id.to_string(),
                depth: cause.depth.into(),
            }),
        };
        let own = self.tokens.authorization("auth").await?;
        let response = self.auth.call(
            || crate::tokens::request(&own, message.clone()),
            async |auth, request| InternalServiceClient::new(auth).issue_delegated_token(request).await,
        );
        let response = response.await?;
        let authorization: MetadataValue<Ascii> =
            format!("Bearer {}", response.access_token).parse().map_err(Error::internal)?;
        let lifetime = Duration::from_secs(u64::try_from(response.expires_in).unwrap_or_default());
        let valid_until = now + lifetime.saturating_sub(REFRESH_MARGIN);
        let mut issued = self.issued.lock().await;
        if issued.len() >= MAX_KEPT {
            issued.retain(|_, it| it.valid_until > now);
        }
        if issued.len() >= MAX_KEPT {
            issued.clear();
        }
        issued.insert(key, Issued { authorization: authorization.clone(), valid_until });
        Ok(ActingCredentials { authorization, account_id, user_id })
    }

    /// Ends grants that the service needs no more.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn release(&self, ids: &[Uuid]) -> Result<()> {
        for ids in ids.chunks(MAX_RELEASED) {
            let message = ReleaseDelegationsRequest { ids: ids.iter().map(Uuid::to_string).collect() };
            let own = self.tokens.authorization("auth").await?;
            let response = self.auth.call(
                || crate::tokens::request(&own, message.clone()),
                async |auth, request| InternalServiceClient::new(auth).release_delegations(request).await,
            );
            response.await?;
        }
        Ok(())
    }
}

/// Whether a call with somebody's rights failed because they may act no more: not because of what they asked for.
pub fn is_access_revoked(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::DelegationEnded
            | Reason::ProcessingRestricted
            | Reason::NotAMember
            | Reason::AccountNotFound
            | Reason::AccountSuspended
            | Reason::SecondFactorRequired
    )
}

impl<T> std::fmt::Debug for Delegations<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delegations").field("service", &self.service).finish_non_exhaustive()
    }
}
