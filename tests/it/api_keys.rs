//! API keys through the gateway, and rotation of the signing keys.

use std::time::{Duration, Instant};

use baton_tests::{Platform, baton_binary, eventually};
use serde_json::{Value, json};
use uuid::Uuid;

/// Revocation takes at most a second; a busy machine gets more.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn key_works_within_its_scopes_until_it_is_deleted() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let ada = &team.user;
    let made = ada.post("/v1/api-keys", &json!({"name": "Report", "scopes": ["tasks:read"]})).ok().await;
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("bat_") && key.len() == 50 && key.starts_with(made["prefix"].as_str().unwrap()), "{made}");
    assert_eq!(made["scopes"], json!(["tasks:read"]));

    let script = platform.rest().with_token(key).in_account(team.account_id);
    script.get("/v1/tasks").ok().await;
    let refused = script.post("/v1/tasks", &json!({"title": "By script"})).refused(403, "SCOPE_MISSING").await;
    assert!(refused.to_string().contains("tasks:write"), "{refused}");
    script.get("/v1/notifications").refused(403, "SCOPE_MISSING").await;
    for path in ["/v1/api-keys", "/v1/auth/sessions", "/v1/auth/events"] {
        script.get(path).refused(403, "SESSION_REQUIRED").await;
    }
    script.post("/v1/api-keys", &json!({"name": "Another"})).refused(403, "SESSION_REQUIRED").await;
    let change = json!({"current_password": "x", "new_password": "another lantern orchid 7"});
    script.post("/v1/users/me/change-password", &change).refused(403, "SESSION_REQUIRED").await;

    // With all scopes the key still has only its user's role.
    let all = ada.post("/v1/api-keys", &json!({"name": "All"})).ok().await;
    let all = platform.rest().with_token(all["key"].as_str().unwrap()).in_account(team.account_id);
    let task = all.post("/v1/tasks", &json!({"title": "By script"})).ok().await;
    assert_eq!(task["created_by"], json!(ada.id), "{task}");
    all.get("/v1/boards/account").refused(403, "PERMISSION_MISSING").await;
    all.get("/v1/users/me").ok().await;

    let list = ada.get("/v1/api-keys").ok().await;
    assert_eq!(list["api_keys"].as_array().unwrap().len(), 2);
    assert!(!list.to_string().contains(key), "the key is shown once");
    let used = list["api_keys"].as_array().unwrap().iter().find(|listed| listed["id"] == made["id"]).unwrap();
    assert!(used["last_used_at"].is_string(), "{used}");

    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    // Another user's key is not found.
    team.owner.delete(&path).refused(404, "API_KEY_NOT_FOUND").await;
    ada.delete(&path).ok().await;
    let started = Instant::now();
    eventually("the key is refused", || async {
        let response = script.get("/v1/tasks").send().await;
        (response.status != 200).then(|| response.refused(401, "TOKEN_INVALID"))
    })
    .await;
    assert!(started.elapsed() < REVOCATION_TIMEOUT, "after {:?}", started.elapsed());
    ada.delete(&path).refused(404, "API_KEY_NOT_FOUND").await;
}

#[tokio::test]
async fn key_is_refused_by_other_accounts() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let (first, second) = (ada.create_account("First").await, ada.create_account("Second").await);
    let made = ada.post("/v1/api-keys", &json!({"name": "Second only", "account_id": second})).ok().await;
    let script = platform.rest().with_token(made["key"].as_str().unwrap());
    let task = script.post("/v1/tasks", &json!({"title": "Where?"})).ok().await;
    let id: Uuid = task["id"].as_str().unwrap().parse().unwrap();
    ada.at(second).get(&format!("/v1/tasks/{id}")).ok().await;
    script.in_account(first).get("/v1/tasks").refused(403, "NOT_A_MEMBER").await;
    script.get(&format!("/v1/accounts/{first}/members")).refused(403, "NOT_A_MEMBER").await;
    script.get(&format!("/v1/accounts/{second}/members")).ok().await;
}

#[tokio::test]
async fn invalid_key_requests_are_refused() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    for bad in [
        json!({"name": ""}),
        json!({}),
        json!({"name": "x", "scopes": ["everything"]}),
        json!({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}),
        json!({"name": "x", "account_id": "mine"}),
    ] {
        ada.post("/v1/api-keys", &bad).refused(400, "VALIDATION_FAILED").await;
    }
    ada.post("/v1/api-keys", &json!({"name": "x", "user_id": Uuid::now_v7()})).refused(400, "UNKNOWN_FIELD").await;
    assert_eq!(ada.get("/v1/api-keys").ok().await["api_keys"], json!([]));
}

#[tokio::test]
async fn signing_key_rotation_keeps_sessions() {
    let platform = Platform::start().await;
    let ada = platform.person("ada").await;
    let response = platform.rest().get("/.well-known/jwks.json").send().await;
    assert_eq!(response.header("cache-control"), "public, max-age=300");
    let tag = response.header("etag").to_owned();
    let before: Value = serde_json::from_str(&response.text).unwrap();
    assert_eq!(before["keys"].as_array().unwrap().len(), 1);

    let said = baton_keys(&platform, "rotate");
    assert!(said.lines().count() == 2 && said.contains("current") && said.contains("next"), "{said}");
    assert_eq!(baton_keys(&platform, "rotate"), said, "a next key already exists");
    let after = eventually("the next key", || async {
        let keys = platform.rest().get("/.well-known/jwks.json").ok().await;
        (keys["keys"].as_array().unwrap().len() == 2).then_some(keys)
    })
    .await;
    assert_eq!(after["keys"][0], before["keys"][0], "the old key signs until the new one is published everywhere");
    let changed = platform.rest().get("/.well-known/jwks.json").send().await;
    assert_ne!(changed.header("etag"), tag);
    ada.get("/v1/users/me").ok().await;
    platform.sign_in(&ada.email).await.get("/v1/users/me").ok().await;
}

/// Runs `baton keys` beside the platform, as an operator does.
fn baton_keys(platform: &Platform, command: &str) -> String {
    let file = std::fs::read_to_string(platform.data().join("keys.env")).unwrap();
    let sealing = file.lines().find_map(|line| line.strip_prefix("BATON_AUTH_SEALING_KEYS=")).unwrap();
    let ran = baton_binary()
        .env("BATON_AUTH_DATABASE_URL", platform.database_url())
        .env("BATON_AUTH_SEALING_KEYS", sealing)
        .args(["keys", command])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}
