//! MFA: setup, sign-in, recovery codes, and accounts that require it.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use baton_tests::{PASSWORD, Person, Platform, eventually};
use reqwest::Method;
use serde_json::{Value, json};

/// The TOTP code for a secret (RFC 6238), this many time steps from now.
fn code(secret: &str, steps_away: u64) -> String {
    let bits: String = secret
        .bytes()
        .map(|b| format!("{:05b}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".bytes().position(|known| known == b).unwrap()))
        .collect();
    let key: Vec<u8> = (0..bits.len() / 8).map(|n| u8::from_str_radix(&bits[n * 8..n * 8 + 8], 2).unwrap()).collect();
    let step = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 30 + steps_away;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key), &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[19] & 15);
    let word = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

/// Enables MFA and returns the secret and the recovery codes.
pub(crate) async fn set_up(person: &Person) -> (String, Vec<Value>) {
    let secret = text(&person.post("/v1/auth/mfa/totp", &json!({})).ok().await["secret"]);
    let confirmed = person.post("/v1/auth/mfa/totp/confirm", &json!({"code": code(&secret, 0)})).ok().await;
    (secret, confirmed["recovery_codes"].as_array().unwrap().clone())
}

/// Signs in with the password and returns the MFA challenge.
async fn challenge(platform: &Platform, person: &Person) -> Value {
    let login = json!({"email": person.email, "password": PASSWORD});
    let response = platform.rest().post("/v1/auth/login", &login).ok().await;
    assert_eq!(
        (&response["mfa_required"], &response["access_token"], &response["refresh_token"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    response["mfa_token"].clone()
}

/// Enables MFA, and signs the person in with both factors.
pub(crate) async fn with_second_factor(platform: &Platform, person: &Person) -> Person {
    let (_, recovery_codes) = set_up(person).await;
    let token = challenge(platform, person).await;
    let verify = json!({"mfa_token": token, "code": recovery_codes[0]});
    let session = platform.rest().post("/v1/auth/mfa/verify", &verify).ok().await;
    person.in_session(&text(&session["access_token"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}

fn amr(session: &Value) -> Value {
    let claims = text(&session["access_token"]);
    let claims = URL_SAFE_NO_PAD.decode(claims.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["amr"].clone()
}

#[tokio::test]
async fn sign_in_requires_a_code_until_mfa_is_disabled() {
    let platform = Platform::start().await;
    let rest = platform.rest();
    let ada = platform.person("ada").await;
    // An empty body may be omitted over REST.
    let enrolled = ada.call(Method::POST, "/v1/auth/mfa/totp").ok().await;
    let secret = text(&enrolled["secret"]);
    assert!(text(&enrolled["otpauth_url"]).starts_with("otpauth://totp/Baton:"), "{enrolled}");
    assert!(STANDARD.decode(text(&enrolled["qr_png"])).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    // Until setup is confirmed, sign-in is unchanged.
    let plain = rest.post("/v1/auth/login", &json!({"email": ada.email, "password": PASSWORD})).ok().await;
    assert_eq!((&plain["mfa_required"], &plain["mfa_token"]), (&json!(false), &Value::Null));
    assert_eq!(amr(&plain), json!(["pwd"]));

    let first = code(&secret, 0);
    let confirmed = ada.post("/v1/auth/mfa/totp/confirm", &json!({"code": first})).ok().await;
    let recovery_codes = confirmed["recovery_codes"].as_array().unwrap();
    assert_eq!(recovery_codes.len(), 10);
    ada.post("/v1/auth/mfa/totp", &json!({"password": PASSWORD})).refused(403, "PROOF_REQUIRED").await;

    let verify =
        |token: &Value, code: &Value| rest.post("/v1/auth/mfa/verify", &json!({"mfa_token": token, "code": code}));
    let token = challenge(&platform, &ada).await;
    verify(&token, &json!(first)).refused(401, "MFA_CODE_INVALID").await;
    verify(&json!("nonsense"), &json!(code(&secret, 1))).refused(401, "MFA_TOKEN_INVALID").await;
    let session = verify(&token, &json!(code(&secret, 1))).ok().await;
    assert_eq!((&session["token_type"], &session["expires_in"]), (&json!("Bearer"), &json!(900)), "{session}");
    assert_eq!(amr(&session), json!(["pwd", "otp", "mfa"]));
    let refresh = json!({"refresh_token": session["refresh_token"]});
    assert_eq!(amr(&rest.post("/v1/auth/refresh", &refresh).ok().await), json!(["pwd", "otp", "mfa"]));

    // The device is lost: a recovery code is used.
    let session = verify(&challenge(&platform, &ada).await, &recovery_codes[0]).ok().await;
    verify(&challenge(&platform, &ada).await, &recovery_codes[0]).refused(401, "MFA_CODE_INVALID").await;
    let again = rest.with_token(text(&session["access_token"]));
    assert_eq!(again.get("/v1/auth/mfa").ok().await["recovery_codes_left"], 9);
    again.delete("/v1/auth/mfa/totp").refused(403, "PROOF_REQUIRED").await;
    again.delete("/v1/auth/mfa/totp").json(&json!({"code": recovery_codes[0]})).refused(403, "PROOF_INVALID").await;
    again.delete("/v1/auth/mfa/totp").json(&json!({"password": PASSWORD})).ok().await;
    let plain = rest.post("/v1/auth/login", &json!({"email": ada.email, "password": PASSWORD})).ok().await;
    assert_eq!(plain["mfa_required"], false);

    let mailbox = format!("/dev/mailbox?to={}", ada.email);
    for subject in ["Second factor switched on", "A recovery code was used", "Second factor switched off"] {
        eventually(subject, || async {
            let mails = rest.get(&mailbox).ok().await;
            mails["messages"].as_array().unwrap().iter().any(|mail| mail["subject"] == subject).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn password_reset_does_not_bypass_mfa() {
    // ASVS 5.0, 6.4.3: the mailbox is only one factor.
    let platform = Platform::start().await;
    let rest = platform.rest();
    let ada = platform.person("ada").await;
    let (secret, _) = set_up(&ada).await;
    let before = challenge(&platform, &ada).await;
    rest.post("/v1/auth/password-reset", &json!({"email": ada.email})).ok().await;
    let token = platform.mailed_token(&ada.email, "/reset-password").await;
    let new = "another lantern by the sea 8";
    rest.post("/v1/auth/password-reset/confirm", &json!({"token": token, "new_password": new})).ok().await;
    let response = rest.post("/v1/auth/login", &json!({"email": ada.email, "password": new})).ok().await;
    assert_eq!((&response["mfa_required"], &response["access_token"]), (&json!(true), &Value::Null), "{response}");
    // A challenge that was issued for the old password is no longer valid.
    let verify = |token: &Value| {
        let verify = json!({"mfa_token": token, "code": code(&secret, 1)});
        rest.post("/v1/auth/mfa/verify", &verify)
    };
    verify(&before).refused(401, "MFA_TOKEN_INVALID").await;
    verify(&response["mfa_token"]).ok().await;
}

#[tokio::test]
async fn code_guessing_is_locked_out() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let (secret, _) = set_up(&ada).await;
    let right = code(&secret, 1);
    let wrong = (0..5).map(|n| format!("{n:06}")).filter(|code| *code != right).take(4);
    let mut refused = Vec::new();
    for wrong in wrong.chain(["999".to_owned(), right.clone(), right.clone()]) {
        // A new challenge for each guess does not help.
        let verify = json!({"mfa_token": challenge(&platform, &ada).await, "code": wrong});
        refused.push(platform.rest().post("/v1/auth/mfa/verify", &verify).send().await);
    }
    let (heard, unheard) = refused.split_at(5);
    heard.iter().for_each(|response| drop(response.refused(401, "MFA_CODE_INVALID")));
    for response in unheard {
        response.refused(429, "TOO_MANY_ATTEMPTS");
        let wait: u64 = response.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn account_may_require_mfa_of_its_members() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let settings = format!("/v1/accounts/{}/settings", team.account_id);
    team.owner.patch(&settings, &json!({"require_second_factor": true})).ok().await;
    for person in [&team.owner, &team.user] {
        eventually("the account refuses single-factor sessions", || async {
            (person.get("/v1/tasks").send().await.status == 403).then_some(())
        })
        .await;
        person.get("/v1/tasks").refused(403, "SECOND_FACTOR_REQUIRED").await;
        person.post("/v1/tasks", &json!({"title": "A task"})).refused(403, "SECOND_FACTOR_REQUIRED").await;
        // Calls without an account stay allowed, so that the user can set MFA up.
        person.get("/v1/accounts").ok().await;
    }
    set_up(&team.user).await;
    let refresh = json!({"refresh_token": team.user.refresh_token});
    let next = platform.rest().post("/v1/auth/refresh", &refresh).ok().await;
    let user = platform.rest().with_token(text(&next["access_token"])).in_account(team.account_id);
    user.get("/v1/tasks").ok().await;
    // Without MFA the account is refused again.
    user.delete("/v1/auth/mfa/totp").json(&json!({"password": PASSWORD})).ok().await;
    let refresh = json!({"refresh_token": next["refresh_token"]});
    let next = platform.rest().post("/v1/auth/refresh", &refresh).ok().await;
    let user = platform.rest().with_token(text(&next["access_token"])).in_account(team.account_id);
    user.get("/v1/tasks").refused(403, "SECOND_FACTOR_REQUIRED").await;
}
