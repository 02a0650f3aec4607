//! Attacks on the callback.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_proto::baton::auth::v1::{AuthorizeRequest, CallbackRequest};
use chrono::{TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::*;
use crate::oauth::fake_provider::{TokenEndpoint, key};

/// RFC 9700, sections 4.7 and 2.1.1; RFC 6749, section 10.12 (login CSRF).
#[tokio::test]
async fn state_works_once_and_only_in_its_browser() {
    let fixture = Fixture::start().await;
    let (victim, attacker) = (fixture.authorize("acme").await, fixture.authorize("acme").await);
    let code = fixture.code(&attacker, fixture.claims(&attacker, "attacker", &address("attacker")));
    let back = attacker.callback_request(&code);
    let invalid = async |request: CallbackRequest, what: &str| {
        assert_eq!(refusal(fixture.callback(request).await), Reason::OauthStateInvalid, "{what}");
    };
    // The attacker's link, in a browser that started nothing, or another flow.
    invalid(CallbackRequest { browser_token: String::new(), ..back.clone() }, "no browser").await;
    invalid(CallbackRequest { browser_token: victim.browser_token.clone(), ..back.clone() }, "another browser").await;
    invalid(CallbackRequest { state: victim.url["state"].clone(), ..back.clone() }, "another state").await;
    invalid(CallbackRequest { state: "never made".to_owned(), ..back.clone() }, "no state of ours").await;
    // None of these calls has used up the state.
    fixture.callback(back.clone()).await.unwrap();
    let code = fixture.code(&attacker, fixture.claims(&attacker, "attacker", &address("attacker")));
    invalid(attacker.callback_request(&code), "replayed").await;
}

#[tokio::test]
async fn one_of_many_parallel_callbacks_signs_in() {
    let fixture = Fixture::start().await;
    let sent = fixture.authorize("acme").await;
    let calls = (0..8).map(|_| {
        let code = fixture.code(&sent, fixture.claims(&sent, "1", "ada@example.org"));
        fixture.callback(sent.callback_request(&code))
    });
    let responses = futures_util::future::join_all(calls).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 1, "{responses:?}");
}

#[tokio::test]
async fn state_expires_after_ten_minutes() {
    let fixture = Fixture::start_at(Clock::fixed(Utc::now())).await;
    let sign_in = async |wait: TimeDelta| {
        let sent = fixture.authorize("acme").await;
        fixture.clock.advance(wait);
        let mut claims = fixture.claims(&sent, "1", "ada@example.org");
        claims["exp"] = json!(fixture.clock.now().timestamp() + 300);
        let code = fixture.code(&sent, claims);
        fixture.callback(sent.callback_request(&code)).await
    };
    sign_in(TimeDelta::seconds(599)).await.unwrap();
    assert_eq!(refusal(sign_in(TimeDelta::seconds(600)).await), Reason::OauthStateInvalid);
    // Later sign-ins delete expired flows.
    for _ in 0..2 {
        fixture.authorize("acme").await;
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from auth.oauth_flows where expires_at < $1")
        .bind(fixture.clock.now())
        .fetch_one(&fixture.context.admin())
        .await
        .unwrap();
    assert_eq!(kept, 0);
}

/// Mix-up (RFC 9207; RFC 9700, section 4.4; CVE-2026-109372): the response of one provider at the callback of another.
#[tokio::test]
async fn callback_of_another_provider_is_refused() {
    let fixture = Fixture::start().await;
    let sent = fixture.authorize("evil").await;
    let code = fixture.code(&sent, fixture.claims(&sent, "1", &address("ada")));
    let elsewhere = CallbackRequest { provider: "acme".to_owned(), ..sent.callback_request(&code) };
    assert_eq!(refusal(fixture.callback(elsewhere).await), Reason::OauthStateInvalid);
    // The flow has ended: the attacker gets no second attempt.
    assert_eq!(refusal(fixture.callback(sent.callback_request(&code)).await), Reason::OauthStateInvalid);

    // The same attack, detected by the issuer in the response.
    for (provider, iss, holds) in [
        ("acme", fixture.fake.issuer("acme"), true),
        ("acme", fixture.fake.issuer("evil"), false),
        ("acme", format!("{}/", fixture.fake.issuer("acme")), false),
        ("github", fixture.fake.issuer("evil"), false),
        // A provider that announces the parameter must send it.
        ("strict", String::new(), false),
        ("strict", fixture.fake.issuer("strict"), true),
    ] {
        let sent = fixture.authorize(provider).await;
        let code = fixture.code(&sent, fixture.claims(&sent, "1", &address("ada")));
        let response = fixture.callback(CallbackRequest { iss: iss.clone(), ..sent.callback_request(&code) }).await;
        match holds {
            true => assert!(response.is_ok(), "{provider} {iss}: {response:?}"),
            false => assert_eq!(refusal(response), Reason::ProviderRefused, "{provider} {iss}"),
        }
    }
}

/// CVE-2025-64717: a disabled provider still served callbacks.
#[tokio::test]
async fn disabled_provider_equals_an_unknown_one() {
    let fixture = Fixture::start().await;
    let sent = fixture.authorize("acme").await;
    // Started before the provider was disabled.
    sqlx::query("update auth.oauth_flows set provider = 'off'").execute(&fixture.context.admin()).await.unwrap();
    let code = fixture.fake.issue_code(&sent.url["code_challenge"], json!({}), json!({}), None);
    for provider in ["off", "never-was"] {
        let back = CallbackRequest { provider: provider.to_owned(), ..sent.callback_request(&code) };
        assert_eq!(refusal(fixture.callback(back).await), Reason::ProviderUnknown);
        let request = AuthorizeRequest { provider: provider.to_owned(), redirect: String::new() };
        assert_eq!(refusal(fixture.oauth().authorize(request).await), Reason::ProviderUnknown);
    }
}

/// RFC 7636; RFC 9700, section 4.5: a stolen code in the thief's own sign-in.
#[tokio::test]
async fn stolen_code_is_refused_in_another_sign_in() {
    let fixture = Fixture::start().await;
    let (victim, thief) = (fixture.authorize("acme").await, fixture.authorize("acme").await);
    let code = fixture.code(&victim, fixture.claims(&victim, "victim", &address("victim")));
    // PKCE: the fake provider checks the verifier, as all must.
    assert_eq!(refusal(fixture.callback(thief.callback_request(&code)).await), Reason::ProviderRefused);

    // If a provider ignores PKCE, the nonce detects it (OpenID Connect Core 1.0, section 15.5.2).
    let thief = fixture.authorize("acme").await;
    let claims = fixture.claims(&victim, "victim", &address("victim"));
    let code = fixture.fake.issue_code(&thief.url["code_challenge"], claims, json!({}), None);
    assert_eq!(refusal(fixture.callback(thief.callback_request(&code)).await), Reason::ProviderRefused);

    // And with GitHub, which has no nonce.
    fixture.fake.github(json!({"id": 1, "login": "victim"}), json!([]));
    let (victim, thief) = (fixture.authorize("github").await, fixture.authorize("github").await);
    let code = fixture.code(&victim, json!({}));
    assert_eq!(refusal(fixture.callback(thief.callback_request(&code)).await), Reason::ProviderRefused);
}

/// OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725, sections 2.1 and 3.1.
#[tokio::test]
async fn id_token_must_match_issuer_audience_nonce_and_times() {
    let fixture = Fixture::start().await;
    let now = Utc::now().timestamp();
    fixture.forged(|_| (), None).await.expect("a valid one");
    for (claim, value) in [
        ("iss", json!(fixture.fake.issuer("evil"))),
        ("aud", json!("another client")),
        ("aud", json!([CLIENT_ID, "another client"])),
        ("azp", json!("another client")),
        ("exp", json!(now - 120)),
        // CVE-2026-25537: a malformed time must not count as absent.
        ("exp", json!("2099-01-01")),
        ("iat", json!(now + 3600)),
        ("nbf", json!(now + 3600)),
        ("nonce", json!("of another sign-in")),
        ("nonce", json!(null)),
        ("sub", json!("")),
    ] {
        let response = fixture.forged(|claims| claims[claim] = value.clone(), None).await;
        assert_eq!(refusal(response), Reason::ProviderRefused, "{claim}: {value}");
    }
}

#[tokio::test]
async fn id_token_must_be_signed_with_the_providers_key() {
    let fixture = Fixture::start().await;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let hmac = |secret: Vec<u8>| -> Token {
        let header = Header { kid: Some("first".to_owned()), ..Header::new(Algorithm::HS256) };
        Arc::new(move |_, claims| encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap())
    };
    let (foreign, _) = key();
    let forgeries: [(&str, Token); 6] = [
        ("none", Arc::new(move |_, claims| format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims)))),
        // HMAC, announced by the provider and with a key in its JWKS: the client's secret.
        ("HS256 with the client's secret", hmac(CLIENT_SECRET.into())),
        ("HS256 with the public key", hmac(fixture.fake.public_key().to_vec())),
        (
            "another's key under the provider's id",
            Arc::new(move |_, claims| {
                let header = Header { kid: Some("first".to_owned()), ..Header::new(Algorithm::ES256) };
                encode(&header, &claims, &EncodingKey::from_ec_der(&foreign)).unwrap()
            }),
        ),
        (
            "claims that were changed after signing",
            Arc::new(move |fake, claims| {
                let signed = fake.sign(&claims);
                let mut changed = claims;
                changed["sub"] = json!("victim");
                let parts: Vec<&str> = signed.split('.').collect();
                format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(changed.to_string()), parts[2])
            }),
        ),
        ("nonsense", Arc::new(|_, _| "a.b.c".to_owned())),
    ];
    for (what, token) in forgeries {
        assert_eq!(refusal(fixture.forged(|_| (), Some(token)).await), Reason::ProviderRefused, "{what}");
    }
}

#[tokio::test]
async fn redirects_and_oversized_responses_of_the_provider_are_refused() {
    let fixture = Fixture::start().await;
    for token_endpoint in [TokenEndpoint::Redirects, TokenEndpoint::Endless] {
        fixture.fake.set_token_endpoint(token_endpoint);
        assert_eq!(refusal(fixture.forged(|_| (), None).await), Reason::ProviderRefused);
    }
    // The user declined (RFC 6749, section 4.1.2.1), or the code is missing.
    fixture.fake.set_token_endpoint(TokenEndpoint::Fine);
    for error in ["access_denied", ""] {
        let sent = fixture.authorize("acme").await;
        let back = CallbackRequest { error: error.to_owned(), ..sent.callback_request("") };
        assert_eq!(refusal(fixture.callback(back).await), Reason::ProviderRefused);
    }
}

/// CWE-601.
#[tokio::test]
async fn redirects_outside_the_web_app_are_refused() {
    let fixture = Fixture::start().await;
    for redirect in ["//evil.example", "/\\evil.example", "https://evil.example/inbox", "javascript:alert(1)"] {
        let request = AuthorizeRequest { provider: "acme".to_owned(), redirect: redirect.to_owned() };
        assert_eq!(refusal(fixture.oauth().authorize(request).await), Reason::ValidationFailed, "{redirect}");
    }
}
