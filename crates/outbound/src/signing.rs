//! Signatures by Standard Webhooks 1.0.0 (<https://www.standardwebhooks.com>), symmetric: HMAC-SHA256 of the message's
//! id, its time and its body, with a secret that sender and receiver share.

use std::{fmt, str::FromStr};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_runtime::random;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Header with the message's id: the same in every attempt to deliver it.
pub const ID: HeaderName = HeaderName::from_static("webhook-id");
/// Header with the time of this attempt, in seconds since 1970.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Header with the signatures, separated by spaces: one per secret.
pub const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

const SECRET_PREFIX: &str = "whsec_";
const MIN_SECRET_LEN: usize = 24;
const MAX_SECRET_LEN: usize = 64;
const NEW_SECRET_LEN: usize = 32;
const MAX_ID_LEN: usize = 128;

/// The secret of one receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

/// The text is not `whsec_` and 24 to 64 bytes in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is whsec_ and 24 to 64 bytes in base64")]
pub struct InvalidSecret;

/// A message that cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// There is no secret.
    #[error("there is no secret to sign with")]
    NoSecret,
    /// The id is not 1 to 128 letters, digits, hyphens and underscores. A full stop would let one id and body be read
    /// as another.
    #[error("the message's id is not 1 to 128 letters, digits, hyphens and underscores")]
    InvalidId,
}

impl SigningSecret {
    /// A new secret of 32 random bytes.
    pub fn generate() -> Self {
        Self(random::bytes::<NEW_SECRET_LEN>().to_vec())
    }

    /// The text of the secret, `whsec_...`, for the receiver and for the sealed column.
    pub fn expose(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(&self.0))
    }

    fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl FromStr for SigningSecret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(InvalidSecret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| InvalidSecret)?;
        if (MIN_SECRET_LEN..=MAX_SECRET_LEN).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(InvalidSecret) }
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

/// The headers of a message that is signed with every one of `secrets`: during a rotation, the new and the old one. The
/// body must be sent as it is signed, byte for byte.
///
/// `timestamp`: the time of this attempt, in seconds since 1970. Receivers refuse a message that is minutes old, so
/// every attempt is signed anew.
///
/// # Errors
/// [`SigningError`].
pub fn sign(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &[u8]) -> Result<HeaderMap, SigningError> {
    if secrets.is_empty() {
        return Err(SigningError::NoSecret);
    }
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.is_empty() || id.len() > MAX_ID_LEN || !id.bytes().all(is_valid) {
        return Err(SigningError::InvalidId);
    }
    let signatures: Vec<String> = secrets.iter().map(|secret| secret.signature(id, timestamp, body)).collect();
    let (Ok(id), Ok(signatures)) = (HeaderValue::from_str(id), HeaderValue::from_str(&signatures.join(" "))) else {
        return Err(SigningError::InvalidId);
    };
    Ok(HeaderMap::from_iter([(ID, id), (TIMESTAMP, HeaderValue::from(timestamp)), (SIGNATURE, signatures)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the reference implementations (`sign function works`).
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID_OF_VECTOR: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE_OF_VECTOR: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret(text: &str) -> SigningSecret {
        text.parse().unwrap()
    }

    #[test]
    fn signature_is_that_of_the_reference_implementations() {
        let headers = sign(&[secret(SECRET)], ID_OF_VECTOR, TIME, BODY).unwrap();
        assert_eq!(headers.len(), 3);
        assert_eq!(headers[ID], ID_OF_VECTOR);
        assert_eq!(headers[TIMESTAMP], "1614265330");
        assert_eq!(headers[SIGNATURE], SIGNATURE_OF_VECTOR);
    }

    #[test]
    fn during_a_rotation_both_secrets_sign() {
        let new = SigningSecret::generate();
        let alone = sign(std::slice::from_ref(&new), ID_OF_VECTOR, TIME, BODY).unwrap();
        let both = sign(&[new, secret(SECRET)], ID_OF_VECTOR, TIME, BODY).unwrap();
        let expected = format!("{} {SIGNATURE_OF_VECTOR}", alone[SIGNATURE].to_str().unwrap());
        assert_eq!(both[SIGNATURE], expected);
    }

    #[test]
    fn every_part_is_signed() {
        let signature = |secret: &SigningSecret, id: &str, time, body: &[u8]| {
            sign(std::slice::from_ref(secret), id, time, body).unwrap()[SIGNATURE].clone()
        };
        let ours = secret(SECRET);
        let signed = signature(&ours, "a", 1, b"x");
        for other in [
            signature(&ours, "b", 1, b"x"),
            signature(&ours, "a", 2, b"x"),
            signature(&ours, "a", 1, b"y"),
            signature(&SigningSecret::generate(), "a", 1, b"x"),
        ] {
            assert_ne!(other, signed);
        }
    }

    #[test]
    fn messages_without_secret_or_with_other_ids_are_not_signed() {
        assert_eq!(sign(&[], "a", 1, b""), Err(SigningError::NoSecret));
        let long = "x".repeat(MAX_ID_LEN + 1);
        for id in ["", "a.1", "a b", "a\r\nx: y", "ä", long.as_str()] {
            assert_eq!(sign(&[secret(SECRET)], id, 1, b""), Err(SigningError::InvalidId), "{id:?}");
        }
        assert!(sign(&[secret(SECRET)], "018f0c1e-7e8a-7000-8000-000000000000", 1, b"").is_ok());
    }

    #[test]
    fn secrets_have_24_to_64_bytes_in_base64() {
        let text = |len: usize| format!("{SECRET_PREFIX}{}", STANDARD.encode(vec![7; len]));
        for len in [24, 32, 64] {
            assert_eq!(secret(&text(len)).expose(), text(len));
        }
        for wrong in [
            text(0),
            text(23),
            text(65),
            SECRET.replace(SECRET_PREFIX, ""),
            SECRET.replace(SECRET_PREFIX, "whsk_"),
            format!("{SECRET}="),
            text(25).trim_end_matches('=').to_owned(),
            SECRET.replace("Mf", "M-"),
        ] {
            assert_eq!(wrong.parse::<SigningSecret>(), Err(InvalidSecret), "{wrong}");
        }
        let new = SigningSecret::generate();
        assert_eq!(secret(&new.expose()), new);
        assert_ne!(SigningSecret::generate(), new);
        assert!(!format!("{new:?}").contains(&new.expose()[6..]));
    }
}
