//! Bulk changes over REST: a result for each task, dry runs, idempotency.

use baton_tests::{Platform, eventually};
use serde_json::{Value, json};

/// The results of these tasks.
fn verdicts(response: &Value, ids: &[&str]) -> Vec<String> {
    let results = response["results"].as_array().unwrap();
    assert_eq!(results.len(), ids.len(), "{response}");
    let result = |id: &&str| results.iter().find(|result| result["task_id"] == **id).unwrap();
    ids.iter().map(|id| result(id)["reason"].as_str().unwrap_or("ok").to_owned()).collect()
}

#[tokio::test]
async fn bulk_change_returns_a_result_for_each_task() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (me, manager, owner) = (&team.user, &team.manager, &team.owner);
    let mut ids = Vec::new();
    for title in ["One", "Two", "Three"] {
        let task = json!({"title": title, "visibility": "account", "tags": ["spring"]});
        ids.push(manager.post("/v1/tasks", &task).ok().await["id"].as_str().unwrap().to_owned());
    }
    let bulk = "/v1/tasks/bulk";
    let assign = json!({"action": "assign", "task_ids": ids, "assigned_to": me.id});
    me.post(bulk, &assign).refused(403, "PERMISSION_MISSING").await;
    manager.post(bulk, &assign).ok().await;
    eventually("three notifications", || async {
        let list = me.get("/v1/notifications?per_page=100").ok().await;
        let assigned = list["notifications"].as_array().unwrap().iter().filter(|one| one["type"] == "task_assigned");
        (assigned.count() == 3).then_some(())
    })
    .await;

    // By filter; one task has another assignee, and one is already in progress.
    me.post(&format!("/v1/tasks/{}/start", ids[0]), &json!({})).ok().await;
    let other = json!({"title": "Four", "visibility": "account", "tags": ["spring"]});
    let other = owner.post("/v1/tasks", &other).ok().await["id"].as_str().unwrap().to_owned();
    let start = json!({"action": "start", "filter": {"tags": ["spring"]}, "dry_run": true});
    let dry = me.post(bulk, &start).ok().await;
    assert_eq!(
        verdicts(&dry, &[&ids[0], &ids[1], &ids[2], &other]),
        ["TASK_WRONG_STATE", "ok", "ok", "TASK_CHANGE_NOT_ALLOWED"]
    );
    assert_eq!((&dry["succeeded"], &dry["failed"]), (&json!(2), &json!(2)));
    assert_eq!(me.get(&format!("/v1/tasks/{}", ids[1])).ok().await["status"], "pending");
    let start = json!({"action": "start", "filter": {"tags": ["spring"]}});
    let started = me.post(bulk, &start).header("idempotency-key", "spring").send().await;
    assert_eq!(started.json(), dry);
    assert_eq!(me.post(bulk, &start).header("idempotency-key", "spring").ok().await, dry, "once");
    let other_body = json!({"action": "resume", "filter": {}});
    me.post(bulk, &other_body).header("idempotency-key", "spring").refused(422, "IDEMPOTENCY_KEY_REUSED").await;
    assert_eq!(me.get(&format!("/v1/tasks/{}", ids[1])).ok().await["status"], "in_progress");

    // Fields are set and cleared.
    let update = json!({
        "action": "update", "task_ids": [ids[0], other],
        "task": {"priority": "urgent", "custom_fields": {"room": "cellar"}}, "clear": ["tags"],
    });
    assert_eq!(
        verdicts(&manager.post(bulk, &update).ok().await, &[&ids[0], &other]),
        ["ok", "TASK_CHANGE_NOT_ALLOWED"]
    );
    let task = me.get(&format!("/v1/tasks/{}", ids[0])).ok().await;
    assert_eq!(
        (&task["priority"], &task["tags"], &task["custom_fields"]["room"]),
        (&json!("urgent"), &json!([]), &json!("cellar"))
    );

    // Deleted and restored.
    for action in ["delete", "restore"] {
        let response = manager.post(bulk, &json!({"action": action, "task_ids": ids})).ok().await;
        assert_eq!(verdicts(&response, &[&ids[0], &ids[1], &ids[2]]), ["ok"; 3], "{action}");
    }
    let nobody = "01900000-0000-7000-8000-000000000000";
    let start = json!({"action": "start", "task_ids": [nobody]});
    assert_eq!(verdicts(&me.post(bulk, &start).ok().await, &[nobody]), ["TASK_NOT_FOUND"]);
    for wrong in [
        json!({"action": "start"}),
        json!({"action": "nonsense", "task_ids": ids}),
        json!({"action": "start", "task_ids": ids, "filter": {}}),
        json!({"action": "pause", "task_ids": ids}),
        json!({"action": "start", "task_ids": ["nonsense"]}),
        json!({"action": "start", "task_ids": vec![&ids[0]; 1_001]}),
        json!({"action": "update", "task_ids": ids, "task": {"status": "completed"}}),
    ] {
        let response = manager.post(bulk, &wrong).send().await;
        assert_eq!(response.status, 400, "{wrong}: {}", response.text);
    }
}

#[tokio::test]
async fn bulk_call_costs_twenty_requests_of_the_hourly_limit() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let left = async || {
        let list = team.user.get("/v1/custom-fields").send().await;
        list.header("x-ratelimit-remaining").parse::<i64>().unwrap()
    };
    let before = left().await;
    let nothing = json!({"action": "start", "filter": {"status": ["paused"]}});
    team.user.post("/v1/tasks/bulk", &nothing).ok().await;
    assert_eq!(before - left().await, 21);
}
