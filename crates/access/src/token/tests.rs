//! Key rotation, outages of auth, and made-up key ids.

use std::sync::atomic::AtomicUsize;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

/// An auth service that counts its requests.
#[derive(Clone, Default)]
struct Auth(Arc<AuthInner>);

#[derive(Default)]
struct AuthInner {
    keys: RwLock<Vec<JsonWebKey>>,
    asked: AtomicUsize,
    away: AtomicBool,
}

impl Auth {
    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::Acquire)
    }

    /// Generates a key and publishes it.
    fn key(&self, kid: &str) -> Signer {
        let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        self.0.keys.write().unwrap().push(JsonWebKey {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: URL_SAFE_NO_PAD.encode(pair.public_key()),
            kid: kid.to_owned(),
            ..JsonWebKey::default()
        });
        Signer { kid: kid.to_owned(), key: EncodingKey::from_ed_der(document.as_ref()) }
    }
}

#[async_trait]
impl KeySource for Auth {
    async fn fetch(&self) -> Result<Vec<JsonWebKey>> {
        self.0.asked.fetch_add(1, Ordering::AcqRel);
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self.0.away.load(Ordering::Acquire) {
            return Err(Reason::Unavailable.into());
        }
        Ok(self.0.keys.read().unwrap().clone())
    }
}

struct Signer {
    kid: String,
    key: EncodingKey,
}

impl Signer {
    fn sign(&self, typ: &str, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), typ: Some(typ.to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &self.key).unwrap()
    }

    fn access(&self) -> String {
        self.sign("JWT", &access_claims())
    }
}

fn access_claims() -> Value {
    json!({
        "iss": "us", "aud": AUDIENCE, "sub": Uuid::nil(), "sid": Uuid::nil(), "amr": ["pwd"],
        "exp": jsonwebtoken::get_current_timestamp() + 60, "iat": 1, "jti": Uuid::nil(),
    })
}

fn service_claims() -> Value {
    json!({
        "iss": "us", "aud": service_audience("auth"), "sub": "tenancy",
        "exp": jsonwebtoken::get_current_timestamp() + 60, "iat": 1, "jti": Uuid::nil(),
    })
}

async fn reason(answer: impl Future<Output = Result<Arc<Claims>>>) -> Option<Reason> {
    answer.await.err().map(|error| error.reason())
}

/// Ages the cached keys.
fn age(verifier: &TokenVerifier, by: Duration) {
    let mut keys = verifier.0.keys.write().unwrap();
    keys.fetched = keys.fetched.map(|at| at.checked_sub(by).unwrap());
    let mut last = verifier.0.last_fetch.try_lock().unwrap();
    if let Some(last) = &mut *last {
        last.at = last.at.checked_sub(by).unwrap();
    }
}

#[tokio::test]
async fn unknown_ids_cause_one_fetch_and_do_not_delay_known_keys() {
    let auth = Auth::default();
    let verifier = TokenVerifier::new("us", auth.clone());
    let good = auth.key("good").access();
    verifier.verify(&good).await.unwrap();
    assert_eq!(auth.asked(), 1);
    age(&verifier, REFETCH_INTERVAL);

    let strangers = Auth::default();
    let flood: Vec<_> = (0..500).map(|n| strangers.key(&format!("../{n}' or 1=1 --")).access()).collect();
    let flood = futures_util::future::join_all(flood.iter().map(|token| reason(verifier.verify(token))));
    let known = async {
        tokio::task::yield_now().await;
        let begun = Instant::now();
        for _ in 0..20 {
            verifier.verify(&good).await.unwrap();
        }
        begun.elapsed()
    };
    let (refused, took) = tokio::join!(flood, known);
    assert!(refused.iter().all(|reason| *reason == Some(Reason::TokenInvalid)));
    assert_eq!(auth.asked(), 2, "one look for all of them");
    assert!(took < Duration::from_millis(500), "known keys waited for {took:?}");
}

#[tokio::test]
async fn new_key_is_fetched_once_and_further_unknown_ids_are_not() {
    let auth = Auth::default();
    let verifier = TokenVerifier::new("us", auth.clone());
    verifier.verify(&auth.key("one").access()).await.unwrap();
    age(&verifier, REFETCH_INTERVAL);
    verifier.verify(&auth.key("two").access()).await.unwrap();
    let three = auth.key("three").access();
    assert_eq!(reason(verifier.verify(&three)).await, Some(Reason::TokenInvalid));
    assert_eq!(auth.asked(), 2);
}

#[tokio::test]
async fn keys_are_refreshed_in_the_background_and_withdrawn_keys_end() {
    let auth = Auth::default();
    let verifier = TokenVerifier::new("us", auth.clone());
    let (old, new) = (auth.key("old").access(), auth.key("new"));
    verifier.verify(&old).await.unwrap();
    auth.0.keys.write().unwrap().retain(|key| key.kid == "new");
    age(&verifier, REFRESHED_AFTER);
    verifier.verify(&old).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while reason(verifier.verify(&old)).await.is_none() {
        assert!(Instant::now() < deadline, "the withdrawn key is still believed");
        tokio::task::yield_now().await;
    }
    assert_eq!(auth.asked(), 2);
    verifier.verify(&new.access()).await.unwrap();
}

#[tokio::test]
async fn known_keys_work_during_an_outage_until_they_are_too_old() {
    let auth = Auth::default();
    let verifier = TokenVerifier::new("us", auth.clone());
    let good = auth.key("good").access();
    verifier.verify(&good).await.unwrap();
    auth.0.away.store(true, Ordering::Release);
    age(&verifier, REFRESHED_AFTER);
    verifier.verify(&good).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    age(&verifier, MAX_KEY_AGE);
    let before = auth.asked();
    let calls = (0..50).map(|_| reason(verifier.verify(&good)));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|reason| *reason == Some(Reason::Unavailable)));
    assert!(auth.asked() <= before + 2, "asked {} times", auth.asked() - before);
}

#[tokio::test]
async fn access_and_service_tokens_are_not_interchangeable() {
    let auth = Auth::default();
    let verifier = TokenVerifier::new("us", auth.clone());
    let key = auth.key("one");
    let service = key.sign(SERVICE_TYPE, &service_claims());
    assert_eq!(verifier.verify_service(&service, "auth").await.unwrap().sub, "tenancy");
    assert!(verifier.verify_service(&service, "task").await.is_err(), "for another audience");
    assert!(verifier.verify(&service).await.is_err(), "a service token as a person's");
    assert!(verifier.verify_service(&key.access(), "auth").await.is_err(), "a person's as a service token");
    // Each is refused for more than one reason: the type alone, the claims alone.
    assert!(verifier.verify_service(&key.sign("JWT", &service_claims()), "auth").await.is_err());
    assert!(verifier.verify(&key.sign(SERVICE_TYPE, &access_claims())).await.is_err());
}

#[tokio::test]
async fn cached_token_still_expires() {
    let auth = Auth::default();
    let verifier = TokenVerifier::new("us", auth.clone());
    let key = auth.key("one");
    let mut claims = access_claims();
    // Two seconds of the leeway are left.
    claims["exp"] = json!(jsonwebtoken::get_current_timestamp() + 2 - LEEWAY_SECONDS);
    let token = key.sign("JWT", &claims);
    verifier.verify(&token).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while reason(verifier.verify(&token)).await.is_none() {
        assert!(Instant::now() < deadline, "what has ended still opens");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (now, over) in [(99, false), (105, false), (106, true)] {
        assert_eq!(is_expired(100, now), over, "at {now}");
    }
    assert!(!is_expired(i64::MAX, 0));
}

#[tokio::test]
async fn cache_accepts_only_the_identical_token() {
    let auth = Auth::default();
    let verifier = TokenVerifier::new("us", auth.clone());
    let token = auth.key("one").access();
    verifier.verify(&token).await.unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    for forged in [
        signed.to_owned(),
        format!("{signed}."),
        format!("{signed}.{flipped}{}", &signature[1..]),
        format!("{token} "),
        format!("{token}="),
    ] {
        assert_eq!(reason(verifier.verify(&forged)).await, Some(Reason::TokenInvalid), "{forged}");
    }
}

#[tokio::test]
async fn times_issuer_and_audience_are_checked() {
    let auth = Auth::default();
    let verifier = TokenVerifier::new("us", auth.clone());
    let key = auth.key("one");
    let now = jsonwebtoken::get_current_timestamp();
    for (what, name, value) in [
        ("RFC 7519, 4.1.4: expired", "exp", json!(now - 60)),
        ("RFC 7519, 4.1.5: not before", "nbf", json!(now + 60)),
        ("CVE-2026-25537: exp as text", "exp", json!((now + 60).to_string())),
        ("CVE-2026-25537: exp as null", "exp", Value::Null),
        ("CVE-2026-25537: nbf as text", "nbf", json!("0")),
        ("RFC 7519, 4.1.3: another audience", "aud", json!("other")),
        ("RFC 7519, 4.1.3: an audience among others", "aud", json!([AUDIENCE, "other"])),
        ("RFC 7519, 4.1.1: another issuer", "iss", json!("them")),
        ("RFC 7519, 4.1.1: an issuer among others", "iss", json!(["us", "them"])),
    ] {
        let mut claims = access_claims();
        claims[name] = value;
        assert_eq!(reason(verifier.verify(&key.sign("JWT", &claims))).await, Some(Reason::TokenInvalid), "{what}");
    }
    let mut claims = access_claims();
    claims["nbf"] = json!(now - 60);
    verifier.verify(&key.sign("JWT", &claims)).await.unwrap();
}
