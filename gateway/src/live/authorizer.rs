//! Authenticates subscribers, and asks the services what events do not say.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::{
    AccessLayer, ApiKey, Credential, Hierarchy, IdentityCache, Role, Rules, TaskAudience, TokenVerifier,
};
use baton_clients::{Auth, Peer, ServiceTokens, Tenancy};
use baton_errors::{Reason, reason_of};
use baton_proto::{
    baton::{
        auth::v1::{GetMeRequest, user_service_client::UserServiceClient},
        live::v1::LiveComment,
        task::v1::{
            Comment, GetCommentRequest, GetTaskRequest, Task, comment_service_client::CommentServiceClient,
            task_service_client::TaskServiceClient,
        },
    },
    pool,
};
use baton_runtime::{Clock, Secret, propagation};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use prost_types::value::Kind;
use serde::Deserialize;
use tonic::{
    Code, Request,
    metadata::{Ascii, MetadataValue},
};
use uuid::Uuid;

use super::Upstreams;
use crate::{
    headers::{self, X_ACCOUNT_ID},
    upstream::Upstream,
};

/// The RPC that a caller must be allowed to call to receive anything.
pub(crate) const WATCH: &str = "/baton.live.v1.LiveService/Watch";
/// The RPC that a caller must be allowed to call to receive notifications.
pub(crate) const NOTIFICATIONS: &str = "/baton.notification.v1.NotificationService/ListNotifications";
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages of a task wait for the text of a comment at most this long.
const COMMENT_TIMEOUT: Duration = Duration::from_secs(1);
/// Attempts while a service is unavailable.
const MAX_ATTEMPTS: u32 = 4;
/// Delay after the first attempt; it doubles.
const RETRY_DELAY: Duration = Duration::from_millis(300);

/// The credentials of a subscriber.
#[derive(Clone)]
pub(crate) struct Credentials {
    authorization: MetadataValue<Ascii>,
    account: Option<MetadataValue<Ascii>>,
    /// The token's expiry, in seconds since 1970; `None` for an API key. It is not trusted before the token is verified.
    expires_at: Option<i64>,
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
}

impl Credentials {
    /// Parses the credentials. `None` if the token is malformed.
    pub(crate) fn new(token: &str, account: Option<&str>) -> Option<Self> {
        let expires_at = if ApiKey::is_meant(token) {
            None
        } else {
            let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
            let Claims { exp } = serde_json::from_slice(&payload).ok()?;
            Some(exp)
        };
        Some(Self {
            authorization: format!("Bearer {token}").parse().ok()?,
            account: account.map(str::parse).transpose().ok()?,
            expires_at,
        })
    }

    /// The credentials in the headers of a request.
    ///
    /// # Errors
    /// TOKEN_MISSING, TOKEN_INVALID.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, Reason> {
        if !headers.contains_key(AUTHORIZATION) {
            return Err(Reason::TokenMissing);
        }
        let token = headers::bearer(headers).ok_or(Reason::TokenInvalid)?;
        Self::new(token, headers::text(headers, &X_ACCOUNT_ID)).ok_or(Reason::TokenInvalid)
    }

    /// The token's expiry, in seconds since 1970, as the unverified token says; `None` for an API key.
    pub(crate) fn expires_at(&self) -> Option<i64> {
        self.expires_at
    }

    /// Fixes the account, so that a change of the default account has no effect.
    pub(crate) fn in_account(mut self, account_id: Uuid) -> Self {
        self.account = account_id.to_string().parse().ok();
        self
    }

    /// The headers of a call with these credentials.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = |value: &MetadataValue<Ascii>| HeaderValue::from_bytes(value.as_bytes()).ok();
        headers.extend(value(&self.authorization).map(|value| (AUTHORIZATION, value)));
        headers.extend(self.account.as_ref().and_then(value).map(|value| (X_ACCOUNT_ID, value)));
        headers
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        if let Some(account) = &self.account {
            request.metadata_mut().insert("x-account-id", account.clone());
        }
        propagation::inject(request.metadata_mut());
        request.set_timeout(LOOKUP_TIMEOUT);
        request
    }
}

/// Who a subscriber is, by verified credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user.
    pub(crate) user_id: Uuid,
    /// The account that they act in.
    pub(crate) account_id: Uuid,
    /// The session of the token; nil with an API key.
    pub(crate) session_id: Uuid,
    /// The API key.
    pub(crate) key_id: Option<Uuid>,
    /// Whether they signed in with two factors.
    pub(crate) has_second_factor: bool,
}

/// A subscriber with verified credentials.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identified {
    /// Who they are.
    pub(crate) identity: Identity,
    /// Their role in the account, as tenancy said at most a second ago.
    pub(super) role: Role,
    /// Expiry of the token or of the API key, in seconds since 1970.
    pub(crate) expires_at: Option<i64>,
}

impl Identified {
    /// When the credentials expire, on the clock of timers.
    pub(crate) fn expires(&self) -> Option<tokio::time::Instant> {
        let left = self.expires_at? - Clock::system().now().timestamp();
        Some(tokio::time::Instant::now() + Duration::from_secs(u64::try_from(left).unwrap_or_default()))
    }
}

impl Identity {
    /// Whether they may act in the account at all.
    pub(super) fn is_admitted(&self, hierarchy: &Hierarchy) -> bool {
        hierarchy.role(self.user_id).is_some()
            && !hierarchy.is_suspended
            && (self.has_second_factor || !hierarchy.second_factor_required)
    }
}

/// Why access was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessError {
    /// A service denied it, for this reason.
    Denied(Reason),
    /// No service could decide it.
    Unavailable,
}

impl From<Reason> for AccessError {
    fn from(reason: Reason) -> Self {
        match reason.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::ResourceExhausted => {
                tracing::debug!(%reason, "cannot check the access of a subscriber");
                Self::Unavailable
            }
            _ => Self::Denied(reason),
        }
    }
}

impl From<AccessError> for Reason {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Denied(reason) => reason,
            AccessError::Unavailable => Self::Unavailable,
        }
    }
}

/// The services that authenticate and authorize.
pub(super) struct Authorizer {
    /// Remembers sessions and memberships for a second.
    access: AccessLayer,
    /// Asks about sessions and keys each time.
    uncached: AccessLayer,
    tenancy: Tenancy<Upstream>,
    tokens: ServiceTokens<Upstream>,
    tasks: TaskServiceClient<Upstream>,
    comments: CommentServiceClient<Upstream>,
    users: UserServiceClient<Upstream>,
}

impl Authorizer {
    /// # Errors
    /// If an RPC of the contract has no access rule.
    pub(super) fn new(upstreams: Upstreams, issuer: &str, secret: Secret) -> anyhow::Result<Self> {
        let users = UserServiceClient::new(upstreams.auth.clone());
        let auth_peer = Peer::new("auth", upstreams.auth);
        let auth = Auth::new(auth_peer.clone());
        let tenancy = Tenancy::new(Peer::new("tenancy", upstreams.tenancy));
        let tokens = TokenVerifier::new(issuer, auth.clone());
        // Whatever RPC streams its response.
        let services = pool().services().map(|service| service.full_name().to_owned());
        let services: Vec<String> = services.filter(|name| name.starts_with("baton.")).collect();
        let rules = Rules::of(&services.iter().map(String::as_str).collect::<Vec<_>>())?;
        let layer =
            |identities| AccessLayer::new("gateway", rules.clone(), tokens.clone(), identities, Clock::system());
        Ok(Self {
            access: layer(IdentityCache::new(auth.clone(), tenancy.clone())),
            uncached: layer(IdentityCache::for_streams(auth, tenancy.clone())),
            tenancy,
            tokens: ServiceTokens::new(auth_peer, "gateway", secret),
            tasks: TaskServiceClient::new(upstreams.task.clone()),
            comments: CommentServiceClient::new(upstreams.task),
            users,
        })
    }

    /// Authenticates the credentials of whoever may call this RPC. A session that was closed within the last second may
    /// still count as open.
    pub(super) async fn identify(&self, credentials: &Credentials, rpc: &str) -> Result<Identified, AccessError> {
        Self::identify_by(&self.access, credentials, rpc).await
    }

    /// Authenticates credentials again, after an event about the person.
    pub(super) async fn identify_again(&self, credentials: &Credentials) -> Result<Identified, AccessError> {
        Self::identify_by(&self.uncached, credentials, WATCH).await
    }

    async fn identify_by(
        access: &AccessLayer,
        credentials: &Credentials,
        rpc: &str,
    ) -> Result<Identified, AccessError> {
        let mut attempts = Attempts(0);
        loop {
            match Self::identify_once(access, credentials, rpc).await {
                Err(AccessError::Unavailable) if attempts.retry().await => {}
                result => return result,
            }
        }
    }

    async fn identify_once(
        access: &AccessLayer,
        credentials: &Credentials,
        rpc: &str,
    ) -> Result<Identified, AccessError> {
        let principal = access.authorize(rpc, &mut credentials.headers()).await;
        let principal = principal.map_err(|error| AccessError::from(error.reason()))?;
        let key_id = match &principal.caller.credential {
            Credential::ApiKey(key) => Some(key.id),
            Credential::Session => None,
            // Services act with calls, and do not follow.
            Credential::Delegated(_) => return Err(AccessError::from(Reason::TokenInvalid)),
        };
        let identity = Identity {
            user_id: principal.user_id(),
            account_id: principal.account_id(),
            session_id: principal.caller.session_id,
            key_id,
            has_second_factor: principal.caller.has_second_factor(),
        };
        Ok(Identified { identity, role: principal.role(), expires_at: principal.caller.expires_at })
    }

    /// Who sees the task, if the caller does. The version is that of the task when it was read.
    pub(super) async fn audience(
        &self,
        credentials: &Credentials,
        task_id: Uuid,
    ) -> Result<(TaskAudience, i32), AccessError> {
        let mut attempts = Attempts(0);
        loop {
            match self.audience_once(credentials, task_id).await {
                Err(AccessError::Unavailable) if attempts.retry().await => {}
                result => return result,
            }
        }
    }

    async fn audience_once(
        &self,
        credentials: &Credentials,
        task_id: Uuid,
    ) -> Result<(TaskAudience, i32), AccessError> {
        let request = credentials.request(GetTaskRequest { id: task_id.to_string(), as_of: None });
        let response = self.tasks.clone().get_task(request).await;
        let response = response.map_err(|status| reason_of(&status).unwrap_or(Reason::Unavailable))?.into_inner();
        let task = response.task.ok_or(AccessError::Unavailable)?;
        Ok((audience_of(&task).ok_or(AccessError::Unavailable)?, task.version))
    }

    /// The content of a comment, read as somebody who follows its task; `None` if it cannot be read.
    pub(super) async fn comment(&self, credentials: &Credentials, id: &str) -> Option<LiveComment> {
        let mut request = credentials.request(GetCommentRequest { comment_id: id.to_owned() });
        request.set_timeout(COMMENT_TIMEOUT);
        let comment = self.comments.clone().get_comment(request).await.ok()?.into_inner().comment?;
        let Comment { author_id, body, parent_id, version, .. } = comment;
        Some(LiveComment { author_id, body, parent_id, version })
    }

    /// Whether a person wants others to see that they are here: unless their preference `presence` is false.
    pub(super) async fn may_be_seen(&self, credentials: &Credentials) -> bool {
        let user = self.users.clone().get_me(credentials.request(GetMeRequest {})).await;
        let preferences = user.ok().and_then(|response| response.into_inner().user?.preferences);
        let presence = preferences.and_then(|preferences| preferences.fields.get("presence")?.kind.clone());
        presence != Some(Kind::BoolValue(false))
    }

    /// The hierarchy of an account; empty for one that does not exist any more.
    pub(super) async fn hierarchy(&self, account_id: Uuid) -> Result<Hierarchy, AccessError> {
        match self.tenancy.hierarchy(&self.tokens, account_id).await {
            Ok(hierarchy) => Ok(hierarchy.unwrap_or_default()),
            Err(error) => {
                tracing::warn!(%error, account.id = %account_id, "cannot read the hierarchy of an account");
                Err(AccessError::Unavailable)
            }
        }
    }
}

fn audience_of(task: &Task) -> Option<TaskAudience> {
    TaskAudience::of(task.visibility(), &task.created_by, task.assigned_to.as_deref().unwrap_or_default())
}

/// Counts attempts while a service is unavailable.
struct Attempts(u32);

impl Attempts {
    /// Waits before the next attempt; `false` after the last.
    async fn retry(&mut self) -> bool {
        self.0 += 1;
        if self.0 >= MAX_ATTEMPTS {
            return false;
        }
        tokio::time::sleep(RETRY_DELAY * 2u32.pow(self.0 - 1)).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_credentials_are_refused_without_a_lookup() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"exp":7,"sub":"x"}"#);
        let credentials = Credentials::new(&format!("e30.{payload}.c2ln"), Some("a")).unwrap();
        assert_eq!(credentials.expires_at(), Some(7));
        let newline = format!("e30.{payload}.c2\nln");
        for bad in ["", "a.b.c", "e30.e30.e30", "..", newline.as_str()] {
            assert!(Credentials::new(bad, None).is_none(), "{bad:?}");
        }
        assert!(Credentials::new(&format!("e30.{payload}.c2ln"), Some("a\nb")).is_none());
    }
}
