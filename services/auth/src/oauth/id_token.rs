//! Whether an id_token holds (OpenID Connect Core 1.0, section 3.1.3.7): who signed it, for whom, for which
//! sign-in, and for how long.

use baton_errors::{Error, Result};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{Jwk, PublicKeyUse},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{person::Profile, refused};

/// Seconds that clocks may differ.
const LEEWAY: i64 = 60;
/// With a key that only its provider has. Neither `none` nor an HMAC, whose key is the client's secret, is among
/// them (RFC 8725, sections 3.1 and 3.2).
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fn is(name: &str, algorithm: Algorithm) -> bool {
    name.parse::<Algorithm>().is_ok_and(|known| known == algorithm)
}

/// What an id_token must say.
pub(super) struct Expected<'a> {
    /// As the discovery document names it; `{tenantid}` stands for the token's own `tid`.
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// Algorithms that the provider announces.
    pub(super) algorithms: &'a [String],
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// What an id_token says.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    aud: Audience,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: Option<String>,
    azp: Option<String>,
    tid: Option<Uuid>,
    #[serde(flatten)]
    pub(super) profile: Profile,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// How an id_token was signed, by its header: not to be believed before [`verify`].
pub(super) struct Signed {
    algorithm: Algorithm,
    kid: Option<String>,
}

/// Reads the header.
pub(super) fn signed(token: &str, expected: &Expected<'_>) -> Result<Signed> {
    // Others than the crate knows, `none` among them, end here.
    let header = decode_header(token).map_err(not_understood)?;
    let announced = |algorithm: Algorithm| expected.algorithms.iter().any(|name| is(name, algorithm));
    if !ALGORITHMS.contains(&header.alg) || !announced(header.alg) {
        return Err(refused("the id_token is signed by an algorithm that does not hold"));
    }
    Ok(Signed { algorithm: header.alg, kid: header.kid })
}

impl Signed {
    /// The provider's key that signed it. Without a key id there must be one that fits, and one only.
    pub(super) fn key<'k>(&self, keys: &'k [Jwk]) -> Option<&'k Jwk> {
        let fits = |key: &&Jwk| {
            let common = &key.common;
            !matches!(common.public_key_use, Some(PublicKeyUse::Encryption))
                && common.key_algorithm.is_none_or(|of_key| is(&of_key.to_string(), self.algorithm))
                && DecodingKey::from_jwk(key).is_ok_and(|key| key.family() == self.algorithm.family())
                && self.kid.as_ref().is_none_or(|kid| common.key_id.as_ref() == Some(kid))
        };
        let mut found = keys.iter().filter(fits);
        let key = found.next()?;
        found.next().is_none().then_some(key)
    }
}

/// The claims of a token that this key signed, and that says what it must.
pub(super) fn verify(token: &str, signed: &Signed, key: &Jwk, expected: &Expected<'_>) -> Result<Claims> {
    let mut validation = Validation::new(signed.algorithm);
    // All of these are checked below, by the clock that is passed in.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_jwk(key).map_err(refused)?;
    let claims = decode::<Claims>(token, &key, &validation).map_err(not_understood)?.claims;
    claims.check(expected).map_err(refused)?;
    Ok(claims)
}

/// The error of a parser could quote what it read.
fn not_understood(error: jsonwebtoken::errors::Error) -> Error {
    match error.kind() {
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => refused("the id_token is not understood"),
        _ => refused(error),
    }
}

impl Claims {
    fn check(&self, expected: &Expected<'_>) -> Result<(), &'static str> {
        let Expected { issuer, client_id, nonce, now, .. } = *expected;
        let audiences = match &self.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::Several(several) => several,
        };
        let issued_by = match self.tid {
            Some(tenant) => issuer.replace("{tenantid}", &tenant.to_string()),
            None => issuer.to_owned(),
        };
        let for_us = audiences.iter().any(|audience| audience == client_id);
        let asked_by_us = self.azp.as_deref().map_or(audiences.len() == 1, |azp| azp == client_id);
        match () {
            () if self.iss != issued_by || self.iss.contains('{') => Err("the id_token is another issuer's"),
            () if !for_us || !asked_by_us => Err("the id_token is for another client"),
            () if self.nonce.as_deref() != Some(nonce) => Err("the id_token is of another sign-in"),
            () if self.exp.saturating_add(LEEWAY) <= now => Err("the id_token has expired"),
            () if self.iat.saturating_sub(LEEWAY) > now => Err("the id_token is from the future"),
            () if self.nbf.is_some_and(|nbf| nbf.saturating_sub(LEEWAY) > now) => Err("the id_token is not valid yet"),
            () if self.sub.is_empty() || self.sub.len() > 255 || self.sub.contains(char::is_control) => {
                Err("the id_token names nobody")
            }
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const SECRET: &str = "the client's secret";

    fn expected() -> Expected<'static> {
        static ALGORITHMS: std::sync::LazyLock<Vec<String>> =
            std::sync::LazyLock::new(|| ["ES256", "HS256", "none"].map(str::to_owned).to_vec());
        Expected { issuer: "https://id.example", client_id: "baton", nonce: "n", algorithms: &ALGORITHMS, now: NOW }
    }

    fn claims() -> Value {
        json!({"iss": "https://id.example", "sub": "1", "aud": "baton", "exp": NOW + 60, "iat": NOW, "nonce": "n"})
    }

    fn check(claims: Value, expected: &Expected<'_>) -> Result<(), &'static str> {
        serde_json::from_value::<Claims>(claims).map_err(|_| "not understood")?.check(expected)
    }

    #[test]
    fn a_token_must_be_from_the_issuer_for_us_and_for_this_sign_in() {
        check(claims(), &expected()).unwrap();
        for (claim, value) in [
            ("iss", json!("https://evil.example")),
            ("iss", json!("https://id.example/")),
            ("aud", json!("another")),
            ("aud", json!(["another"])),
            ("aud", json!([])),
            ("aud", json!(["baton", "another"])),
            ("azp", json!("another")),
            ("nonce", json!("of another sign-in")),
            ("nonce", json!(null)),
            ("exp", json!(NOW - 60)),
            ("exp", json!("never")),
            ("exp", json!(null)),
            ("iat", json!(NOW + 61)),
            ("nbf", json!(NOW + 61)),
            ("sub", json!("")),
            ("sub", json!("a\u{0}b")),
            ("sub", json!(null)),
        ] {
            let mut changed = claims();
            changed[claim] = value.clone();
            assert!(check(changed, &expected()).is_err(), "{claim}: {value}");
        }
        let mut several = claims();
        several["aud"] = json!(["baton", "another"]);
        several["azp"] = json!("baton");
        check(several, &expected()).unwrap();
    }

    #[test]
    fn an_issuer_for_many_tenants_is_that_of_the_token_s_own_tenant() {
        let (ours, theirs) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let expected = Expected { issuer: "https://login.example/{tenantid}/v2.0", ..expected() };
        let mut token = claims();
        token["iss"] = json!(format!("https://login.example/{ours}/v2.0"));
        assert!(check(token.clone(), &expected).is_err(), "no tenant");
        token["tid"] = json!(theirs);
        assert!(check(token.clone(), &expected).is_err(), "another tenant");
        token["tid"] = json!(ours);
        check(token.clone(), &expected).unwrap();
        token["iss"] = json!("https://login.example/{tenantid}/v2.0");
        assert!(check(token, &expected).is_err(), "the template itself");
    }

    #[test]
    fn neither_none_nor_the_client_s_secret_signs_even_if_the_provider_announces_them() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims()));
        let hmac = encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(SECRET.as_bytes()));
        for token in [none, hmac.unwrap()] {
            assert!(signed(&token, &expected()).is_err(), "{token}");
        }
    }
}
