//! For whom a request counts.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
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

/// How long it is remembered for whom a token counts: a new tier or member counts from then on.
const CACHE_TTL: Duration = Duration::from_secs(10);
const MAX_CACHE_ENTRIES: u64 = 100_000;
/// A look-up that takes longer counts as none.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// What requests count for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RateLimitKey {
    /// What is limited: an account, a user, or an address.
    pub(super) policy: &'static str,
    /// The number's key in Redis.
    pub(super) redis_key: String,
    /// Requests in an hour; `None` for any number.
    pub(super) limit: Option<u32>,
    /// Whose call it is.
    pub(super) caller: CallerKey,
    /// The account that it is made in.
    pub(super) account: Option<Uuid>,
}

/// Knows keys by their tokens.
pub(super) struct KeyResolver {
    tokens: TokenVerifier,
    auth: AuthServiceClient<Upstream>,
    tenancy: MemberServiceClient<Upstream>,
    /// By token, and account where one pays; `None` for a token that is nobody's.
    cache: Cache<[u8; 32], Option<RateLimitKey>>,
    anonymous: u32,
    user: u32,
}

/// Whose number a token is looked at for.
#[derive(Clone, Copy)]
enum QuotaSubject {
    /// Its user's: no account is part of the call, whatever the headers say.
    User,
    /// That of this account, or of the caller's own when none is named.
    Account(Option<Uuid>),
}

/// Why a token counts for no account.
enum LookupError {
    NotAMember,
    InvalidCredentials,
    Unavailable,
}

impl KeyResolver {
    pub(super) fn new(config: &Config, upstreams: &Upstreams) -> Result<Self> {
        let of = |package| upstreams.get(package).with_context(|| format!("no upstream answers {package}"));
        let auth = of("baton.auth.v1")?;
        Ok(Self {
            tokens: TokenVerifier::new(&config.issuer, Auth::new(Peer::new("auth", auth.clone()))),
            auth: AuthServiceClient::new(auth),
            tenancy: MemberServiceClient::new(of("baton.tenancy.v1")?),
            cache: Cache::builder().max_capacity(MAX_CACHE_ENTRIES).time_to_live(CACHE_TTL).build(),
            anonymous: config.requests_per_hour_anonymous,
            user: config.requests_per_hour_user,
        })
    }

    /// For whom a request counts, by the rule of its RPC: only what the services go by says so. Else the client could
    /// choose, by a header or a token that nobody reads, which number pays.
    pub(super) async fn resolve(
        &self,
        rule: Option<Rule>,
        headers: &HeaderMap,
        account: Option<&str>,
        network: Option<IpAddr>,
    ) -> RateLimitKey {
        let found = match rule {
            // In the account that the path names or, without, the headers.
            Some(Rule::Permission(_)) => {
                let account = account.or_else(|| headers.get(X_ACCOUNT_ID)?.to_str().ok());
                let account = account.and_then(|account| account.parse().ok());
                self.by_token(headers, QuotaSubject::Account(account)).await
            }
            Some(Rule::Authenticated) => self.by_token(headers, QuotaSubject::User).await,
            // What nobody has to sign in for, and what is open to no client.
            Some(Rule::Public | Rule::ServiceOnly) | None => None,
        };
        found.unwrap_or_else(|| self.address(network))
    }

    /// What counts for this address, whoever calls from it.
    pub(super) fn address(&self, network: Option<IpAddr>) -> RateLimitKey {
        let text = network.map(|network| network.to_string()).unwrap_or_default();
        RateLimitKey {
            policy: "address",
            redis_key: format!("baton:requests:address:{text}"),
            limit: Some(self.anonymous),
            caller: CallerKey::Address(network),
            account: None,
        }
    }

    fn user(&self, id: Uuid) -> RateLimitKey {
        RateLimitKey {
            policy: "user",
            redis_key: format!("baton:requests:user:{id}"),
            limit: Some(self.user),
            caller: CallerKey::User(id),
            account: None,
        }
    }

    /// `None` for a request without token, and for a token that is none of ours: whoever sends others counts by
    /// address, however many they make up.
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
        // What is not signed by us, or has not the form and the checksum of a key, is asked of nobody.
        let user = if ApiKey::is_meant(token) {
            ApiKey::parse(token)?;
            self.key_owner(authorization).await
        } else {
            // A token that auth has signed is somebody's, whatever became of the session.
            Ok(self.tokens.verify(token).await.ok()?.sub)
        };
        let key = match (user, subject) {
            (Ok(user), QuotaSubject::Account(account)) => match self.by_account(authorization, account, user).await {
                Err(LookupError::NotAMember | LookupError::InvalidCredentials) => Ok(self.user(user)),
                Err(LookupError::Unavailable) => return Some(self.user(user)),
                key => key,
            },
            (Ok(user), QuotaSubject::User) => Ok(self.user(user)),
            (Err(refused), _) => Err(refused),
        };
        let key = match key {
            Ok(key) => Some(key),
            // A key that auth does not know is worth nothing.
            Err(LookupError::NotAMember | LookupError::InvalidCredentials) => None,
            Err(LookupError::Unavailable) => return None,
        };
        self.cache.insert(hash, key.clone()).await;
        key
    }

    /// Whoever made the key: all their keys share their number.
    async fn key_owner(&self, authorization: &HeaderValue) -> Result<Uuid, LookupError> {
        let request = request_as(authorization, CheckSessionRequest {})?;
        let answer = self.auth.clone().check_session(request).await.map_err(|status| lookup_error(&status))?;
        answer.into_inner().user_id.parse().map_err(|_| LookupError::Unavailable)
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
        let answer = self.tenancy.clone().resolve_membership(request).await.map_err(|status| lookup_error(&status))?;
        let answer = answer.into_inner();
        let account_id = answer.account_id.parse().map_err(|_| LookupError::Unavailable)?;
        let limit = answer.limits.and_then(|limits| limits.api_requests_per_hour);
        let limit = limit.map(|limit| u32::try_from(limit).unwrap_or_default());
        Ok(RateLimitKey {
            policy: "account",
            redis_key: limits::requests_key(account_id),
            limit,
            caller: CallerKey::User(user),
            account: Some(account_id),
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
        Some(Reason::SessionClosed | Reason::TokenInvalid | Reason::ScopeMissing) => LookupError::InvalidCredentials,
        _ => LookupError::Unavailable,
    }
}
