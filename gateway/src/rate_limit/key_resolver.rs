//! Decides which quota a request uses.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use baton_access::{ACCOUNT_HEADER, ApiKey, Rule, TokenVerifier, limits};
use baton_clients::{Auth, Peer};
use baton_errors::{Reason, reason_of};
use baton_proto::baton::{
    auth::v1::{CheckSessionRequest, auth_service_client::AuthServiceClient},
    tenancy::v1::{ResolveMembershipRequest, member_service_client::MemberServiceClient},
};
use baton_runtime::propagation;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use moka::future::Cache;
use sha2::{Digest, Sha256};
use tonic::{Request, Status, metadata::MetadataValue};
use uuid::Uuid;

use crate::{
    admission::CallerKey,
    config::Config,
    headers::X_ACCOUNT_ID,
    upstream::{Upstream, Upstreams},
};

/// How long the quota of a token is cached: a new tier or membership takes effect after this.
const CACHE_TTL: Duration = Duration::from_secs(10);
const MAX_CACHE_ENTRIES: u64 = 100_000;
/// Timeout of a lookup at auth or tenancy.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The quota of a request, and its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RateLimitKey {
    /// The kind of quota: `account`, `user` or `address`. Sent as the policy's name.
    pub(super) policy: &'static str,
    /// Key of the counter in Redis.
    pub(super) redis_key: String,
    /// Requests per hour; `None` for unlimited.
    pub(super) limit: Option<u32>,
    /// The caller, for admission control.
    pub(super) caller: CallerKey,
    /// The account of the call.
    pub(super) account: Option<Uuid>,
    /// Members that the account may have by its tier; `None` for any number.
    pub(super) max_users: Option<u32>,
}

/// Resolves tokens to quotas.
pub(super) struct KeyResolver {
    tokens: TokenVerifier,
    auth: AuthServiceClient<Upstream>,
    tenancy: MemberServiceClient<Upstream>,
    /// By hash of the token, and of the account if its quota is used; `None` for an invalid token.
    cache: Cache<[u8; 32], Option<RateLimitKey>>,
    anonymous_limit: u32,
    user_limit: u32,
}

/// The kind of quota to look up for a token.
#[derive(Clone, Copy)]
enum QuotaSubject {
    /// The user's: the RPC ignores the account.
    User,
    /// This account's, or that of the caller's default account.
    Account(Option<Uuid>),
}

/// Why a token has no quota.
enum LookupError {
    NotAMember,
    InvalidToken,
    Unavailable,
}

impl KeyResolver {
    pub(super) fn new(config: &Config, upstreams: &Upstreams) -> Result<Self> {
        let auth = upstreams.get("auth")?;
        Ok(Self {
            tokens: TokenVerifier::new(&config.issuer, Auth::new(Peer::new("auth", auth.clone()))),
            auth: AuthServiceClient::new(auth),
            tenancy: MemberServiceClient::new(upstreams.get("tenancy")?),
            cache: Cache::builder().max_capacity(MAX_CACHE_ENTRIES).time_to_live(CACHE_TTL).build(),
            anonymous_limit: config.requests_per_hour_anonymous,
            user_limit: config.requests_per_hour_user,
        })
    }

    /// Returns the quota of a request, by the access rule of its RPC. Only tokens and headers that services use for
    /// this RPC decide it; otherwise a client could choose the quota by adding an ignored header or token.
    pub(super) async fn resolve(
        &self,
        rule: Option<Rule>,
        headers: &HeaderMap,
        account: Option<&str>,
        network: Option<IpAddr>,
    ) -> RateLimitKey {
        let key = match rule {
            // The account of the path, or else of the header.
            Some(Rule::Permission(_)) => {
                let account = account.or_else(|| headers.get(X_ACCOUNT_ID)?.to_str().ok());
                let account = account.and_then(|account| account.parse().ok());
                self.by_token(headers, QuotaSubject::Account(account)).await
            }
            Some(Rule::Authenticated | Rule::Operator) => self.by_token(headers, QuotaSubject::User).await,
            // No sign-in, or not callable by clients.
            Some(Rule::Public | Rule::ServiceOnly) | None => None,
        };
        key.unwrap_or_else(|| self.address_key(network))
    }

    /// The quota of an address.
    pub(super) fn address_key(&self, network: Option<IpAddr>) -> RateLimitKey {
        let text = network.map(|network| network.to_string()).unwrap_or_default();
        RateLimitKey {
            policy: "address",
            redis_key: format!("baton:requests:address:{text}"),
            limit: Some(self.anonymous_limit),
            caller: CallerKey::Address(network),
            account: None,
            max_users: None,
        }
    }

    fn user_key(&self, id: Uuid) -> RateLimitKey {
        RateLimitKey {
            policy: "user",
            redis_key: format!("baton:requests:user:{id}"),
            limit: Some(self.user_limit),
            caller: CallerKey::User(id),
            account: None,
            max_users: None,
        }
    }

    /// Returns the quota of the request's token. `None` without a token, and for a token that auth did not issue:
    /// made-up tokens use the address's quota.
    async fn by_token(&self, headers: &HeaderMap, subject: QuotaSubject) -> Option<RateLimitKey> {
        let authorization = headers.get(AUTHORIZATION)?;
        let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let hash = Sha256::new().chain_update(token);
        let hash: [u8; 32] = match subject {
            QuotaSubject::User => hash.finalize().into(),
            QuotaSubject::Account(account) => {
                hash.chain_update(b" ").chain_update(account.unwrap_or_default()).finalize().into()
            }
        };
        if let Some(known) = self.cache.get(&hash).await {
            return known;
        }
        // Tokens with an invalid signature, and malformed keys, need no lookup.
        let user = if ApiKey::is_meant(token) {
            ApiKey::parse(token)?;
            self.key_owner(authorization).await
        } else {
            // A signed token belongs to a user, even if its session has ended.
            Ok(self.tokens.verify(token).await.ok()?.sub)
        };
        let key = match (user, subject) {
            (Ok(user), QuotaSubject::Account(account)) => match self.by_account(authorization, account, user).await {
                Err(LookupError::NotAMember | LookupError::InvalidToken) => Ok(self.user_key(user)),
                Err(LookupError::Unavailable) => return Some(self.user_key(user)),
                key => key,
            },
            (Ok(user), QuotaSubject::User) => Ok(self.user_key(user)),
            (Err(refused), _) => Err(refused),
        };
        let key = match key {
            Ok(key) => Some(key),
            // An unknown key uses the address's quota.
            Err(LookupError::NotAMember | LookupError::InvalidToken) => None,
            Err(LookupError::Unavailable) => return None,
        };
        self.cache.insert(hash, key.clone()).await;
        key
    }

    /// The owner of an API key: all keys of a user share the user's quota.
    async fn key_owner(&self, authorization: &HeaderValue) -> Result<Uuid, LookupError> {
        let request = request_as(authorization, CheckSessionRequest {})?;
        let response = self.auth.clone().check_session(request).await.map_err(|status| lookup_error(&status))?;
        response.into_inner().user_id.parse().map_err(|_| LookupError::Unavailable)
    }

    async fn by_account(
        &self,
        authorization: &HeaderValue,
        account: Option<Uuid>,
        user: Uuid,
    ) -> Result<RateLimitKey, LookupError> {
        let mut request = request_as(authorization, ResolveMembershipRequest {})?;
        if let Some(account) = account.and_then(|account| account.to_string().parse().ok()) {
            request.metadata_mut().insert(ACCOUNT_HEADER, account);
        }
        let response =
            self.tenancy.clone().resolve_membership(request).await.map_err(|status| lookup_error(&status))?;
        let response = response.into_inner();
        let account_id = response.account_id.parse().map_err(|_| LookupError::Unavailable)?;
        let limits = response.limits.unwrap_or_default();
        let number = |limit: Option<i32>| limit.map(|limit| u32::try_from(limit).unwrap_or_default());
        let (limit, max_users) = (number(limits.api_requests_per_hour), number(limits.users));
        Ok(RateLimitKey {
            policy: "account",
            redis_key: limits::requests_key(account_id),
            limit,
            caller: CallerKey::User(user),
            account: Some(account_id),
            max_users,
        })
    }
}

fn request_as<T>(authorization: &HeaderValue, message: T) -> Result<Request<T>, LookupError> {
    let mut request = Request::new(message);
    request.set_timeout(LOOKUP_TIMEOUT);
    let authorization = MetadataValue::try_from(authorization.as_bytes()).map_err(|_| LookupError::Unavailable)?;
    request.metadata_mut().insert("authorization", authorization);
    propagation::inject(request.metadata_mut());
    Ok(request)
}

fn lookup_error(status: &Status) -> LookupError {
    match reason_of(status) {
        Some(Reason::NotAMember) => LookupError::NotAMember,
        Some(Reason::SessionClosed | Reason::TokenInvalid | Reason::ScopeMissing) => LookupError::InvalidToken,
        _ => LookupError::Unavailable,
    }
}
