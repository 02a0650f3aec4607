//! Forged tokens: made from public data, or signed with our own key but with wrong claims.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use baton_tests::Platform;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

#[tokio::test]
async fn forged_tokens_are_refused() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let account_id = ada.create_account("Ada's").await;
    let ada = ada.at(account_id);
    ada.create_task("The only one").await;

    let (header, claims) = parts(&ada.token);
    assert_eq!(header["alg"], "EdDSA");
    let keys = platform.rest().get("/.well-known/jwks.json").ok().await;
    let key = &keys["keys"][0];
    assert_eq!((&header["kid"], &key["kty"], &key["crv"]), (&key["kid"], &json!("OKP"), &json!("Ed25519")), "{keys}");
    assert!(key.get("d").is_none_or(Value::is_null), "the private key is public");
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let ours = our_key(&platform).await;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();

    // A token made by the test with valid claims works, so each of the others is refused for its one defect.
    let good = signed(&ours, &header, &with(&claims, "jti", json!(Uuid::now_v7())));
    let as_bearer = |token: &str| platform.rest().with_token(token).in_account(account_id);
    as_bearer(&good).get("/v1/tasks").ok().await;

    let foreign = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref());
    let foreign = foreign.unwrap();
    let hs256 = |secret: &[u8]| {
        let text = text(&with(&header, "alg", json!("HS256")), &claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let kid_of = |kid: &str| with(&header, "kid", json!(kid));
    let claiming = |name: &str, value: Value| signed(&ours, &header, &with(&claims, name, value));
    let spki = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &public].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&spki));
    let [_, body, signature] = ada.token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let unsigned = |alg: &str| format!("{}.", text(&with(&header, "alg", json!(alg)), &claims));
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(foreign.public_key())});
    let mut forged = vec![
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg none with our signature", format!("{}{signature}", unsigned("none"))),
        ("no signature", unsigned("EdDSA")),
        ("HS256 with the public key's bytes", hs256(&public)),
        ("HS256 with the public key as the JWKS has it", hs256(key["x"].as_str().unwrap().as_bytes())),
        ("HS256 with the public key as DER", hs256(&spki)),
        ("HS256 with the public key as PEM", hs256(pem.as_bytes())),
        ("a foreign key under its own kid", signed(&foreign, &kid_of("foreign"), &claims)),
        ("a foreign key under our kid", signed(&foreign, &header, &claims)),
        ("a foreign key in the header", signed(&foreign, &with(&header, "jwk", jwk), &claims)),
        ("our key under a foreign kid", signed(&ours, &kid_of("foreign"), &claims)),
        ("a kid that is a path", signed(&foreign, &kid_of("../../dev/null"), &claims)),
        ("another body under our signature", {
            let text = text(&header, &with(&claims, "sub", json!(Uuid::now_v7())));
            format!("{text}.{signature}")
        }),
        ("half a signature", format!("{}.{body}.{}", base64_json(&header), &signature[..43])),
        ("not yet valid", claiming("nbf", json!(now + 600))),
        ("a service token", {
            let claims = json!({
                "iss": claims["iss"], "aud": "baton/task", "sub": "tenancy", "exp": now + 300, "iat": now, "jti": Uuid::now_v7(),
            });
            signed(&ours, &with(&header, "typ", json!("service+jwt")), &claims)
        }),
        ("expired", claiming("exp", json!(now - 60))),
        ("an expiry in a string", claiming("exp", json!((now + 600).to_string()))),
        ("an expiry that is null", claiming("exp", Value::Null)),
        ("another audience", claiming("aud", json!("billing"))),
        ("another issuer", claiming("iss", json!("https://elsewhere.example"))),
        ("a subject that is nobody", claiming("sub", json!("nobody"))),
    ];
    for claim in ["exp", "aud", "iss", "sub", "sid"] {
        let mut without = claims.clone();
        without.as_object_mut().unwrap().remove(claim);
        forged.push(("a claim left out", signed(&ours, &header, &without)));
    }
    for (what, token) in &forged {
        for call in [
            as_bearer(token).get("/v1/tasks"),
            as_bearer(token).get("/v1/users/me"),
            as_bearer(token).post("/v1/tasks", &json!({"title": "Forged"})),
            as_bearer(token).post("/v1/accounts", &json!({"name": "Forged"})),
        ] {
            let response = call.send().await;
            assert_eq!(response.status, 401, "{what}: {}", response.text);
            let problem = response.refused(401, "TOKEN_INVALID");
            assert!(
                !problem.to_string().contains(token.as_str()),
                "{what}: the response contains the token: {problem}"
            );
            assert_eq!(response.header("www-authenticate"), "Bearer error=\"invalid_token\"", "{what}");
        }
    }
    // A session that does not exist, signed with our key.
    let unknown = claiming("sid", json!(Uuid::now_v7()));
    as_bearer(&unknown).get("/v1/tasks").refused(401, "SESSION_CLOSED").await;
    // A session of another user.
    let eve = platform.person("eve").await;
    let (_, of_eve) = parts(&eve.token);
    let mixed = claiming("sid", of_eve["sid"].clone());
    as_bearer(&mixed).get("/v1/tasks").refused(401, "SESSION_CLOSED").await;

    assert_eq!(ada.get("/v1/tasks").ok().await["meta"]["total_count"], 1);
    assert_eq!(ada.get("/v1/accounts").ok().await["meta"]["total_count"], 1);
}

/// The platform's signing key, read from its database and data folder. The private key is sealed with AES-256-GCM:
/// format byte, length and id of the sealing key, nonce, ciphertext, tag.
async fn our_key(platform: &Platform) -> Ed25519KeyPair {
    let mut conn = PgConnection::connect(platform.database_url()).await.unwrap();
    let select = "select kid, sealed from auth.signing_keys where signs_from <= now() order by signs_from desc";
    let (kid, sealed): (String, Vec<u8>) = sqlx::query_as(select).fetch_one(&mut conn).await.unwrap();
    let file = std::fs::read_to_string(platform.data().join("keys.env")).unwrap();
    let key = file.lines().find_map(|line| line.strip_prefix("BATON_AUTH_SEALING_KEYS=")).unwrap();
    let key = STANDARD.decode(key.split_once(':').unwrap().1).unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let (nonce, text) = sealed[2 + usize::from(sealed[1])..].split_first_chunk().unwrap();
    let place = format!("signing_key:{kid}");
    let mut text = text.to_vec();
    let private = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place.as_bytes()), &mut text);
    Ed25519KeyPair::from_pkcs8(private.unwrap()).unwrap()
}

fn signed(key: &Ed25519KeyPair, header: &Value, claims: &Value) -> String {
    let text = text(header, claims);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes())))
}

/// The signing input: header and claims.
fn text(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64_json(header), base64_json(claims))
}

fn parts(token: &str) -> (Value, Value) {
    let part = |n| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap();
    (part(0), part(1))
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn base64_json(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
