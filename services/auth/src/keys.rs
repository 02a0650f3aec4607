//! Signing keys: they sign tokens and verify them, as Ed25519 (RFC 8037). They are kept sealed in the database, and
//! every instance holds the same ones.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::Context as _;
use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::{
    Claims,
    token::{AUDIENCE, KeySource, SERVICE_TYPE, ServiceClaims, service_audience},
};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::auth::v1::JsonWebKey;
use baton_runtime::{Clock, Shutdown};
use baton_sealing::Sealer;
use baton_store::{Db, Tenant};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    ring::{self, KeyState, PUBLISHED_BEFORE},
    store::signing_key::{self, StoredSigningKey},
};

/// Seconds that an access token lives.
pub(crate) const ACCESS_TOKEN_SECONDS: i32 = 900;
/// Seconds that a service token lives.
pub(crate) const SERVICE_TOKEN_SECONDS: i32 = 300;
/// How often an instance looks what keys there are, and whether it is time for another.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same while there are none yet.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The signing keys. Clones share them.
#[derive(Clone)]
pub(crate) struct SigningKeys(Arc<Inner>);

struct Inner {
    db: Db,
    sealer: Sealer,
    issuer: String,
    every: TimeDelta,
    keys: RwLock<Arc<[SigningKey]>>,
}

struct SigningKey {
    signer: EncodingKey,
    public: JsonWebKey,
    signs_from: DateTime<Utc>,
}

/// A signing key as an operator sees it.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// Its id.
    pub kid: String,
    /// What it is now.
    pub state: KeyState,
    /// When it begins, or began, to sign.
    pub signs_from: DateTime<Utc>,
}

impl SigningKeys {
    /// The keys of the database, a new one every `every`. There are none before [`SigningKeys::turn`].
    pub(crate) fn new(db: Db, sealer: Sealer, issuer: &str, every: TimeDelta) -> Self {
        let issuer = issuer.to_owned();
        Self(Arc::new(Inner { db, sealer, issuer, every, keys: RwLock::new(Arc::new([])) }))
    }

    /// Looks after the keys until the process stops. Any number of instances may: a lock decides whose word counts.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        loop {
            if let Err(error) = self.turn().await {
                tracing::warn!(%error, "cannot look after the signing keys");
            }
            let pause = if self.keys().is_empty() { RETRY_EVERY } else { LOOK_EVERY };
            tokio::select! {
                () = shutdown.stop().cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Makes the key that is due, deletes those whose tokens have all expired, and holds what there is then.
    pub(crate) async fn turn(&self) -> Result<()> {
        let stored = self.stored().await?;
        let now = self.0.db.clock().now();
        let signs_from: Vec<_> = stored.iter().map(|key| key.signs_from).collect();
        let old_seal = stored.iter().any(|key| !self.0.sealer.is_current(&key.sealed));
        let due = ring::due(signs_from.last().copied(), now, self.0.every).is_some();
        if due || old_seal || ring::ended(&signs_from, now) > 0 {
            self.change(|newest, now| ring::due(newest, now, self.0.every)).await?;
        }
        self.load().await
    }

    /// Makes another key now, unless one waits already; it signs when everybody knows it.
    pub(crate) async fn rotate(&self) -> Result<()> {
        self.change(|newest, now| match newest {
            Some(newest) => (newest <= now).then(|| now + PUBLISHED_BEFORE),
            None => Some(now),
        })
        .await
    }

    /// Makes the key for which `due` names a time, and tidies up. Under the lock: it decides again what is to be done.
    async fn change(&self, due: impl Fn(Option<DateTime<Utc>>, DateTime<Utc>) -> Option<DateTime<Utc>>) -> Result<()> {
        let mut tx = self.0.db.begin(Tenant::NONE).await?;
        signing_key::lock(&mut tx).await?;
        let mut stored = signing_key::all(&mut tx).await?;
        let now = self.0.db.clock().now();
        let signs_from: Vec<_> = stored.iter().map(|key| key.signs_from).collect();
        let ended: Vec<_> = stored.drain(..ring::ended(&signs_from, now)).map(|key| key.kid).collect();
        if !ended.is_empty() {
            signing_key::delete(&mut tx, &ended).await?;
            tracing::info!(?ended, "deleted signing keys whose tokens have all expired");
        }
        let mut resealed = (Vec::new(), Vec::new());
        for key in stored.iter().filter(|key| !self.0.sealer.is_current(&key.sealed)) {
            let private = self.open(key).map_err(Error::internal)?;
            resealed.0.push(key.kid.clone());
            resealed.1.push(self.0.sealer.seal(&place(&key.kid), &private).map_err(Error::internal)?);
        }
        if !resealed.0.is_empty() {
            signing_key::reseal(&mut tx, &resealed.0, &resealed.1).await?;
        }
        if let Some(signs_from) = due(signs_from.last().copied(), now) {
            let key = self.generate(now, signs_from).map_err(Error::internal)?;
            signing_key::add(&mut tx, &key).await?;
            tracing::info!(kid = key.kid, %signs_from, "made a signing key");
        }
        tx.commit().await
    }

    fn generate(&self, created_at: DateTime<Utc>, signs_from: DateTime<Utc>) -> anyhow::Result<StoredSigningKey> {
        let private = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())?;
        let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).ok().context("not the key that was just made")?;
        let public_key = pair.public_key().as_ref().to_vec();
        let kid = jwk(&public_key).kid;
        let sealed = self.0.sealer.seal(&place(&kid), private.as_ref())?;
        Ok(StoredSigningKey { kid, public_key, sealed, created_at, signs_from })
    }

    fn open(&self, key: &StoredSigningKey) -> anyhow::Result<Vec<u8>> {
        self.0.sealer.open(&place(&key.kid), &key.sealed).with_context(|| format!("signing key {}", key.kid))
    }

    async fn stored(&self) -> Result<Vec<StoredSigningKey>> {
        let mut tx = self.0.db.begin_read(Tenant::NONE).await?;
        signing_key::all(&mut tx).await
    }

    async fn load(&self) -> Result<()> {
        let keys: anyhow::Result<Vec<_>> = self
            .stored()
            .await?
            .into_iter()
            .map(|key| {
                let signer = EncodingKey::from_ed_der(&self.open(&key)?);
                Ok(SigningKey { signer, public: jwk(&key.public_key), signs_from: key.signs_from })
            })
            .collect();
        let keys = keys.map_err(Error::internal)?;
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(())
    }

    fn keys(&self) -> Arc<[SigningKey]> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// An access token for a session that was opened by these methods (RFC 8176).
    pub(crate) fn sign(&self, clock: &Clock, user_id: Uuid, session_id: Uuid, amr: Vec<String>) -> Result<String> {
        let iat = clock.now().timestamp();
        let claims = Claims {
            iss: self.0.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: user_id,
            sid: session_id,
            amr,
            exp: iat + i64::from(ACCESS_TOKEN_SECONDS),
            iat,
            jti: clock.new_id(),
        };
        self.signed("JWT", &claims)
    }

    /// A token with which one service calls another.
    pub(crate) fn sign_service(&self, service: &str, audience: &str) -> Result<String> {
        let clock = self.0.db.clock();
        let iat = clock.now().timestamp();
        let claims = ServiceClaims {
            iss: self.0.issuer.clone(),
            aud: service_audience(audience),
            sub: service.to_owned(),
            exp: iat + i64::from(SERVICE_TOKEN_SECONDS),
            iat,
            jti: clock.new_id(),
        };
        self.signed(SERVICE_TYPE, &claims)
    }

    fn signed(&self, typ: &str, claims: &impl Serialize) -> Result<String> {
        let keys = self.keys();
        let key = current(&keys, self.0.db.clock().now()).ok_or_else(|| Error::from(Reason::Unavailable))?;
        let (kid, typ) = (Some(key.public.kid.clone()), Some(typ.to_owned()));
        let header = Header { kid, typ, ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &key.signer).map_err(Error::internal)
    }

    /// The public halves; the first signs at present.
    ///
    /// # Errors
    /// UNAVAILABLE before the first look at the database.
    pub(crate) fn public(&self) -> Result<Vec<JsonWebKey>> {
        let keys = self.keys();
        let first = current(&keys, self.0.db.clock().now()).ok_or_else(|| Error::from(Reason::Unavailable))?;
        let others = keys.iter().filter(|key| key.public.kid != first.public.kid);
        Ok(std::iter::once(first).chain(others).map(|key| key.public.clone()).collect())
    }

    /// What each key is now.
    pub(crate) async fn list(&self) -> Result<Vec<KeyInfo>> {
        let stored = self.stored().await?;
        let now = self.0.db.clock().now();
        let signs_from: Vec<_> = stored.iter().map(|key| key.signs_from).collect();
        let info = |(place, key): (usize, StoredSigningKey)| KeyInfo {
            kid: key.kid,
            state: ring::state(&signs_from, place, now),
            signs_from: key.signs_from,
        };
        Ok(stored.into_iter().enumerate().map(info).collect())
    }
}

fn current(keys: &[SigningKey], now: DateTime<Utc>) -> Option<&SigningKey> {
    let signs_from: Vec<_> = keys.iter().map(|key| key.signs_from).collect();
    keys.get(ring::signer(&signs_from, now)?)
}

#[async_trait]
impl KeySource for SigningKeys {
    async fn fetch(&self) -> Result<Vec<JsonWebKey>> {
        // A key that is not known here was perhaps made elsewhere a moment ago.
        self.load().await?;
        self.public()
    }
}

/// What a private half is sealed for.
fn place(kid: &str) -> String {
    format!("signing_key:{kid}")
}

fn jwk(public: &[u8]) -> JsonWebKey {
    let x = URL_SAFE_NO_PAD.encode(public);
    // The key's thumbprint (RFC 7638) is its id: the same wherever it is computed.
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
    fn the_key_id_is_the_thumbprint_of_rfc_8037() {
        // RFC 8037, appendices A.2 and A.3.
        let public = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(jwk(&public).kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
