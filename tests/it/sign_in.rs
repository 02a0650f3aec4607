//! Registration, sign-in, and the end of sessions.

use std::time::Instant;

use baton_tests::{PASSWORD, Platform, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn sign_in_requires_a_confirmed_email() {
    let platform = Platform::start().await;
    let rest = platform.rest();
    let register =
        json!({"email": "Ada@Example.com", "password": PASSWORD, "first_name": "Ada", "last_name": "Lovelace"});
    let response = rest.post("/v1/auth/register", &register).ok().await;
    assert_eq!(
        (&response["user"]["email"], &response["user"]["email_verified"]),
        (&json!("Ada@Example.com"), &json!(false))
    );
    let login = json!({"email": "ada@example.com", "password": PASSWORD});
    rest.post("/v1/auth/login", &login).refused(401, "CREDENTIALS_INVALID").await;
    rest.post("/v1/auth/verify-email", &json!({"token": "nonsense"})).refused(400, "LINK_INVALID").await;

    let token = json!({"token": platform.mailed_token("ada@example.com", "/verify-email").await});
    for _ in 0..2 {
        let user = rest.post("/v1/auth/verify-email", &token).ok().await;
        assert_eq!(user["user"]["email_verified"], true, "{user}");
    }
    let session = rest.post("/v1/auth/login", &login).ok().await;
    assert_eq!((&session["token_type"], &session["expires_in"]), (&json!("Bearer"), &json!(900)), "{session}");
    let me = rest.with_token(session["access_token"].as_str().unwrap()).get("/v1/users/me").ok().await;
    assert_eq!((&me["id"], &me["first_name"]), (&session["user"]["id"], &json!("Ada")), "{me}");

    // Registering a known address returns the same response.
    let again = rest.post("/v1/auth/register", &register).ok().await;
    let shape = |response: &Value| response["user"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(shape(&again), shape(&response));
}

#[tokio::test]
async fn unknown_email_and_wrong_password_are_indistinguishable() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let login =
        |email: &str| platform.rest().post("/v1/auth/login", &json!({"email": email, "password": "not the password"}));
    let wrong = login(&ada.email).refused(401, "CREDENTIALS_INVALID").await;
    let unknown = login("nobody@example.com").refused(401, "CREDENTIALS_INVALID").await;
    let error_parts = |mut problem: Value| {
        problem.as_object_mut().unwrap().remove("trace_id");
        problem
    };
    assert_eq!(error_parts(wrong), error_parts(unknown));

    // Nor by timing: without a hash for an unknown address the response would take a tenth of the time.
    let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
    for n in 0..9 {
        for (email, times) in [(ada.email.clone(), &mut wrong), (format!("nobody-{n}@example.com"), &mut unknown)] {
            let started = Instant::now();
            login(&email).refused(401, "CREDENTIALS_INVALID").await;
            times.push(started.elapsed());
        }
    }
    let [wrong, unknown] = [wrong, unknown].map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    assert!(
        unknown * 3 > wrong && wrong * 3 > unknown,
        "{unknown:?} for an unknown address, {wrong:?} for a known one"
    );
}

#[tokio::test]
async fn reused_refresh_token_closes_the_session() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let refresh = |token: &str| platform.rest().post("/v1/auth/refresh", &json!({"refresh_token": token}));
    let next = refresh(&ada.refresh_token).ok().await;
    let next = refresh(next["refresh_token"].as_str().unwrap()).ok().await;
    let newest = next["refresh_token"].as_str().unwrap();
    let renewed = platform.rest().with_token(next["access_token"].as_str().unwrap());
    renewed.get("/v1/users/me").ok().await;

    refresh(&ada.refresh_token).refused(401, "TOKEN_REUSED").await;
    refresh(newest).refused(401, "SESSION_CLOSED").await;
    eventually("the session's access tokens stop working", || async {
        (renewed.get("/v1/users/me").send().await.status == 401).then_some(())
    })
    .await;
    renewed.get("/v1/users/me").refused(401, "SESSION_CLOSED").await;
    // Another session of the same user stays valid.
    platform.sign_in(&ada.email).await.get("/v1/users/me").ok().await;
}

#[tokio::test]
async fn logout_ends_only_its_own_session() {
    let platform = Platform::start().await;
    let here = platform.person("ada").await;
    let there = platform.sign_in(&here.email).await;
    let logout = json!({"refresh_token": here.refresh_token});
    for _ in 0..2 {
        platform.rest().post("/v1/auth/logout", &logout).ok().await;
    }
    eventually("the access token stops working", || async {
        (here.get("/v1/users/me").send().await.status == 401).then_some(())
    })
    .await;
    there.get("/v1/users/me").ok().await;
}

#[tokio::test]
async fn weak_passwords_are_refused() {
    let platform = Platform::start().await;
    for (password, reasons) in [
        ("short", &["PASSWORD_TOO_WEAK", "VALIDATION_FAILED"][..]),
        ("password1234", &["PASSWORD_TOO_WEAK"]),
        ("aaaaaaaaaaaaaaaa", &["PASSWORD_TOO_WEAK"]),
    ] {
        let register =
            json!({"email": "ada@example.com", "password": password, "first_name": "Ada", "last_name": "Lovelace"});
        let problem = platform.rest().post("/v1/auth/register", &register).send().await.problem();
        assert!(reasons.contains(&problem["reason"].as_str().unwrap()), "{password}: {problem}");
        assert!(!problem.to_string().contains(password), "{problem}");
    }
    let mails = platform.rest().get("/dev/mailbox?to=ada@example.com").ok().await;
    assert_eq!(mails["messages"], json!([]));
}
