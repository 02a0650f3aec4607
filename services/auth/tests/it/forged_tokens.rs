//! Forged tokens: not signed by this service, or not for this use. Each case names the attack.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use baton_errors::Reason;
use baton_proto::baton::auth::v1::{CheckSessionRequest, GetJwksRequest, JsonWebKey};
use baton_testkit::{Person, TestContext, reason};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client;

/// The reason for which a token is refused; `None` when it is accepted.
pub(crate) async fn refusal(context: &TestContext, token: &str) -> Option<Reason> {
    let nobody =
        Person { user_id: Uuid::nil(), email: String::new(), token: token.to_owned(), refresh_token: String::new() };
    let call = client(context).check_session(nobody.call_without_account(CheckSessionRequest {})).await;
    call.err().map(|status| reason(&status).unwrap())
}

/// A user's token, and what it takes to forge others.
struct Forge {
    context: TestContext,
    jwk: JsonWebKey,
    claims: Value,
    ours: EncodingKey,
    theirs: EncodingKey,
    their_public: Vec<u8>,
}

impl Forge {
    async fn set_up() -> Self {
        let context = TestContext::start(&[]).await;
        let ada = context.person("ada").await;
        let jwk = client(&context).get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys.remove(0);
        let (kid, private) = context.signing_key().await;
        assert_eq!(kid, jwk.kid, "the first key signs");
        let payload = ada.token.split('.').nth(1).unwrap();
        let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let stranger = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(stranger.as_ref()).unwrap();
        Self {
            context,
            jwk,
            claims,
            ours: EncodingKey::from_ed_der(&private),
            theirs: EncodingKey::from_ed_der(stranger.as_ref()),
            their_public: pair.public_key().as_ref().to_vec(),
        }
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims.clone();
        claims[name] = value;
        claims
    }

    fn without(&self, name: &str) -> Value {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    fn header(&self) -> Value {
        json!({"alg": "EdDSA", "typ": "JWT", "kid": self.jwk.kid})
    }

    /// A token with any header and claims, signed with this Ed25519 key.
    fn raw(&self, header: &Value, claims: &Value, key: &EncodingKey) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(text.as_bytes(), key, Algorithm::EdDSA).unwrap();
        format!("{text}.{signature}")
    }

    fn ours(&self, claims: &Value) -> String {
        self.raw(&self.header(), claims, &self.ours)
    }

    /// With this key id, signed by a stranger.
    fn under(&self, kid: &str) -> String {
        let mut header = self.header();
        header["kid"] = json!(kid);
        self.raw(&header, &self.claims, &self.theirs)
    }

    /// With this header field beside the key id, signed by a stranger.
    fn pointing(&self, kid: Option<&str>, name: &str, value: Value) -> String {
        let mut header = self.header();
        match kid {
            Some(kid) => header["kid"] = json!(kid),
            None => drop(header.as_object_mut().unwrap().remove("kid")),
        }
        header[name] = value;
        self.raw(&header, &self.claims, &self.theirs)
    }

    fn hs256(&self, secret: &[u8]) -> String {
        let header = Header { kid: Some(self.jwk.kid.clone()), ..Header::new(Algorithm::HS256) };
        encode(&header, &self.claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    fn unsigned(&self, alg: &str) -> String {
        let header = json!({"alg": alg, "typ": "JWT", "kid": self.jwk.kid}).to_string();
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(self.claims.to_string()))
    }

    async fn refuses(&self, attacks: impl IntoIterator<Item = (&str, String)>) {
        assert_eq!(refusal(&self.context, &self.ours(&self.claims)).await, None, "control: a valid token");
        for (what, token) in attacks {
            assert_eq!(refusal(&self.context, &token).await, Some(Reason::TokenInvalid), "{what}");
        }
    }
}

#[tokio::test]
async fn other_algorithms_are_refused() {
    let forge = Forge::set_up().await;
    let public = URL_SAFE_NO_PAD.decode(&forge.jwk.x).unwrap();
    let spki = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &public].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&spki));
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, forge.jwk.x);
    let mut es256 = forge.header();
    es256["alg"] = json!("ES256");
    forge
        .refuses([
            ("RFC 8725, 3.1 (CVE-2015-9235): alg none", forge.unsigned("none")),
            ("CVE-2020-28042 and others: alg None", forge.unsigned("None")),
            ("alg NONE", forge.unsigned("NONE")),
            ("alg empty", forge.unsigned("")),
            ("CVE-2020-28042: our algorithm without a signature", forge.unsigned("EdDSA")),
            ("RFC 8725, 2.1 (CVE-2016-10555): HS256 with the public key", forge.hs256(&public)),
            ("key confusion: with the key as the JWKS has it", forge.hs256(forge.jwk.x.as_bytes())),
            ("key confusion: with the key as DER", forge.hs256(&spki)),
            ("key confusion: with the key as PEM", forge.hs256(pem.as_bytes())),
            ("key confusion: with the key as JWK", forge.hs256(jwk.as_bytes())),
            ("CVE-2019-7644: HS256 with an empty secret", forge.hs256(b"")),
            ("another algorithm over our signature", forge.raw(&es256, &forge.claims, &forge.ours)),
        ])
        .await;
}

#[tokio::test]
async fn keys_come_only_from_our_jwks_by_key_id() {
    let forge = Forge::set_up().await;
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(&forge.their_public)});
    let ours = forge.jwk.kid.clone();
    let mut attacks = vec![
        ("RFC 8725, 3.10: a stranger's key under our id", forge.under(&ours)),
        ("a stranger's key under its own id", forge.under("theirs")),
        ("kid injection: a path", forge.under("../../../../dev/null")),
        ("kid injection: an absolute path", forge.under("/proc/self/environ")),
        ("kid injection: SQL", forge.under("x' union select 'c2VjcmV0' --")),
        ("kid injection: a command", forge.under("$(id)|`id`")),
        ("kid injection: a URL", forge.under("https://evil.example/jwks.json")),
        ("kid injection: NUL", forge.under(&format!("{ours}\0"))),
        ("kid injection: long", forge.under(&"k".repeat(4000))),
        ("kid injection: empty", forge.under("")),
        ("no key id", forge.pointing(None, "x", json!("x"))),
        ("RFC 7515, 4.1.11: an extension that must be understood", {
            let mut header = forge.header();
            header["crit"] = json!(["exp"]);
            forge.raw(&header, &forge.claims, &forge.ours)
        }),
    ];
    for kid in [None, Some("theirs"), Some(ours.as_str())] {
        attacks.extend([
            ("CVE-2018-0114: a key in the header (jwk)", forge.pointing(kid, "jwk", jwk.clone())),
            ("RFC 8725, 2.9: a URL of keys (jku)", forge.pointing(kid, "jku", json!("https://evil.example/jwks"))),
            ("RFC 8725, 2.9: a URL of certificates (x5u)", forge.pointing(kid, "x5u", json!("https://evil.example/c"))),
            ("a certificate in the header (x5c)", forge.pointing(kid, "x5c", json!(["MIIB"]))),
        ]);
    }
    forge.refuses(attacks).await;
}

#[tokio::test]
async fn times_issuer_audience_and_subject_are_checked() {
    let forge = Forge::set_up().await;
    let now = chrono::Utc::now().timestamp();
    let set = |name: &str, value: Value| forge.ours(&forge.with(name, value));
    let mut attacks = vec![
        ("RFC 7519, 4.1.4: expired", set("exp", json!(now - 60))),
        ("RFC 7519, 4.1.5: not yet valid", set("nbf", json!(now + 60))),
        ("CVE-2026-25537: an expiry that is text", set("exp", json!("9999999999"))),
        ("CVE-2026-25537: an expiry that is null", set("exp", Value::Null)),
        ("CVE-2026-25537: an expiry that is a list", set("exp", json!([now + 600]))),
        ("CVE-2026-25537: a negative expiry", set("exp", json!(-1))),
        ("CVE-2026-25537: a start that is text", set("nbf", json!("0"))),
        ("RFC 7519, 4.1.3: another audience", set("aud", json!("other"))),
        ("RFC 8725, 3.9: our audience among others", set("aud", json!(["baton", "other"]))),
        ("RFC 8725, 3.9: no audience at all", set("aud", json!([]))),
        ("RFC 8725, 3.8: another issuer", set("iss", json!("https://evil.example"))),
        ("RFC 8725, 3.8: our issuer with a slash", {
            set("iss", json!(format!("{}/", forge.claims["iss"].as_str().unwrap())))
        }),
        ("a subject that is nobody's id", set("sub", json!("' or 1=1 --"))),
        ("not a token", "x.y.z".to_owned()),
        ("nothing", " ".to_owned()),
        ("two tokens in one", format!("{0}.{0}", forge.ours(&forge.claims))),
    ];
    attacks
        .extend(["exp", "aud", "iss", "sub", "sid"].map(|name| ("a claim left out", forge.ours(&forge.without(name)))));
    forge.refuses(attacks).await;
    let in_the_past = set("nbf", json!(now - 60));
    assert_eq!(refusal(&forge.context, &in_the_past).await, None);
}

#[tokio::test]
async fn foreign_and_unknown_sessions_are_refused() {
    let forge = Forge::set_up().await;
    let eve = forge.context.person("eve").await;
    for (name, value) in [("sid", json!(Uuid::new_v4())), ("sub", json!(eve.user_id)), ("sub", json!(Uuid::new_v4()))] {
        let token = forge.ours(&forge.with(name, value));
        assert_eq!(refusal(&forge.context, &token).await, Some(Reason::SessionClosed), "{name}");
    }
}
