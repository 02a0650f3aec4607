//! What an attacker would try at the callback.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_proto::baton::auth::v1::{AuthorizeRequest, CallbackRequest};
use chrono::{TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::*;
use crate::by_provider::fake::{Mood, key};

/// RFC 9700, sections 4.7 and 2.1.1; RFC 6749, section 10.12 (login CSRF).
#[tokio::test]
async fn a_state_works_once_in_the_browser_that_began() {
    let stage = Stage::start().await;
    let (victim, attacker) = (stage.authorize("acme").await, stage.authorize("acme").await);
    let code = stage.code(&attacker, stage.claims(&attacker, "attacker", &address("attacker")));
    let back = attacker.back(&code);
    let invalid = async |request: CallbackRequest, what: &str| {
        assert_eq!(refusal(stage.callback(request).await), Reason::OauthStateInvalid, "{what}");
    };
    // The attacker's link, opened by a browser that began nothing, or something of its own.
    invalid(CallbackRequest { browser_token: String::new(), ..back.clone() }, "no browser").await;
    invalid(CallbackRequest { browser_token: victim.browser_token.clone(), ..back.clone() }, "another browser").await;
    invalid(CallbackRequest { state: victim.url["state"].clone(), ..back.clone() }, "another state").await;
    invalid(CallbackRequest { state: "never made".to_owned(), ..back.clone() }, "no state of ours").await;
    // None of that used it up for the browser that began.
    stage.callback(back.clone()).await.unwrap();
    let code = stage.code(&attacker, stage.claims(&attacker, "attacker", &address("attacker")));
    invalid(attacker.back(&code), "replayed").await;
}

#[tokio::test]
async fn of_many_callbacks_at_once_one_signs_in() {
    let stage = Stage::start().await;
    let sent = stage.authorize("acme").await;
    let calls = (0..8).map(|_| {
        let code = stage.code(&sent, stage.claims(&sent, "1", "ada@example.org"));
        stage.callback(sent.back(&code))
    });
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_state_lives_for_ten_minutes() {
    let stage = Stage::start_at(Clock::fixed(Utc::now())).await;
    let sign_in = async |wait: TimeDelta| {
        let sent = stage.authorize("acme").await;
        stage.clock.advance(wait);
        let mut claims = stage.claims(&sent, "1", "ada@example.org");
        claims["exp"] = json!(stage.clock.now().timestamp() + 300);
        let code = stage.code(&sent, claims);
        stage.callback(sent.back(&code)).await
    };
    sign_in(TimeDelta::seconds(599)).await.unwrap();
    assert_eq!(refusal(sign_in(TimeDelta::seconds(600)).await), Reason::OauthStateInvalid);
    // What has expired goes with the next sign-ins.
    for _ in 0..2 {
        stage.authorize("acme").await;
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from auth.oauth_flows where expires_at < $1")
        .bind(stage.clock.now())
        .fetch_one(&stage.world.admin())
        .await
        .unwrap();
    assert_eq!(kept, 0);
}

/// Mix-up (RFC 9207; RFC 9700, section 4.4; CVE-2026-109372): the answer of one provider at another's callback.
#[tokio::test]
async fn a_callback_is_for_the_provider_that_was_asked() {
    let stage = Stage::start().await;
    let sent = stage.authorize("evil").await;
    let code = stage.code(&sent, stage.claims(&sent, "1", &address("ada")));
    let elsewhere = CallbackRequest { provider: "acme".to_owned(), ..sent.back(&code) };
    assert_eq!(refusal(stage.callback(elsewhere).await), Reason::OauthStateInvalid);
    // That ended it: the attacker does not get a second try.
    assert_eq!(refusal(stage.callback(sent.back(&code)).await), Reason::OauthStateInvalid);

    // The same, told by the issuer that the answer names.
    for (provider, iss, holds) in [
        ("acme", stage.fake.issuer("acme"), true),
        ("acme", stage.fake.issuer("evil"), false),
        ("acme", format!("{}/", stage.fake.issuer("acme")), false),
        ("github", stage.fake.issuer("evil"), false),
        // One that announces to name itself must.
        ("strict", String::new(), false),
        ("strict", stage.fake.issuer("strict"), true),
    ] {
        let sent = stage.authorize(provider).await;
        let code = stage.code(&sent, stage.claims(&sent, "1", &address("ada")));
        let answer = stage.callback(CallbackRequest { iss: iss.clone(), ..sent.back(&code) }).await;
        match holds {
            true => assert!(answer.is_ok(), "{provider} {iss}: {answer:?}"),
            false => assert_eq!(refusal(answer), Reason::ProviderRefused, "{provider} {iss}"),
        }
    }
}

/// CVE-2025-64717: a provider that is switched off still answered callbacks.
#[tokio::test]
async fn a_provider_that_is_switched_off_is_as_absent_as_one_that_never_was() {
    let stage = Stage::start().await;
    let sent = stage.authorize("acme").await;
    // Begun before it was switched off.
    sqlx::query("update auth.oauth_flows set provider = 'off'").execute(&stage.world.admin()).await.unwrap();
    let code = stage.fake.give(&sent.url["code_challenge"], json!({}), json!({}), None);
    for provider in ["off", "never-was"] {
        let back = CallbackRequest { provider: provider.to_owned(), ..sent.back(&code) };
        assert_eq!(refusal(stage.callback(back).await), Reason::ProviderUnknown);
        let request = AuthorizeRequest { provider: provider.to_owned(), redirect: String::new() };
        assert_eq!(refusal(stage.oauth().authorize(request).await), Reason::ProviderUnknown);
    }
}

/// RFC 7636; RFC 9700, section 4.5: a code that was stolen on its way, put into the thief's own sign-in.
#[tokio::test]
async fn a_stolen_code_is_of_no_use_in_another_sign_in() {
    let stage = Stage::start().await;
    let (victim, thief) = (stage.authorize("acme").await, stage.authorize("acme").await);
    let code = stage.code(&victim, stage.claims(&victim, "victim", &address("victim")));
    // PKCE: the fake provider checks the verifier, as all must.
    assert_eq!(refusal(stage.callback(thief.back(&code)).await), Reason::ProviderRefused);

    // A provider that does not look at PKCE: then the nonce tells (OpenID Connect Core 1.0, section 15.5.2).
    let thief = stage.authorize("acme").await;
    let claims = stage.claims(&victim, "victim", &address("victim"));
    let code = stage.fake.give(&thief.url["code_challenge"], claims, json!({}), None);
    assert_eq!(refusal(stage.callback(thief.back(&code)).await), Reason::ProviderRefused);

    // And with GitHub, which has no nonce.
    stage.fake.github(json!({"id": 1, "login": "victim"}), json!([]));
    let (victim, thief) = (stage.authorize("github").await, stage.authorize("github").await);
    let code = stage.code(&victim, json!({}));
    assert_eq!(refusal(stage.callback(thief.back(&code)).await), Reason::ProviderRefused);
}

/// OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725, sections 2.1 and 3.1.
#[tokio::test]
async fn an_id_token_must_be_the_provider_s_for_us_and_for_now() {
    let stage = Stage::start().await;
    let now = Utc::now().timestamp();
    stage.forged(|_| (), None).await.expect("one that holds");
    for (claim, value) in [
        ("iss", json!(stage.fake.issuer("evil"))),
        ("aud", json!("another client")),
        ("aud", json!([CLIENT_ID, "another client"])),
        ("azp", json!("another client")),
        ("exp", json!(now - 120)),
        // CVE-2026-25537: a mistyped time is not an absent one.
        ("exp", json!("2099-01-01")),
        ("iat", json!(now + 3600)),
        ("nbf", json!(now + 3600)),
        ("nonce", json!("of another sign-in")),
        ("nonce", json!(null)),
        ("sub", json!("")),
    ] {
        let answer = stage.forged(|claims| claims[claim] = value.clone(), None).await;
        assert_eq!(refusal(answer), Reason::ProviderRefused, "{claim}: {value}");
    }
}

#[tokio::test]
async fn an_id_token_must_be_signed_by_the_provider_s_key() {
    let stage = Stage::start().await;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let hmac = |secret: Vec<u8>| -> Token {
        let header = Header { kid: Some("first".to_owned()), ..Header::new(Algorithm::HS256) };
        Arc::new(move |_, claims| encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap())
    };
    let (foreign, _) = key();
    let forgeries: [(&str, Token); 6] = [
        ("none", Arc::new(move |_, claims| format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims)))),
        // Announced by the provider, with a key that is in its JWKS: the secret that the client has as well.
        ("HS256 with the client's secret", hmac(CLIENT_SECRET.into())),
        ("HS256 with the public key", hmac(stage.fake.public_key().to_vec())),
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
        assert_eq!(refusal(stage.forged(|_| (), Some(token)).await), Reason::ProviderRefused, "{what}");
    }
}

#[tokio::test]
async fn what_the_provider_answers_leads_nowhere_and_fills_no_memory() {
    let stage = Stage::start().await;
    for mood in [Mood::Redirects, Mood::Endless] {
        stage.fake.mood(mood);
        assert_eq!(refusal(stage.forged(|_| (), None).await), Reason::ProviderRefused);
    }
    // The person said no (RFC 6749, section 4.1.2.1), or there is no code.
    stage.fake.mood(Mood::Fine);
    for error in ["access_denied", ""] {
        let sent = stage.authorize("acme").await;
        let back = CallbackRequest { error: error.to_owned(), ..sent.back("") };
        assert_eq!(refusal(stage.callback(back).await), Reason::ProviderRefused);
    }
}

/// CWE-601.
#[tokio::test]
async fn nobody_is_sent_elsewhere_than_to_the_web_app() {
    let stage = Stage::start().await;
    for redirect in ["//evil.example", "/\\evil.example", "https://evil.example/inbox", "javascript:alert(1)"] {
        let request = AuthorizeRequest { provider: "acme".to_owned(), redirect: redirect.to_owned() };
        assert_eq!(refusal(stage.oauth().authorize(request).await), Reason::ValidationFailed, "{redirect}");
    }
}
