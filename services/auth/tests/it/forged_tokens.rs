use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use baton_errors::Reason;
use baton_proto::baton::auth::v1::{CheckSessionRequest, GetJwksRequest};
use baton_testkit::{Person, World, reason};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::client;

/// The reason for which a token is refused; `None` when it is taken.
async fn refusal(world: &World, token: &str) -> Option<Reason> {
    let nobody = Person {
        user_id: uuid::Uuid::nil(),
        email: String::new(),
        token: token.to_owned(),
        refresh_token: String::new(),
    };
    let call = client(world).check_session(nobody.call_without_account(CheckSessionRequest {})).await;
    call.err().map(|status| reason(&status).unwrap())
}

#[tokio::test]
async fn only_our_own_unexpired_tokens_are_taken() {
    let world = World::start(&[]).await;
    let ada = world.person("ada").await;
    let jwk = client(&world).get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys.remove(0);
    let public = URL_SAFE_NO_PAD.decode(&jwk.x).unwrap();
    let ours = EncodingKey::from_ed_der(&STANDARD.decode(world.env().get("BATON_AUTH_SIGNING_KEYS").unwrap()).unwrap());
    let stranger = baton_auth::generate_signing_key().unwrap();
    let theirs = EncodingKey::from_ed_der(&STANDARD.decode(stranger).unwrap());

    let payload = ada.token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let header = |alg, kid: &str| Header { kid: Some(kid.to_owned()), ..Header::new(alg) };
    let signed = |claims: &Value| encode(&header(Algorithm::EdDSA, &jwk.kid), claims, &ours).unwrap();

    assert_eq!(refusal(&world, &signed(&claims)).await, None, "the control: a token as ours are");
    let unsigned = |alg: &str| {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "JWT", "kid": jwk.kid}).to_string());
        format!("{header}.{payload}.")
    };
    let mut without_exp = claims.clone();
    without_exp.as_object_mut().unwrap().remove("exp");
    for (what, token) in [
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("EdDSA without signature", unsigned("EdDSA")),
        (
            "HS256 with the public key",
            encode(&header(Algorithm::HS256, &jwk.kid), &claims, &EncodingKey::from_secret(&public)).unwrap(),
        ),
        ("another's key under our id", encode(&header(Algorithm::EdDSA, &jwk.kid), &claims, &theirs).unwrap()),
        ("an unknown key id", encode(&header(Algorithm::EdDSA, "unknown"), &claims, &ours).unwrap()),
        ("no key id", encode(&Header::new(Algorithm::EdDSA), &claims, &ours).unwrap()),
        ("expired", signed(&with("exp", json!(1_700_000_000)))),
        // CVE-2026-25537: a mistyped expiry must not count as none.
        ("expiry as text", signed(&with("exp", json!("9999999999")))),
        ("no expiry", signed(&without_exp)),
        ("another audience", signed(&with("aud", json!("other")))),
        ("another issuer", signed(&with("iss", json!("https://evil.example")))),
        ("not a token", "x.y.z".to_owned()),
        ("nothing", " ".to_owned()),
    ] {
        assert_eq!(refusal(&world, &token).await, Some(Reason::TokenInvalid), "{what}");
    }
    let unknown_session = signed(&with("sid", json!(uuid::Uuid::new_v4())));
    assert_eq!(refusal(&world, &unknown_session).await, Some(Reason::SessionClosed));
}
