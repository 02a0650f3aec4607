//! Access tokens: JWTs (RFC 7519) signed with EdDSA (RFC 8037), verified by the JWKS of auth.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::JsonWebKey;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use uuid::Uuid;

/// The audience of access tokens.
pub const AUDIENCE: &str = "baton";
/// Seconds that clocks may differ.
const LEEWAY_SECONDS: u64 = 5;
/// An unknown key id leads to one look at the JWKS, and to none for this long after.
const REFETCH_AT_MOST_EVERY: Duration = Duration::from_secs(10);

/// What an access token says: identity only. Roles are looked up per call.
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
    /// How the user proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// Expiry, in seconds since 1970.
    pub exp: i64,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// Id of the token.
    pub jti: Uuid,
}

/// Where public keys come from.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// The keys that sign at present or did lately.
    async fn fetch(&self) -> Result<Vec<JsonWebKey>>;
}

/// Verifies access tokens. Clones share keys.
#[derive(Clone)]
pub struct TokenVerifier(Arc<Inner>);

struct Inner {
    source: Box<dyn KeySource>,
    validation: Validation,
    keys: std::sync::RwLock<HashMap<String, Arc<DecodingKey>>>,
    last_fetch: Mutex<Option<Instant>>,
}

impl TokenVerifier {
    /// Verifies tokens of `issuer` by the keys of `source`, which are fetched when first needed.
    pub fn new(issuer: &str, source: impl KeySource + 'static) -> Self {
        // EdDSA only: neither `none` nor an HMAC keyed with a public key is ever tried.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        Self(Arc::new(Inner {
            source: Box::new(source),
            validation,
            keys: Default::default(),
            last_fetch: Mutex::new(None),
        }))
    }

    /// The claims of a token that is valid now.
    ///
    /// # Errors
    /// TOKEN_INVALID; UNAVAILABLE when the keys cannot be fetched.
    pub async fn verify(&self, token: &str) -> Result<Claims> {
        let invalid = |e: jsonwebtoken::errors::Error| Error::from(Reason::TokenInvalid).because(e);
        let header = decode_header(token).map_err(invalid)?;
        if header.alg != Algorithm::EdDSA {
            return Err(Reason::TokenInvalid.into());
        }
        let kid = header.kid.ok_or_else(|| Error::from(Reason::TokenInvalid))?;
        let key = self.key(&kid).await?.ok_or_else(|| Error::from(Reason::TokenInvalid))?;
        Ok(decode::<Claims>(token, &key, &self.0.validation).map_err(invalid)?.claims)
    }

    async fn key(&self, kid: &str) -> Result<Option<Arc<DecodingKey>>> {
        let known = || self.0.keys.read().ok().and_then(|keys| keys.get(kid).cloned());
        if let Some(key) = known() {
            return Ok(Some(key));
        }
        // One fetch for all who wait; whoever comes after it finds its result or a recent miss.
        let mut last_fetch = self.0.last_fetch.lock().await;
        if let Some(key) = known() {
            return Ok(Some(key));
        }
        if last_fetch.is_some_and(|at| at.elapsed() < REFETCH_AT_MOST_EVERY) {
            return Ok(None);
        }
        let fetched = self.0.source.fetch().await?;
        *last_fetch = Some(Instant::now());
        let keys = fetched
            .iter()
            .filter(|key| key.kty == "OKP" && key.crv == "Ed25519")
            .filter_map(|key| Some((key.kid.clone(), Arc::new(DecodingKey::from_ed_components(&key.x).ok()?))))
            .collect();
        if let Ok(mut known) = self.0.keys.write() {
            *known = keys;
        }
        Ok(known())
    }
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenVerifier").finish_non_exhaustive()
    }
}
