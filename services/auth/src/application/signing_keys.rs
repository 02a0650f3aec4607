//! Signing keys for tokens: Ed25519 (RFC 8037), sealed in the database. Every instance loads the same keys.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context as _;
use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::{
    Claims, DelegatedClaims, DelegationSource,
    token::{
        AUDIENCE, Actor, DELEGATED_TTL_SECONDS, DELEGATED_TYPE, KeySource, SERVICE_TYPE, ServiceClaims,
        service_audience,
    },
};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::JsonWebKey;
use baton_runtime::{Cause, Clock};
use baton_sealing::Sealer;
use baton_store::{Db, Tenant};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    key_rotation::{self, KeyState, PUBLISH_LEAD},
    service_credentials::SERVICE_TOKEN_TTL_SECONDS,
    sessions::ACCESS_TOKEN_TTL_SECONDS,
    store::signing_key::{self, StoredSigningKey},
};

/// The signing keys. Clones share them.
#[derive(Clone)]
pub(crate) struct SigningKeys(Arc<Inner>);

struct Inner {
    db: Db,
    sealer: Sealer,
    issuer: String,
    rotation_interval: TimeDelta,
    keys: RwLock<Arc<[SigningKey]>>,
}

struct SigningKey {
    signer: EncodingKey,
    public: JsonWebKey,
    signs_from: DateTime<Utc>,
}

/// A signing key, as listed for operators.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// Key id.
    pub kid: String,
    /// Its state now.
    pub state: KeyState,
    /// When it begins, or began, to sign.
    pub signs_from: DateTime<Utc>,
}

/// The contents of a delegated token.
pub(crate) struct NewDelegatedToken {
    pub(crate) audience: String,
    pub(crate) user_id: Uuid,
    pub(crate) act: Actor,
    pub(crate) account_id: Uuid,
    pub(crate) scopes: Vec<String>,
    pub(crate) source: DelegationSource,
    pub(crate) cause: Option<Cause>,
    /// Latest expiry, Unix time in seconds.
    pub(crate) expires_at: Option<i64>,
}

/// A signed delegated token.
pub(crate) struct DelegatedToken {
    pub(crate) text: String,
    /// Seconds until it expires.
    pub(crate) expires_in: i32,
}

impl SigningKeys {
    /// Keys of the database, with a new one every `rotation_interval`. There are none before the first
    /// [`SigningKeys::refresh`].
    pub(crate) fn new(db: Db, sealer: Sealer, issuer: &str, rotation_interval: TimeDelta) -> Self {
        let issuer = issuer.to_owned();
        Self(Arc::new(Inner { db, sealer, issuer, rotation_interval, keys: RwLock::new(Arc::new([])) }))
    }

    /// Creates the key that is due, deletes keys whose tokens have all expired, and loads the rest. Any
    /// number of instances may run it: a lock decides.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let stored = self.load_stored().await?;
        let now = self.0.db.clock().now();
        let signs_from: Vec<_> = stored.iter().map(|key| key.signs_from).collect();
        let old_seal = stored.iter().any(|key| !self.0.sealer.is_current(&key.sealed));
        let due = key_rotation::next_start(signs_from.last().copied(), now, self.0.rotation_interval).is_some();
        if due || old_seal || key_rotation::expired_count(&signs_from, now) > 0 {
            self.update(|newest, now| key_rotation::next_start(newest, now, self.0.rotation_interval)).await?;
        }
        self.load().await
    }

    /// Creates the next key now, unless one is already waiting. It signs after [`PUBLISH_LEAD`].
    pub(crate) async fn rotate(&self) -> Result<()> {
        self.update(|newest, now| match newest {
            Some(newest) => (newest <= now).then(|| now + PUBLISH_LEAD),
            None => Some(now),
        })
        .await
    }

    /// Creates a key if `due` returns a start time, deletes expired keys and reseals outdated ones. It runs under a
    /// lock and decides anew, since another instance may have been faster.
    async fn update(&self, due: impl Fn(Option<DateTime<Utc>>, DateTime<Utc>) -> Option<DateTime<Utc>>) -> Result<()> {
        let mut tx = self.0.db.begin(Tenant::NONE).await?;
        signing_key::lock(&mut tx).await?;
        let mut stored = signing_key::list(&mut tx).await?;
        let now = self.0.db.clock().now();
        let signs_from: Vec<_> = stored.iter().map(|key| key.signs_from).collect();
        let expired: Vec<_> =
            stored.drain(..key_rotation::expired_count(&signs_from, now)).map(|key| key.kid).collect();
        if !expired.is_empty() {
            signing_key::delete(&mut tx, &expired).await?;
            tracing::info!(?expired, "deleted signing keys whose tokens have all expired");
        }
        let mut resealed = (Vec::new(), Vec::new());
        for key in stored.iter().filter(|key| !self.0.sealer.is_current(&key.sealed)) {
            let private = self.unseal(key).map_err(Error::internal)?;
            resealed.0.push(key.kid.clone());
            resealed.1.push(self.0.sealer.seal(&seal_context(&key.kid), &private).map_err(Error::internal)?);
        }
        if !resealed.0.is_empty() {
            signing_key::update_sealed(&mut tx, &resealed.0, &resealed.1).await?;
        }
        if let Some(signs_from) = due(signs_from.last().copied(), now) {
            let key = self.generate(now, signs_from).map_err(Error::internal)?;
            signing_key::insert(&mut tx, &key).await?;
            tracing::info!(kid = key.kid, %signs_from, "created a signing key");
        }
        tx.commit().await
    }

    fn generate(&self, created_at: DateTime<Utc>, signs_from: DateTime<Utc>) -> anyhow::Result<StoredSigningKey> {
        let private = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())?;
        let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).ok().context("the generated key is invalid")?;
        let public_key = pair.public_key().as_ref().to_vec();
        let kid = jwk(&public_key).kid;
        let sealed = self.0.sealer.seal(&seal_context(&kid), private.as_ref())?;
        Ok(StoredSigningKey { kid, public_key, sealed, created_at, signs_from })
    }

    fn unseal(&self, key: &StoredSigningKey) -> anyhow::Result<Vec<u8>> {
        self.0.sealer.open(&seal_context(&key.kid), &key.sealed).with_context(|| format!("signing key {}", key.kid))
    }

    async fn load_stored(&self) -> Result<Vec<StoredSigningKey>> {
        let mut tx = self.0.db.begin_read(Tenant::NONE).await?;
        signing_key::list(&mut tx).await
    }

    async fn load(&self) -> Result<()> {
        let keys: anyhow::Result<Vec<_>> = self
            .load_stored()
            .await?
            .into_iter()
            .map(|key| {
                let signer = EncodingKey::from_ed_der(&self.unseal(&key)?);
                Ok(SigningKey { signer, public: jwk(&key.public_key), signs_from: key.signs_from })
            })
            .collect();
        let keys = keys.map_err(Error::internal)?;
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(())
    }

    /// Whether no keys are loaded yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys().is_empty()
    }

    fn keys(&self) -> Arc<[SigningKey]> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Signs an access token for a session that was opened by these methods (RFC 8176).
    pub(crate) fn sign_access_token(
        &self,
        clock: &Clock,
        user_id: Uuid,
        session_id: Uuid,
        amr: Vec<String>,
    ) -> Result<String> {
        let iat = clock.now().timestamp();
        let claims = Claims {
            iss: self.0.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: user_id,
            sid: session_id,
            amr,
            exp: iat + i64::from(ACCESS_TOKEN_TTL_SECONDS),
            iat,
            jti: clock.new_id(),
        };
        self.sign_claims("JWT", &claims)
    }

    /// Signs a token with which one service calls another.
    pub(crate) fn sign_service_token(&self, service: &str, audience: &str) -> Result<String> {
        let clock = self.0.db.clock();
        let iat = clock.now().timestamp();
        let claims = ServiceClaims {
            iss: self.0.issuer.clone(),
            aud: service_audience(audience),
            sub: service.to_owned(),
            exp: iat + i64::from(SERVICE_TOKEN_TTL_SECONDS),
            iat,
            jti: clock.new_id(),
        };
        self.sign_claims(SERVICE_TYPE, &claims)
    }

    /// Signs a token with which a service acts for a user.
    pub(crate) fn sign_delegated_token(&self, token: NewDelegatedToken) -> Result<DelegatedToken> {
        let clock = self.0.db.clock();
        let iat = clock.now().timestamp();
        let exp = iat + i64::from(DELEGATED_TTL_SECONDS);
        let exp = token.expires_at.map_or(exp, |latest| latest.min(exp));
        // Verifiers tolerate a token that has just expired; it is exchanged for nothing.
        if exp <= iat {
            return Err(Reason::TokenInvalid.into());
        }
        let claims = DelegatedClaims {
            iss: self.0.issuer.clone(),
            aud: service_audience(&token.audience),
            sub: token.user_id,
            act: token.act,
            account_id: token.account_id,
            scope: token.scopes.join(" "),
            source: token.source,
            cause: token.cause,
            exp,
            iat,
            jti: clock.new_id(),
        };
        let expires_in = i32::try_from(exp - iat).unwrap_or_default();
        Ok(DelegatedToken { text: self.sign_claims(DELEGATED_TYPE, &claims)?, expires_in })
    }

    fn sign_claims(&self, typ: &str, claims: &impl Serialize) -> Result<String> {
        let keys = self.keys();
        let key = current(&keys, self.0.db.clock().now()).ok_or_else(|| Error::from(Reason::Unavailable))?;
        let (kid, typ) = (Some(key.public.kid.clone()), Some(typ.to_owned()));
        let header = Header { kid, typ, ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &key.signer).map_err(Error::internal)
    }

    /// Returns the public keys; the current signing key comes first.
    ///
    /// # Errors
    /// UNAVAILABLE before the keys are loaded.
    pub(crate) fn public_keys(&self) -> Result<Vec<JsonWebKey>> {
        let keys = self.keys();
        let first = current(&keys, self.0.db.clock().now()).ok_or_else(|| Error::from(Reason::Unavailable))?;
        let others = keys.iter().filter(|key| key.public.kid != first.public.kid);
        Ok(std::iter::once(first).chain(others).map(|key| key.public.clone()).collect())
    }

    /// Returns all keys with their states.
    pub(crate) async fn list(&self) -> Result<Vec<KeyInfo>> {
        let stored = self.load_stored().await?;
        let now = self.0.db.clock().now();
        let signs_from: Vec<_> = stored.iter().map(|key| key.signs_from).collect();
        let info = |(index, key): (usize, StoredSigningKey)| KeyInfo {
            kid: key.kid,
            state: key_rotation::state(&signs_from, index, now),
            signs_from: key.signs_from,
        };
        Ok(stored.into_iter().enumerate().map(info).collect())
    }
}

fn current(keys: &[SigningKey], now: DateTime<Utc>) -> Option<&SigningKey> {
    let signs_from: Vec<_> = keys.iter().map(|key| key.signs_from).collect();
    keys.get(key_rotation::signing_index(&signs_from, now)?)
}

#[async_trait]
impl KeySource for SigningKeys {
    async fn fetch(&self) -> Result<Vec<JsonWebKey>> {
        // Another instance may have just created the unknown key.
        self.load().await?;
        self.public_keys()
    }
}

/// Context in which a private key is sealed.
fn seal_context(kid: &str) -> String {
    format!("signing_key:{kid}")
}

fn jwk(public: &[u8]) -> JsonWebKey {
    let x = URL_SAFE_NO_PAD.encode(public);
    // The key id is the thumbprint (RFC 7638), so every instance computes the same.
    let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
    JsonWebKey {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x,
        kid: URL_SAFE_NO_PAD.encode(thumbprint),
        alg: "EdDSA".to_owned(),
        r#use: "sig".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_id_is_the_thumbprint_of_rfc_8037() {
        // RFC 8037, appendices A.2 and A.3.
        let public = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(jwk(&public).kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
