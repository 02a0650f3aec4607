//! Verification of id_tokens (OpenID Connect Core 1.0, section 3.1.3.7): signature, issuer, audience, nonce and times.

use baton_errors::{Error, Result};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{Jwk, PublicKeyUse},
};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    claims::{UserClaims, lenient},
    refused,
};

/// Google's issuer, and the other form in its id_tokens.
const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_WITHOUT_SCHEME: &str = "accounts.google.com";
/// Tolerated clock skew.
const LEEWAY_SECONDS: i64 = 60;
/// Algorithms with a private key of the provider. Neither `none` nor HMAC, whose key is the client's secret, is allowed
/// (RFC 8725, sections 3.1 and 3.2).
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

/// Expected claims of an id_token.
pub(super) struct Expected<'a> {
    /// Issuer of the discovery document; `{tenantid}` stands for the token's own `tid`.
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// Algorithms that the provider announces.
    pub(super) algorithms: &'a [String],
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// Claims of an id_token.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    aud: Audience,
    exp: NumericDate,
    iat: NumericDate,
    nbf: Option<NumericDate>,
    nonce: Option<String>,
    azp: Option<String>,
    /// Microsoft's tenant. Other providers may use the claim for anything.
    #[serde(default, deserialize_with = "lenient")]
    tid: Option<Uuid>,
    #[serde(flatten)]
    pub(super) profile: UserClaims,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

/// Seconds since 1970, with or without a fraction (RFC 7519, section 2).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum NumericDate {
    Whole(i64),
    Fraction(f64),
}

impl NumericDate {
    /// Returns the whole seconds. Values out of range saturate.
    fn seconds(self) -> i64 {
        match self {
            Self::Whole(seconds) => seconds,
            Self::Fraction(seconds) => seconds.floor() as i64,
        }
    }
}

/// Claims of a signed userinfo response (OpenID Connect Core 1.0, section 5.3.2).
#[derive(Debug, Deserialize)]
struct UserInfo {
    iss: Option<String>,
    aud: Option<Audience>,
    sub: String,
    #[serde(flatten)]
    profile: UserClaims,
}

/// Header of a token: untrusted before [`verify`].
pub(super) struct TokenHeader {
    algorithm: Algorithm,
    kid: Option<String>,
}

/// Parses the header. `algorithms` are those that the provider announces.
///
/// # Errors
/// PROVIDER_REFUSED for any other algorithm.
pub(super) fn parse_header(token: &str, algorithms: &[String]) -> Result<TokenHeader> {
    // Decoding fails for algorithms that the crate does not know, such as `none`.
    let header = decode_header(token).map_err(map_jwt_error)?;
    let announced = |algorithm: Algorithm| algorithms.iter().any(|name| is(name, algorithm));
    if !ALGORITHMS.contains(&header.alg) || !announced(header.alg) {
        return Err(refused("the id_token is signed with a disallowed algorithm"));
    }
    Ok(TokenHeader { algorithm: header.alg, kid: header.kid })
}

impl TokenHeader {
    /// Finds the provider's key that signed the token, by key id. Key ids are optional (RFC 7515, section 4.1.4; RFC
    /// 7517, section 4.5), so the only fitting key without an id matches too.
    pub(super) fn find_key<'k>(&self, keys: &'k [Jwk]) -> Option<&'k Jwk> {
        let fits = |key: &&Jwk| {
            let common = &key.common;
            !matches!(common.public_key_use, Some(PublicKeyUse::Encryption))
                && common.key_algorithm.is_none_or(|of_key| is(&of_key.to_string(), self.algorithm))
                && DecodingKey::from_jwk(key).is_ok_and(|key| key.family() == self.algorithm.family())
        };
        let only = |mut found: Box<dyn Iterator<Item = &'k Jwk> + '_>| {
            let key = found.next()?;
            found.next().is_none().then_some(key)
        };
        let fitting = || keys.iter().filter(fits);
        let Some(kid) = &self.kid else { return only(Box::new(fitting())) };
        only(Box::new(fitting().filter(|key| key.common.key_id.as_ref() == Some(kid))))
            .or_else(|| only(Box::new(fitting().filter(|key| key.common.key_id.is_none()))))
    }
}

/// Verifies the signature and the claims of an id_token.
///
/// # Errors
/// PROVIDER_REFUSED.
pub(super) fn verify(token: &str, header: &TokenHeader, key: &Jwk, expected: &Expected<'_>) -> Result<Claims> {
    let mut claims: Claims = open(token, header, key)?;
    if claims.iss == GOOGLE_WITHOUT_SCHEME && expected.issuer == GOOGLE {
        GOOGLE.clone_into(&mut claims.iss);
    }
    claims.check(expected).map_err(refused)?;
    Ok(claims)
}

/// Verifies a signed userinfo response and returns its subject and claims.
///
/// # Errors
/// PROVIDER_REFUSED.
pub(super) fn verify_userinfo(
    token: &str,
    header: &TokenHeader,
    key: &Jwk,
    (issuer, client_id): (&str, &str),
) -> Result<(String, UserClaims)> {
    let UserInfo { iss, aud, sub, profile } = open(token, header, key)?;
    // Both claims are optional here, but must match when present.
    let is_ours = aud.is_none_or(|aud| aud.all().iter().any(|audience| audience == client_id));
    if iss.is_some_and(|iss| iss != issuer) || !is_ours {
        return Err(refused("the userinfo is of another issuer or for another client"));
    }
    Ok((sub, profile))
}

/// Verifies only the signature, and returns the claims.
fn open<T: DeserializeOwned>(token: &str, header: &TokenHeader, key: &Jwk) -> Result<T> {
    let mut validation = Validation::new(header.algorithm);
    // `Claims::check` checks these with the injected clock.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_jwk(key).map_err(refused)?;
    Ok(decode::<T>(token, &key, &validation).map_err(map_jwt_error)?.claims)
}

/// Maps an error without the parser's message, which could quote the token.
fn map_jwt_error(error: jsonwebtoken::errors::Error) -> Error {
    match error.kind() {
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => refused("the id_token cannot be parsed"),
        _ => refused(error),
    }
}

impl Claims {
    fn check(&self, expected: &Expected<'_>) -> Result<(), &'static str> {
        let Expected { issuer, client_id, nonce, now, .. } = *expected;
        let audiences = self.aud.all();
        let (exp, iat, nbf) = (self.exp.seconds(), self.iat.seconds(), self.nbf.map(NumericDate::seconds));
        let issued_by = match self.tid {
            Some(tenant) => issuer.replace("{tenantid}", &tenant.to_string()),
            None => issuer.to_owned(),
        };
        let for_us = audiences.iter().any(|audience| audience == client_id);
        let asked_by_us = self.azp.as_deref().map_or(audiences.len() == 1, |azp| azp == client_id);
        match () {
            () if self.iss != issued_by || self.iss.contains('{') => Err("the id_token is of another issuer"),
            () if !for_us || !asked_by_us => Err("the id_token is for another client"),
            () if self.nonce.as_deref() != Some(nonce) => Err("the id_token is for another sign-in"),
            () if exp.saturating_add(LEEWAY_SECONDS) <= now => Err("the id_token has expired"),
            () if iat.saturating_sub(LEEWAY_SECONDS) > now => Err("the id_token was issued in the future"),
            () if nbf.is_some_and(|nbf| nbf.saturating_sub(LEEWAY_SECONDS) > now) => {
                Err("the id_token is not valid yet")
            }
            () if self.sub.is_empty() || self.sub.len() > 255 || self.sub.contains(char::is_control) => {
                Err("the id_token has an invalid subject")
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
    fn id_token_must_match_issuer_audience_nonce_and_times() {
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
        // All forms that the standards allow.
        for (claim, value) in [
            ("aud", json!(["baton"])),
            ("azp", json!("baton")),
            ("exp", json!(NOW as f64 + 0.25)),
            ("exp", json!(1e300)),
            ("iat", json!(NOW as f64 - 0.75)),
            ("nbf", json!(NOW as f64 + 0.5)),
            ("nbf", json!(null)),
            ("tid", json!("not a tenant of Microsoft's")),
            ("tid", json!(7)),
            ("email", json!(["of another type"])),
            ("email_verified", json!({"of": "another type"})),
            ("name", json!(7)),
            ("amr", json!(["pwd", 7])),
            ("acr", json!("1")),
            ("auth_time", json!("yesterday")),
        ] {
            let mut changed = claims();
            changed[claim] = value.clone();
            assert_eq!(check(changed, &expected()), Ok(()), "{claim}: {value}");
        }
        for (claim, value) in [("exp", NOW as f64 - 58.9), ("iat", NOW as f64 + 60.9)] {
            let mut changed = claims();
            changed[claim] = json!(value);
            assert_eq!(check(changed, &expected()), Ok(()), "{claim}: {value} is within the leeway");
        }
        let mut several = claims();
        several["aud"] = json!(["baton", "another"]);
        several["azp"] = json!("baton");
        check(several, &expected()).unwrap();
    }

    #[test]
    fn multi_tenant_issuer_must_match_the_tokens_tenant() {
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
    fn keys_and_tokens_without_key_id_match_when_unambiguous() {
        let key = |kid: Option<&str>, x: &str| {
            let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
            if let Some(kid) = kid {
                key["kid"] = json!(kid);
            }
            serde_json::from_value::<Jwk>(key).unwrap()
        };
        let (one, two) = ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg");
        let of = |kid: Option<&str>| TokenHeader { algorithm: Algorithm::EdDSA, kid: kid.map(str::to_owned) };
        for (kid, keys, expected) in [
            (Some("a"), vec![key(Some("a"), one), key(Some("b"), two)], Some(0)),
            (Some("b"), vec![key(None, one), key(Some("b"), two)], Some(1)),
            (Some("c"), vec![key(None, one), key(Some("b"), two)], Some(0)),
            (Some("c"), vec![key(Some("a"), one), key(Some("b"), two)], None),
            (Some("c"), vec![key(None, one), key(None, two)], None),
            (None, vec![key(Some("a"), one)], Some(0)),
            (None, vec![key(None, one)], Some(0)),
            (None, vec![key(Some("a"), one), key(Some("b"), two)], None),
        ] {
            let found = of(kid).find_key(&keys).map(|found| keys.iter().position(|key| key == found).unwrap());
            assert_eq!(found, expected, "{kid:?} {keys:?}");
        }
    }

    #[test]
    fn none_and_hmac_are_refused_even_if_announced() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims()));
        let hmac = encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(SECRET.as_bytes()));
        for token in [none, hmac.unwrap()] {
            assert!(parse_header(&token, expected().algorithms).is_err(), "{token}");
        }
    }
}
