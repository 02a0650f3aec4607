//! `Idempotency-Key`: a repeated request is executed once.

use baton_tests::Platform;
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn twenty_creates_with_one_key_create_one_task() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let key = Uuid::new_v4().to_string();
    let task = json!({"title": "Once", "tags": ["a"], "assigned_to": team.user.id});
    let create = || team.manager.post("/v1/tasks", &task).header("idempotency-key", &key);

    let responses = join_all((0..20).map(|_| create().send())).await;
    let first = responses[0].json();
    for response in &responses {
        assert_eq!((response.status, response.json()), (200, first.clone()));
    }
    assert_eq!(create().ok().await, first);
    assert_eq!(team.manager.get("/v1/tasks").ok().await["meta"]["total_count"], 1);

    let other = json!({"title": "Another"});
    let reused = team.manager.post("/v1/tasks", &other).header("idempotency-key", &key);
    reused.refused(422, "IDEMPOTENCY_KEY_REUSED").await;
    assert_eq!(team.manager.get("/v1/tasks").ok().await["meta"]["total_count"], 1);
    // A key belongs to one user in one account.
    let of_user = team.user.post("/v1/tasks", &other).header("idempotency-key", &key).ok().await;
    assert_ne!(of_user["id"], first["id"]);
    let elsewhere = team.manager.at(team.manager.create_account("Elsewhere").await);
    let there = elsewhere.post("/v1/tasks", &other).header("idempotency-key", &key).ok().await;
    assert_ne!(there["id"], first["id"]);

    // One assignment creates one notification.
    let notified = baton_tests::eventually("a notification", || async {
        let list = team.user.get("/v1/notifications").ok().await;
        Some(list).filter(|list| list["meta"]["total_count"] != json!(0))
    })
    .await;
    assert_eq!(notified["notifications"].as_array().unwrap().len(), 1, "{notified}");
}

#[tokio::test]
async fn repeated_transition_gets_the_first_response() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let id = team.user.create_task("Stepwise").await;
    let step = |name: &str, body: &Value, key: &str| {
        team.user.post(&format!("/v1/tasks/{id}/{name}"), body).header("idempotency-key", key)
    };
    let started = step("start", &json!({}), "start").ok().await;
    let paused = step("pause", &json!({"reason": "Lunch"}), "pause").ok().await;
    assert_eq!(step("start", &json!({}), "start").ok().await, started);
    assert_eq!(step("pause", &json!({"reason": "Lunch"}), "pause").ok().await, paused);
    step("pause", &json!({"reason": "Dinner"}), "pause").refused(422, "IDEMPOTENCY_KEY_REUSED").await;
    // Without the key it is a new request, which the task's state refuses.
    team.user
        .post(&format!("/v1/tasks/{id}/pause"), &json!({"reason": "Lunch"}))
        .refused(409, "TASK_WRONG_STATE")
        .await;
    // A refusal is not stored: the same key may succeed later.
    step("resume", &json!({}), "resume").ok().await;
    step("start", &json!({}), "again").refused(409, "TASK_WRONG_STATE").await;
    assert_eq!(team.user.get(&format!("/v1/tasks/{id}")).ok().await["version"], 4);
}
