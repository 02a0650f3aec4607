//! Signing keys: they sign access tokens and verify them, as Ed25519 (RFC 8037).

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use baton_access::{
    Claims,
    token::{AUDIENCE, KeySource},
};
use baton_errors::{Error, Result};
use baton_proto::baton::auth::v1::JsonWebKey;
use baton_runtime::{Clock, Secret};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Seconds that an access token lives.
pub(crate) const ACCESS_TOKEN_SECONDS: i32 = 900;

/// The keys from the configuration. Clones share them.
#[derive(Clone)]
pub(crate) struct SigningKeys(Arc<Inner>);

struct Inner {
    signer: EncodingKey,
    header: Header,
    issuer: String,
    public: Vec<JsonWebKey>,
}

/// A new key, as `BATON_AUTH_SIGNING_KEYS` takes it.
///
/// # Errors
/// When the machine has no randomness to give.
pub fn generate() -> anyhow::Result<String> {
    let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())?;
    Ok(STANDARD.encode(document.as_ref()))
}

/// Whether `BATON_AUTH_SIGNING_KEYS` could hold these keys.
///
/// # Errors
/// When it could not, with the reason.
pub fn check(keys: &str) -> anyhow::Result<()> {
    SigningKeys::new(&Secret::new(keys), "").map(drop)
}

impl SigningKeys {
    /// Parses the configured keys. The first signs.
    pub(crate) fn new(keys: &Secret, issuer: &str) -> anyhow::Result<Self> {
        let mut public = Vec::new();
        let mut signer = None;
        for key in keys.expose().split(',').map(str::trim) {
            let der = STANDARD.decode(key).ok().context("BATON_AUTH_SIGNING_KEYS is not base64")?;
            let pair = Ed25519KeyPair::from_pkcs8(&der)
                .ok()
                .context("BATON_AUTH_SIGNING_KEYS holds no Ed25519 key in PKCS#8")?;
            public.push(jwk(pair.public_key().as_ref()));
            signer.get_or_insert_with(|| EncodingKey::from_ed_der(&der));
        }
        let signer = signer.context("BATON_AUTH_SIGNING_KEYS holds no key")?;
        let header = Header { kid: public.first().map(|key| key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        Ok(Self(Arc::new(Inner { signer, header, issuer: issuer.to_owned(), public })))
    }

    /// An access token for a session that was opened by these methods (RFC 8176).
    pub(crate) fn sign(&self, clock: &Clock, user_id: Uuid, session_id: Uuid, amr: Vec<String>) -> Result<String> {
        let now = clock.now().timestamp();
        let claims = Claims {
            iss: self.0.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: user_id,
            sid: session_id,
            amr,
            exp: now + i64::from(ACCESS_TOKEN_SECONDS),
            iat: now,
            jti: clock.new_id(),
        };
        encode(&self.0.header, &claims, &self.0.signer).map_err(Error::internal)
    }

    /// The public halves.
    pub(crate) fn public(&self) -> &[JsonWebKey] {
        &self.0.public
    }
}

#[async_trait]
impl KeySource for SigningKeys {
    async fn fetch(&self) -> Result<Vec<JsonWebKey>> {
        Ok(self.0.public.clone())
    }
}

fn jwk(public: &[u8]) -> JsonWebKey {
    let x = URL_SAFE_NO_PAD.encode(public);
    // The key's thumbprint (RFC 7638) is its id: the same wherever the key is configured.
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

    #[test]
    fn the_first_key_signs_and_all_are_published() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        let keys = SigningKeys::new(&Secret::new(format!("{a},{b}")), "issuer").unwrap();
        let token = keys.sign(&Clock::system(), Uuid::nil(), Uuid::nil(), Vec::new()).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.kid.as_ref(), Some(&keys.public()[0].kid));
        assert_eq!(keys.public().len(), 2);
    }
}
