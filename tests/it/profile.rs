//! A user's own profile, password, e-mail address and deactivation.

use baton_tests::{PASSWORD, Person, Platform, eventually};
use serde_json::json;

const OTHER: &str = "orchid lantern tidal 7";

/// Waits for a mail with this subject.
async fn wait_for_mail(platform: &Platform, email: &str, subject: &str) {
    eventually(subject, || async {
        let mails = platform.rest().get(&format!("/dev/mailbox?to={email}")).ok().await;
        mails["messages"].as_array().unwrap().iter().any(|mail| mail["subject"] == subject).then_some(())
    })
    .await;
}

/// Waits until the access token is refused by a service other than the one that closed the session.
async fn wait_until_signed_out(person: &Person) {
    eventually("the session is closed", || async {
        (person.get("/v1/accounts").send().await.status == 401).then_some(())
    })
    .await;
}

async fn login(platform: &Platform, email: &str, password: &str) -> baton_tests::RestResponse {
    platform.rest().post("/v1/auth/login", &json!({"email": email, "password": password})).send().await
}

#[tokio::test]
async fn profile_patch_changes_only_own_writable_fields() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let response = ada.get("/v1/users/me").send().await;
    assert_eq!((response.status, response.etag_version()), (200, "1"));
    let me = response.json();
    assert_eq!(
        (&me["timezone"], &me["sign_in_count"], &me["email_verified"]),
        (&json!("UTC"), &json!(1), &json!(true))
    );
    assert_eq!(me["current_sign_in_address"], "127.0.0.1", "{me}");

    let patch = json!({
        "first_name": "Augusta", "mobile": "+44 20 7946 0018", "avatar_url": "https://example.com/a.png",
        "company": "Engines", "job_role": "Analyst", "timezone": "Europe/London", "language": "en-GB",
        "preferences": {"theme": "dark", "rows": 20},
    });
    let changed = ada.patch("/v1/users/me", &patch).header("if-match", "\"1\"").ok().await;
    assert_eq!((&changed["version"], &changed["first_name"]), (&json!(2), &json!("Augusta")), "{changed}");
    ada.patch("/v1/users/me", &patch).header("if-match", "\"1\"").refused(412, "VERSION_MISMATCH").await;
    let merged = json!({"preferences": {"rows": null, "columns": 3}, "company": null, "timezone": null});
    let merged = ada.patch("/v1/users/me", &merged).ok().await;
    assert_eq!(merged["preferences"], json!({"theme": "dark", "columns": 3}));
    assert_eq!((&merged["company"], &merged["timezone"]), (&json!(""), &json!("UTC")));

    // Mass assignment (OWASP API3:2023).
    for wrong in [
        json!({"email": "other@example.com"}),
        json!({"email_verified": true}),
        json!({"company": "x", "sign_in_count": 99}),
        json!({"role": "owner"}),
        json!({"consent_version": 1}),
        json!({"id": "00000000-0000-7000-8000-000000000000"}),
        json!({"data_retention_date": null}),
    ] {
        ada.patch("/v1/users/me", &wrong).refused(400, "UNKNOWN_FIELD").await;
    }
    for wrong in [
        json!({"timezone": "Mars/Olympus"}),
        json!({"language": "no such tag at all"}),
        json!({"mobile": "12"}),
        json!({"avatar_url": "javascript:alert(1)"}),
        json!({"preferences": {"big": "x".repeat(20_000)}}),
        json!({"first_name": null}),
    ] {
        ada.patch("/v1/users/me", &wrong).refused(400, "VALIDATION_FAILED").await;
    }
    assert_eq!(ada.get("/v1/users/me").ok().await, merged);
}

#[tokio::test]
async fn password_is_changed_and_reset() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let phone = platform.sign_in(&ada.email).await;
    let change = |current: &str, new: &str| {
        ada.post("/v1/users/me/change-password", &json!({"current_password": current, "new_password": new}))
    };
    change("not the password", OTHER).refused(403, "PROOF_INVALID").await;
    change(PASSWORD, "t3uywqv52wmki").refused(400, "PASSWORD_TOO_WEAK").await;
    change(PASSWORD, OTHER).ok().await;
    wait_until_signed_out(&phone).await;
    ada.get("/v1/users/me").ok().await;
    assert_eq!(login(&platform, &ada.email, PASSWORD).await.status, 401);
    assert_eq!(login(&platform, &ada.email, OTHER).await.status, 200);
    wait_for_mail(&platform, &ada.email, "Your password was changed").await;

    let rest = platform.rest();
    let ask = |email: &str| rest.post("/v1/auth/password-reset", &json!({"email": email}));
    let (known, unknown) = (ask(&ada.email).ok().await, ask("nobody@example.com").ok().await);
    assert_eq!(known, unknown);
    let token = platform.mailed_token(&ada.email, "/reset-password").await;
    let confirm =
        |new: &str| rest.post("/v1/auth/password-reset/confirm", &json!({"token": token, "new_password": new}));
    confirm("password1234").refused(400, "PASSWORD_TOO_WEAK").await;
    confirm(PASSWORD).ok().await;
    confirm(PASSWORD).refused(400, "LINK_INVALID").await;
    wait_until_signed_out(&ada).await;
    assert_eq!(login(&platform, &ada.email, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn email_change_requires_the_new_mailbox() {
    let platform = Platform::start().await;
    let (ada, ben) = (platform.person("ada").await, platform.person("ben").await);
    let ask = |email: &str, password: &str| {
        ada.post("/v1/users/me/change-email", &json!({"email": email, "password": password}))
    };
    ask("new@example.com", "not the password").refused(403, "PROOF_INVALID").await;
    let (free, taken) = (ask("new@example.com", PASSWORD).ok().await, ask(&ben.email, PASSWORD).ok().await);
    assert_eq!(free, taken);
    wait_for_mail(&platform, &ben.email, "This address is yours already").await;
    ask("new@example.com", PASSWORD).ok().await;
    wait_for_mail(&platform, &ada.email, "A new address for your sign-in").await;
    let confirmed = eventually("the newest link works", || async {
        let token = platform.mailed_token("new@example.com", "/confirm-email").await;
        let response = platform.rest().post("/v1/auth/change-email/confirm", &json!({"token": token})).send().await;
        (response.status == 200).then(|| response.json())
    })
    .await;
    assert_eq!(
        (&confirmed["user"]["email"], &confirmed["user"]["email_verified"]),
        (&json!("new@example.com"), &json!(true))
    );
    assert_eq!(ada.get("/v1/users/me").ok().await["email"], "new@example.com");
    wait_for_mail(&platform, &ada.email, "Your address was changed").await;
    assert_eq!(login(&platform, &ada.email, PASSWORD).await.status, 401);
    assert_eq!(login(&platform, "new@example.com", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn user_is_deactivated_and_reactivated() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let gone = ada.post("/v1/users/me/deactivate", &json!({"password": PASSWORD})).ok().await;
    assert!(gone["data_retention_date"].is_string(), "{gone}");
    wait_until_signed_out(&ada).await;
    let credentials = json!({"email": ada.email, "password": PASSWORD});
    platform.rest().post("/v1/auth/login", &credentials).refused(403, "USER_DEACTIVATED").await;
    let token = platform.mailed_token(&ada.email, "/reactivate").await;
    platform.rest().post("/v1/auth/reactivate", &json!({"token": token})).ok().await;
    platform.sign_in(&ada.email).await.get("/v1/users/me").ok().await;
}

#[tokio::test]
async fn activation_link_is_mailed_again() {
    let platform = Platform::start().await;
    let rest = platform.rest();
    let register = json!({"email": "ada@example.com", "password": PASSWORD, "first_name": "A", "last_name": "L"});
    rest.post("/v1/auth/register", &register).ok().await;
    let link = platform.mailed_token("ada@example.com", "/verify-email").await;
    let resend = |email: &str| rest.post("/v1/auth/verify-email/resend", &json!({"email": email}));
    assert_eq!(resend("ada@example.com").ok().await, resend("nobody@example.com").ok().await);
    // The valid link is sent again: a request, perhaps by a stranger, invalidates no link.
    eventually("a second mail", || async {
        let mails = rest.get("/dev/mailbox?to=ada@example.com").ok().await;
        let links = mails["messages"].as_array().unwrap().iter();
        (links.filter(|mail| mail["text"].as_str().unwrap().contains(&link)).count() == 2).then_some(())
    })
    .await;
    rest.post("/v1/auth/verify-email", &json!({"token": link})).ok().await;
}
