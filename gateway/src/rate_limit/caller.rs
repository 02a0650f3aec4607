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
    /// Whose call it is.
    pub(super) caller: CallerKey,
    /// The account that it is made in.
    pub(super) account: Option<Uuid>,
}

/// Knows callers by their tokens.
pub(super) struct Callers {
    tokens: TokenVerifier,
    auth: AuthServiceClient<Upstream>,
    tenancy: MemberServiceClient<Upstream>,
    /// By token, and account where one pays; `None` for a token that is nobody's.
    known: Cache<[u8; 32], Option<Counted>>,
    anonymous: u32,
    user: u32,
}

/// Whose number a token is looked at for.
#[derive(Clone, Copy)]
enum Pays {
    /// Its user's: no account is part of the call, whatever the headers say.
    User,
    /// That of this account, or of the caller's own when none is named.
    Account(Option<Uuid>),
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
        let auth = of("baton.auth.v1")?;
        Ok(Self {
            tokens: TokenVerifier::new(&config.issuer, Auth::new(Peer::new("auth", auth.clone()))),
            auth: AuthServiceClient::new(auth),
            tenancy: MemberServiceClient::new(of("baton.tenancy.v1")?),
            known: Cache::builder().max_capacity(ENTRIES).time_to_live(REMEMBERED_FOR).build(),
            anonymous: config.requests_per_hour_anonymous,
            user: config.requests_per_hour_user,
        })
    }

    /// For whom a request counts, by the rule of its RPC: only what the services go by says so. Else the client could
    /// choose, by a header or a token that nobody reads, which number pays.
    pub(super) async fn find(
        &self,
        rule: Option<Rule>,
        headers: &HeaderMap,
        account: Option<&str>,
        network: Option<IpAddr>,
    ) -> Counted {
        let found = match rule {
            // In the account that the path names or, without, the headers.
            Some(Rule::Permission(_)) => {
                let account = account.or_else(|| headers.get(X_ACCOUNT_ID)?.to_str().ok());
                let account = account.and_then(|account| account.parse().ok());
                self.by_token(headers, Pays::Account(account)).await
            }
            Some(Rule::Authenticated) => self.by_token(headers, Pays::User).await,
            // What nobody has to sign in for, and what is open to no client.
            Some(Rule::Public | Rule::ServiceOnly) | None => None,
        };
        found.unwrap_or_else(|| self.address(network))
    }

    /// What counts for this address, whoever calls from it.
    pub(super) fn address(&self, network: Option<IpAddr>) -> Counted {
        let text = network.map(|network| network.to_string()).unwrap_or_default();
        Counted {
            policy: "address",
            key: format!("baton:requests:address:{text}"),
            limit: Some(self.anonymous),
            caller: CallerKey::Address(network),
            account: None,
        }
    }

    fn user(&self, id: Uuid) -> Counted {
        Counted {
            policy: "user",
            key: format!("baton:requests:user:{id}"),
            limit: Some(self.user),
            caller: CallerKey::Person(id),
            account: None,
        }
    }

    /// `None` for a request without token, and for a token that is none of ours: whoever sends others counts by
    /// address, however many they make up.
    async fn by_token(&self, headers: &HeaderMap, pays: Pays) -> Option<Counted> {
        let authorization = headers.get(AUTHORIZATION)?;
        let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let hash = Sha256::new().chain_update(token);
        let hash: [u8; 32] = match pays {
            Pays::User => hash.finalize().into(),
            Pays::Account(account) => {
                hash.chain_update(b" ").chain_update(account.unwrap_or_default()).finalize().into()
            }
        };
        if let Some(known) = self.known.get(&hash).await {
            return known;
        }
        // What is not signed by us, or has not the form and the checksum of a key, is asked of nobody.
        let user = if ApiKey::is_meant(token) {
            ApiKey::parse(token)?;
            self.owner(authorization).await
        } else {
            // A token that auth has signed is somebody's, whatever became of the session.
            Ok(self.tokens.verify(token).await.ok()?.sub)
        };
        let counted = match (user, pays) {
            (Ok(user), Pays::Account(account)) => match self.by_account(authorization, account, user).await {
                Err(Refused::NotAMember | Refused::Closed) => Ok(self.user(user)),
                Err(Refused::CannotTell) => return Some(self.user(user)),
                counted => counted,
            },
            (Ok(user), Pays::User) => Ok(self.user(user)),
            (Err(refused), _) => Err(refused),
        };
        let counted = match counted {
            Ok(counted) => Some(counted),
            // A key that auth does not know is worth nothing.
            Err(Refused::NotAMember | Refused::Closed) => None,
            Err(Refused::CannotTell) => return None,
        };
        self.known.insert(hash, counted.clone()).await;
        counted
    }

    /// Whoever made the key: all their keys share their number.
    async fn owner(&self, authorization: &HeaderValue) -> Result<Uuid, Refused> {
        let request = on_behalf(authorization, CheckSessionRequest {})?;
        let answer = self.auth.clone().check_session(request).await.map_err(|status| refused(&status))?;
        answer.into_inner().user_id.parse().map_err(|_| Refused::CannotTell)
    }

    async fn by_account(
        &self,
        authorization: &HeaderValue,
        account: Option<Uuid>,
        user: Uuid,
    ) -> Result<Counted, Refused> {
        let mut request = on_behalf(authorization, ResolveMembershipRequest {})?;
        if let Some(account) = account.and_then(|account| account.to_string().parse().ok()) {
            request.metadata_mut().insert(ACCOUNT_HEADER, account);
        }
        let answer = self.tenancy.clone().resolve_membership(request).await.map_err(|status| refused(&status))?;
        let answer = answer.into_inner();
        let account_id = answer.account_id.parse().map_err(|_| Refused::CannotTell)?;
        let limit = answer.limits.and_then(|limits| limits.api_requests_per_hour);
        let limit = limit.map(|limit| u32::try_from(limit).unwrap_or_default());
        Ok(Counted {
            policy: "account",
            key: limits::requests_key(account_id),
            limit,
            caller: CallerKey::Person(user),
            account: Some(account_id),
        })
    }
}

fn on_behalf<T>(authorization: &HeaderValue, message: T) -> Result<Request<T>, Refused> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    let authorization = MetadataValue::try_from(authorization.as_bytes()).map_err(|_| Refused::CannotTell)?;
    request.metadata_mut().insert("authorization", authorization);
    propagation::inject(request.metadata_mut());
    Ok(request)
}

fn refused(status: &Status) -> Refused {
    match reason_of(status) {
        Some(Reason::NotAMember) => Refused::NotAMember,
        Some(Reason::SessionClosed | Reason::TokenInvalid | Reason::ScopeMissing) => Refused::Closed,
        _ => Refused::CannotTell,
    }
}
