//! For whom a request counts.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use baton_access::{ACCOUNT_HEADER, ApiKey, TokenVerifier, directory::RemoteAuth, limits};
use baton_errors::{Reason, reason_of};
use baton_proto::baton::{
    auth::v1::auth_service_client::AuthServiceClient,
    tenancy::v1::{ResolveMembershipRequest, member_service_client::MemberServiceClient},
};
use baton_runtime::propagation;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use moka::future::Cache;
use sha2::{Digest, Sha256};
use tonic::{Request, metadata::MetadataValue, transport::Channel};
use uuid::Uuid;

use crate::{config::Config, headers::X_ACCOUNT_ID, upstream::Upstreams};

/// How long it is remembered for whom a token counts: a new tier or member counts from then on.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
const ENTRIES: u64 = 100_000;
/// A look-up that takes longer counts as none.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What requests count for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    /// What is limited: an account, a user, or an address.
    pub(super) policy: &'static str,
    /// The number's key in Redis.
    pub(super) key: String,
    /// Requests in an hour; `None` for any number.
    pub(super) limit: Option<u32>,
}

/// Knows callers by their tokens.
pub(super) struct Callers {
    tokens: TokenVerifier,
    tenancy: MemberServiceClient<Channel>,
    /// By token and account; `None` for a token that is nobody's.
    known: Cache<[u8; 32], Option<Counted>>,
    anonymous: u32,
    user: u32,
}

/// Why a token counts for no account.
enum Refused {
    NotAMember,
    Closed,
    CannotTell,
}

impl Callers {
    pub(super) fn new(config: &Config, upstreams: &Upstreams) -> Result<Self> {
        let of = |package| upstreams.of(package).with_context(|| format!("no upstream answers {package}"));
        let auth = RemoteAuth(AuthServiceClient::new(of("baton.auth.v1")?));
        Ok(Self {
            tokens: TokenVerifier::new(&config.issuer, auth),
            tenancy: MemberServiceClient::new(of("baton.tenancy.v1")?),
            known: Cache::builder().max_capacity(ENTRIES).time_to_live(REMEMBERED_FOR).build(),
            anonymous: config.requests_per_hour_anonymous,
            user: config.requests_per_hour_user,
        })
    }

    /// For whom a request with these headers counts, in the account that its path names or, without, the headers.
    pub(super) async fn find(&self, headers: &HeaderMap, account: Option<&str>, network: Option<IpAddr>) -> Counted {
        match self.by_token(headers, account).await {
            Some(counted) => counted,
            None => {
                let network = network.map(|network| network.to_string()).unwrap_or_default();
                let key = format!("baton:requests:address:{network}");
                Counted { policy: "address", key, limit: Some(self.anonymous) }
            }
        }
    }

    /// `None` for a request without token, and for a token that is none of ours: whoever sends others counts by
    /// address, however many they make up.
    async fn by_token(&self, headers: &HeaderMap, account: Option<&str>) -> Option<Counted> {
        let authorization = headers.get(AUTHORIZATION)?;
        let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let account = account.or_else(|| headers.get(X_ACCOUNT_ID)?.to_str().ok());
        let account = account.and_then(|account| account.parse::<Uuid>().ok());
        let hash = Sha256::new().chain_update(token).chain_update(account.unwrap_or_default());
        let hash: [u8; 32] = hash.finalize().into();
        if let Some(known) = self.known.get(&hash).await {
            return known;
        }
        // What is not signed by us, or has not the form and the checksum of a key, is asked of nobody.
        let own = if ApiKey::is_meant(token) {
            let key = ApiKey::parse(token)?;
            format!("baton:requests:key:{}", hex(&key.hash()[..16]))
        } else {
            format!("baton:requests:user:{}", self.tokens.verify(token).await.ok()?.sub)
        };
        let own = Counted { policy: "user", key: own, limit: Some(self.user) };
        let counted = match self.by_account(authorization, account).await {
            Ok(counted) => Some(counted),
            Err(Refused::NotAMember) => Some(own),
            // A key that auth does not know is worth nothing; a token that auth has signed is somebody's.
            Err(Refused::Closed) => (!ApiKey::is_meant(token)).then_some(own),
            Err(Refused::CannotTell) => return (!ApiKey::is_meant(token)).then_some(own),
        };
        self.known.insert(hash, counted.clone()).await;
        counted
    }

    async fn by_account(&self, authorization: &HeaderValue, account: Option<Uuid>) -> Result<Counted, Refused> {
        let mut request = Request::new(ResolveMembershipRequest {});
        request.set_timeout(TIMEOUT);
        let authorization = MetadataValue::try_from(authorization.as_bytes()).map_err(|_| Refused::CannotTell)?;
        request.metadata_mut().insert("authorization", authorization);
        if let Some(account) = account.and_then(|account| account.to_string().parse().ok()) {
            request.metadata_mut().insert(ACCOUNT_HEADER, account);
        }
        propagation::inject(request.metadata_mut());
        let answer = self.tenancy.clone().resolve_membership(request).await;
        let answer = answer.map_err(|status| match reason_of(&status) {
            Some(Reason::NotAMember) => Refused::NotAMember,
            Some(Reason::SessionClosed | Reason::TokenInvalid | Reason::ScopeMissing) => Refused::Closed,
            _ => Refused::CannotTell,
        })?;
        let answer = answer.into_inner();
        let account_id = answer.account_id.parse().map_err(|_| Refused::CannotTell)?;
        let limit = answer.limits.and_then(|limits| limits.api_requests_per_hour);
        let limit = limit.map(|limit| u32::try_from(limit).unwrap_or_default());
        Ok(Counted { policy: "account", key: limits::requests_key(account_id), limit })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
