//! Whether an id_token holds (OpenID Connect Core 1.0, section 3.1.3.7): who signed it, for whom, for which
//! sign-in, and for how long.

use baton_errors::{Error, Result};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{Jwk, PublicKeyUse},
};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    person::{Profile, lenient},
    refused,
};

/// Google's issuer, and how its id_tokens may write it.
const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_WITHOUT_SCHEME: &str = "accounts.google.com";
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
    exp: NumericDate,
    iat: NumericDate,
    nbf: Option<NumericDate>,
    nonce: Option<String>,
    azp: Option<String>,
    /// Microsoft's tenant. To other providers it may be anything.
    #[serde(default, deserialize_with = "lenient")]
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
    /// The whole seconds. What no calendar knows becomes the nearest number that there is.
    fn seconds(self) -> i64 {
        match self {
            Self::Whole(seconds) => seconds,
            // The cast saturates.
            Self::Fraction(seconds) => seconds.floor() as i64,
        }
    }
}

/// What a signed answer of the userinfo endpoint says (OpenID Connect Core 1.0, section 5.3.2).
#[derive(Debug, Deserialize)]
struct UserInfo {
    iss: Option<String>,
    aud: Option<Audience>,
    sub: String,
    #[serde(flatten)]
    profile: Profile,
}

/// How a token was signed, by its header: not to be believed before [`verify`].
pub(super) struct Signed {
    algorithm: Algorithm,
    kid: Option<String>,
}

/// Reads the header. `algorithms` are those that the provider announces.
pub(super) fn signed(token: &str, algorithms: &[String]) -> Result<Signed> {
    // Others than the crate knows, `none` among them, end here.
    let header = decode_header(token).map_err(not_understood)?;
    let announced = |algorithm: Algorithm| algorithms.iter().any(|name| is(name, algorithm));
    if !ALGORITHMS.contains(&header.alg) || !announced(header.alg) {
        return Err(refused("the id_token is signed by an algorithm that does not hold"));
    }
    Ok(Signed { algorithm: header.alg, kid: header.kid })
}

impl Signed {
    /// The provider's key that signed it: the one with the token's key id, or, since both may have none (RFC 7515,
    /// section 4.1.4; RFC 7517, section 4.5), one without, if there is one only.
    pub(super) fn key<'k>(&self, keys: &'k [Jwk]) -> Option<&'k Jwk> {
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

/// The claims of a token that this key signed, and that says what it must.
pub(super) fn verify(token: &str, signed: &Signed, key: &Jwk, expected: &Expected<'_>) -> Result<Claims> {
    let mut claims: Claims = open(token, signed, key)?;
    if claims.iss == GOOGLE_WITHOUT_SCHEME && expected.issuer == GOOGLE {
        GOOGLE.clone_into(&mut claims.iss);
    }
    claims.check(expected).map_err(refused)?;
    Ok(claims)
}

/// Who a signed answer of the userinfo endpoint is about, and what it says of them.
pub(super) fn verify_userinfo(
    token: &str,
    signed: &Signed,
    key: &Jwk,
    (issuer, client_id): (&str, &str),
) -> Result<(String, Profile)> {
    let UserInfo { iss, aud, sub, profile } = open(token, signed, key)?;
    // Both should be there; what is there must be right.
    let is_ours = aud.is_none_or(|aud| aud.all().iter().any(|audience| audience == client_id));
    if iss.is_some_and(|iss| iss != issuer) || !is_ours {
        return Err(refused("the userinfo is another issuer's, or for another client"));
    }
    Ok((sub, profile))
}

/// The claims of a token that this key signed; nothing of them is checked.
fn open<T: DeserializeOwned>(token: &str, signed: &Signed, key: &Jwk) -> Result<T> {
    let mut validation = Validation::new(signed.algorithm);
    // All of these are checked below, by the clock that is passed in.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_jwk(key).map_err(refused)?;
    Ok(decode::<T>(token, &key, &validation).map_err(not_understood)?.claims)
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
        let audiences = self.aud.all();
        let (exp, iat, nbf) = (self.exp.seconds(), self.iat.seconds(), self.nbf.map(NumericDate::seconds));
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
            () if exp.saturating_add(LEEWAY) <= now => Err("the id_token has expired"),
            () if iat.saturating_sub(LEEWAY) > now => Err("the id_token is from the future"),
            () if nbf.is_some_and(|nbf| nbf.saturating_sub(LEEWAY) > now) => Err("the id_token is not valid yet"),
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
        // What the standards allow, whichever form a provider writes it in.
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
    fn a_key_without_an_id_signs_for_a_token_with_one_and_the_other_way_round() {
        let key = |kid: Option<&str>, x: &str| {
            let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
            if let Some(kid) = kid {
                key["kid"] = json!(kid);
            }
            serde_json::from_value::<Jwk>(key).unwrap()
        };
        let (one, two) = ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg");
        let of = |kid: Option<&str>| Signed { algorithm: Algorithm::EdDSA, kid: kid.map(str::to_owned) };
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
            let found = of(kid).key(&keys).map(|found| keys.iter().position(|key| key == found).unwrap());
            assert_eq!(found, expected, "{kid:?} {keys:?}");
        }
    }

    #[test]
    fn neither_none_nor_the_client_s_secret_signs_even_if_the_provider_announces_them() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims()));
        let hmac = encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(SECRET.as_bytes()));
        for token in [none, hmac.unwrap()] {
            assert!(signed(&token, expected().algorithms).is_err(), "{token}");
        }
    }
}
