//! Tokens: JWTs (RFC 7519) signed with EdDSA (RFC 8037), verified with the JWKS of auth. Access tokens belong to users;
//! service tokens authorize the `service_only` RPCs of the one service that they name; delegated tokens let one service
//! act for a user, at one other service (RFC 8693, section 4.1).

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::JsonWebKey;
use baton_runtime::Cause;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header, get_current_timestamp};
use moka::sync::Cache;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use uuid::Uuid;

/// The audience of access tokens.
pub const AUDIENCE: &str = "baton";
/// The `typ` of service tokens (RFC 8725, section 3.11), so that neither kind is accepted in place of the other.
pub const SERVICE_TYPE: &str = "service+jwt";
/// The `typ` of delegated tokens.
pub const DELEGATED_TYPE: &str = "delegated+jwt";
/// Lifetime of a delegated token, in seconds.
pub const DELEGATED_TTL_SECONDS: i32 = 60;
/// The `typ` of access tokens. A token without one is an access token too.
const ACCESS_TYPE: &str = "JWT";
/// Tolerated clock difference, in seconds.
const LEEWAY_SECONDS: u64 = 5;
/// Minimum time between two fetches of the JWKS because of unknown key ids.
const REFETCH_INTERVAL: Duration = Duration::from_secs(10);
/// Minimum time before a new fetch after a failed one.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Age at which keys are refreshed in the background. Auth publishes a key for longer than this before it signs with
/// it.
pub const REFRESHED_AFTER: Duration = Duration::from_secs(300);
/// Maximum age of keys.
const MAX_KEY_AGE: Duration = Duration::from_secs(900);
/// Capacity of the cache of verified tokens. Signature verification is the most expensive part of identifying a caller.
const CACHE_CAPACITY: u64 = 50_000;

/// Claims of an access token: identity only. Roles are looked up per call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Audience: [`AUDIENCE`].
    pub aud: String,
    /// The user.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// Authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// Expiry, Unix time in seconds.
    pub exp: i64,
    /// Time of issue, Unix time in seconds.
    pub iat: i64,
    /// Id of the token.
    pub jti: Uuid,
}

/// Claims of a service token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceClaims {
    /// Issuer.
    pub iss: String,
    /// The service to call, see [`service_audience`].
    pub aud: String,
    /// Name of the calling service.
    pub sub: String,
    /// Expiry, Unix time in seconds.
    pub exp: i64,
    /// Time of issue, Unix time in seconds.
    pub iat: i64,
    /// Id of the token.
    pub jti: Uuid,
}

/// Claims of a delegated token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedClaims {
    /// Issuer.
    pub iss: String,
    /// The one service to call, see [`service_audience`].
    pub aud: String,
    /// The user for whom the service acts.
    pub sub: Uuid,
    /// The service that acts.
    pub act: Actor,
    /// The account in which it acts.
    pub account_id: Uuid,
    /// Scopes, separated by spaces (RFC 8693, section 4.2).
    pub scope: String,
    /// The right that the token depends on, and ends with.
    #[serde(flatten)]
    pub source: DelegationSource,
    /// The cause of the action, if the service named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Expiry, Unix time in seconds.
    pub exp: i64,
    /// Time of issue, Unix time in seconds.
    pub iat: i64,
    /// Id of the token.
    pub jti: Uuid,
}

/// The `act` claim (RFC 8693, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Name of the service.
    pub sub: String,
    /// The service that acted before it, and whose token it exchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Self>>,
}

/// The right that a delegated token depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DelegationSource {
    /// A grant that the user made.
    #[serde(rename = "grant_id")]
    Grant(Uuid),
    /// The session whose access token was exchanged.
    #[serde(rename = "sid")]
    Session(Uuid),
    /// The API key that was exchanged.
    #[serde(rename = "api_key_id")]
    ApiKey(Uuid),
}

/// A verified token of a user.
#[derive(Debug, Clone)]
pub enum UserToken {
    /// An access token of a session.
    Access(Arc<Claims>),
    /// A token with which a service acts for the user. The caller of [`TokenVerifier::verify_user`] checks its audience.
    Delegated(Arc<DelegatedClaims>),
}

impl UserToken {
    fn expires_at(&self) -> i64 {
        match self {
            Self::Access(claims) => claims.exp,
            Self::Delegated(claims) => claims.exp,
        }
    }
}

/// The three kinds of tokens, by their `typ`, so that none is accepted in place of another (RFC 8725, section 3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenType {
    Access,
    Service,
    Delegated,
}

impl TokenType {
    fn of(header: &Header) -> Option<Self> {
        match header.typ.as_deref() {
            Some(SERVICE_TYPE) => Some(Self::Service),
            Some(DELEGATED_TYPE) => Some(Self::Delegated),
            None => Some(Self::Access),
            Some(typ) => typ.eq_ignore_ascii_case(ACCESS_TYPE).then_some(Self::Access),
        }
    }
}

/// The audience of service tokens for this service.
pub fn service_audience(service: &str) -> String {
    format!("{AUDIENCE}/{service}")
}

/// A source of public keys.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// The current keys, recent keys, and keys that will sign soon.
    async fn fetch(&self) -> Result<Vec<JsonWebKey>>;
}

/// Verifies tokens. Clones share the keys.
#[derive(Clone)]
pub struct TokenVerifier(Arc<Inner>);

struct Inner {
    source: Box<dyn KeySource>,
    access: Validation,
    /// Rules for delegated tokens, whose audience is checked afterwards.
    delegated: Validation,
    keys: RwLock<Keys>,
    /// By the SHA-256 of all of the token.
    verified: Cache<[u8; 32], Verified>,
    last_fetch: Mutex<Option<Fetch>>,
    refreshing: AtomicBool,
}

/// A verified token, and its key.
#[derive(Clone)]
struct Verified {
    kid: String,
    key: Arc<DecodingKey>,
    token: UserToken,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, Arc<DecodingKey>>,
    fetched: Option<Instant>,
}

struct Fetch {
    at: Instant,
    failed: bool,
}

impl TokenVerifier {
    /// Verifies tokens of `issuer` with the keys of `source`, which are fetched on first use.
    pub fn new(issuer: &str, source: impl KeySource + 'static) -> Self {
        // EdDSA only: neither `none` nor an HMAC with a public key as its secret is accepted.
        let mut access = Validation::new(Algorithm::EdDSA);
        access.set_audience(&[AUDIENCE]);
        access.set_issuer(&[issuer]);
        access.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        access.validate_nbf = true;
        access.leeway = LEEWAY_SECONDS;
        let mut delegated = access.clone();
        delegated.validate_aud = false;
        Self(Arc::new(Inner {
            source: Box::new(source),
            access,
            delegated,
            keys: RwLock::default(),
            // Each look at the JWKS makes new keys, by which nothing is verified yet.
            verified: Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(REFRESHED_AFTER).build(),
            last_fetch: Mutex::new(None),
            refreshing: AtomicBool::new(false),
        }))
    }

    /// The claims of a valid access token.
    ///
    /// # Errors
    /// TOKEN_INVALID; UNAVAILABLE if the keys cannot be fetched.
    pub async fn verify(&self, token: &str) -> Result<Arc<Claims>> {
        match self.verify_user(token).await? {
            UserToken::Access(claims) => Ok(claims),
            UserToken::Delegated(_) => Err(Reason::TokenInvalid.into()),
        }
    }

    /// The claims of a valid access token or delegated token.
    ///
    /// # Errors
    /// TOKEN_INVALID; UNAVAILABLE if the keys cannot be fetched.
    pub async fn verify_user(&self, token: &str) -> Result<UserToken> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(Verified { kid, key, token }) = self.0.verified.get(&hash) {
            let same = self.key(&kid).await?.is_some_and(|now| Arc::ptr_eq(&now, &key));
            if same && !is_expired(token.expires_at(), get_current_timestamp()) {
                return Ok(token);
            }
        }
        let header = header(token)?;
        let (kid, key, verified) = match TokenType::of(&header) {
            Some(TokenType::Access) => {
                let (kid, key, claims) = self.claims(token, header, &self.0.access).await?;
                (kid, key, UserToken::Access(Arc::new(claims)))
            }
            Some(TokenType::Delegated) => {
                let (kid, key, claims) = self.claims(token, header, &self.0.delegated).await?;
                (kid, key, UserToken::Delegated(Arc::new(claims)))
            }
            Some(TokenType::Service) | None => return Err(Reason::TokenInvalid.into()),
        };
        self.0.verified.insert(hash, Verified { kid, key, token: verified.clone() });
        Ok(verified)
    }

    /// The claims of a valid service token for calls to `service`.
    ///
    /// # Errors
    /// TOKEN_INVALID; UNAVAILABLE if the keys cannot be fetched.
    pub async fn verify_service(&self, token: &str, service: &str) -> Result<ServiceClaims> {
        let mut validation = self.0.access.clone();
        validation.set_audience(&[service_audience(service)]);
        let header = header(token)?;
        if TokenType::of(&header) != Some(TokenType::Service) {
            return Err(Reason::TokenInvalid.into());
        }
        Ok(self.claims(token, header, &validation).await?.2)
    }

    /// Verifies a token. Returns the id of its key, the key, and the claims.
    async fn claims<T: DeserializeOwned>(
        &self,
        token: &str,
        header: Header,
        rules: &Validation,
    ) -> Result<(String, Arc<DecodingKey>, T)> {
        // `jwk`, `jku`, `x5u` and the like are ignored: the key comes from our JWKS by its id. Critical extensions are
        // refused (RFC 7515, section 4.1.11).
        if header.alg != Algorithm::EdDSA || header.crit.is_some() {
            return Err(Reason::TokenInvalid.into());
        }
        let kid = header.kid.ok_or_else(|| Error::from(Reason::TokenInvalid))?;
        let key = self.key(&kid).await?.ok_or_else(|| Error::from(Reason::TokenInvalid))?;
        let claims = decode::<T>(token, &key, rules).map_err(invalid)?.claims;
        Ok((kid, key, claims))
    }

    async fn key(&self, kid: &str) -> Result<Option<Arc<DecodingKey>>> {
        let (known, age) = self.known(kid);
        if age > REFRESHED_AFTER && known.is_some() && !self.0.refreshing.swap(true, Ordering::AcqRel) {
            let verifier = self.clone();
            tokio::spawn(async move {
                // The source logs a failure; the next call tries again.
                let _ = verifier.fetch(&mut *verifier.0.last_fetch.lock().await).await;
                verifier.0.refreshing.store(false, Ordering::Release);
            });
        }
        if known.is_some() {
            return Ok(known);
        }
        // One fetch for all waiting calls; a later call finds its result or a recent miss. Calls with known keys do not
        // come here, so a flood of unknown ids delays only itself.
        let mut last = self.0.last_fetch.lock().await;
        if let (Some(key), _) = self.known(kid) {
            return Ok(Some(key));
        }
        match &*last {
            Some(Fetch { at, failed: true }) if at.elapsed() < RETRY_DELAY => {
                return Err(Reason::Unavailable.into());
            }
            Some(Fetch { at, failed: false }) if at.elapsed() < REFETCH_INTERVAL => return Ok(None),
            _ => {}
        }
        self.fetch(&mut last).await?;
        Ok(self.known(kid).0)
    }

    /// The key with this id, if it is known and not too old; and the age of the keys.
    fn known(&self, kid: &str) -> (Option<Arc<DecodingKey>>, Duration) {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        let age = keys.fetched.map_or(Duration::MAX, |fetched| fetched.elapsed());
        (keys.by_id.get(kid).filter(|_| age < MAX_KEY_AGE).cloned(), age)
    }

    async fn fetch(&self, last: &mut Option<Fetch>) -> Result<()> {
        let fetched = self.0.source.fetch().await;
        *last = Some(Fetch { at: Instant::now(), failed: fetched.is_err() });
        let by_id = fetched?
            .iter()
            .filter(|key| key.kty == "OKP" && key.crv == "Ed25519")
            .filter_map(|key| Some((key.kid.clone(), Arc::new(DecodingKey::from_ed_components(&key.x).ok()?))))
            .collect();
        let keys = Keys { by_id, fetched: Some(Instant::now()) };
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }
}

/// The header of a token, not verified yet.
fn header(token: &str) -> Result<Header> {
    decode_header(token).map_err(invalid)
}

fn invalid(error: jsonwebtoken::errors::Error) -> Error {
    Error::from(Reason::TokenInvalid).with_source(error)
}

/// Whether a token with this `exp` has expired, by the rule of [`Validation`].
fn is_expired(exp: i64, now: u64) -> bool {
    exp.saturating_add_unsigned(LEEWAY_SECONDS) < now.cast_signed()
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenVerifier").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
