//! The token of a signed URL: `<claims>.<HMAC-SHA256>`, both in base64url.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use baton_runtime::Secret;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Separates these signatures from others by the same key.
const CONTEXT: &[u8] = b"baton file ticket 1\n";
const KEY_BYTES: usize = 32;

/// The claims of a token: what its bearer may do until `expires`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(rename = "k")]
    pub(crate) key: String,
    #[serde(rename = "a")]
    pub(crate) operation: Operation,
    /// Unix time in seconds.
    #[serde(rename = "e")]
    pub(crate) expires: i64,
}

/// The permitted method, and its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    #[serde(rename = "put")]
    Put {
        #[serde(rename = "s")]
        size: u32,
    },
    #[serde(rename = "get")]
    Get {
        #[serde(rename = "d")]
        disposition: String,
        #[serde(rename = "t")]
        content_type: String,
    },
}

/// Signs and verifies tokens. Clones share the key.
#[derive(Debug, Clone)]
pub(crate) struct Signer(Arc<hmac::Key>);

impl Signer {
    /// Uses `key`: 32 bytes in base64.
    ///
    /// # Errors
    /// If the key does not have that form.
    pub(crate) fn new(key: &Secret) -> anyhow::Result<Self> {
        let bytes = STANDARD.decode(key.expose()).ok().filter(|bytes| bytes.len() == KEY_BYTES);
        let bytes = bytes.ok_or_else(|| anyhow::anyhow!("the signing key of files is not 32 bytes in base64"))?;
        Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes))))
    }

    pub(crate) fn sign(&self, claims: &Claims) -> serde_json::Result<String> {
        let encoded = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let mut tag = hmac::Context::with_key(&self.0);
        tag.update(CONTEXT);
        tag.update(encoded.as_bytes());
        Ok(format!("{encoded}.{}", URL_SAFE_NO_PAD.encode(tag.sign())))
    }

    /// The claims of a token, if its signature is valid and it has not expired.
    pub(crate) fn verify(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        let (encoded, tag) = token.split_once('.')?;
        let signed = [CONTEXT, encoded.as_bytes()].concat();
        hmac::verify(&self.0, &signed, &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
        (now.timestamp() < claims.expires).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn signer(byte: u8) -> Signer {
        Signer::new(&Secret::new(STANDARD.encode([byte; 32]))).unwrap()
    }

    fn claims(now: DateTime<Utc>) -> Claims {
        Claims { key: "accounts/1".to_owned(), operation: Operation::Put { size: 7 }, expires: now.timestamp() + 60 }
    }

    #[test]
    fn token_is_valid_until_it_expires_and_only_with_its_key() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let token = signer(1).sign(&claims(now)).unwrap();
        assert_eq!(signer(1).verify(&token, now), Some(claims(now)));
        assert_eq!(signer(1).verify(&token, now + TimeDelta::seconds(59)), Some(claims(now)));
        assert_eq!(signer(1).verify(&token, now + TimeDelta::seconds(60)), None);
        assert_eq!(signer(2).verify(&token, now), None);
    }

    #[test]
    fn malformed_keys_are_refused() {
        for key in ["", "c2hvcnQ=", "no base64"] {
            assert!(Signer::new(&Secret::new(key)).is_err(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn modified_token_is_refused(place: prop::sample::Index, to in "[A-Za-z0-9_.-]") {
            let now = DateTime::UNIX_EPOCH;
            let token = signer(1).sign(&claims(now)).unwrap();
            let at = place.index(token.len());
            let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
            // The last letter of base64 has unused bits, which decoders must check.
            prop_assert_eq!(signer(1).verify(&changed, now).is_some(), changed == token);
        }

        #[test]
        fn arbitrary_text_is_refused(text in ".*") {
            prop_assert_eq!(signer(1).verify(&text, DateTime::UNIX_EPOCH), None);
        }
    }
}
