//! Closing, archiving, deleting and restoring tasks, and reading their past states.

use baton_tests::Platform;
use serde_json::json;

#[tokio::test]
async fn task_is_closed_reopened_deleted_and_restored() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (manager, user) = (&team.manager, &team.user);
    let id = user.create_task("Sweep").await;
    let path = format!("/v1/tasks/{id}");
    let step = |name: &str| user.post(&format!("{path}/{name}"), &json!({}));

    let early = user.get(&path).ok().await["created_at"].as_str().unwrap().to_owned();
    let problem = step("archive").refused(409, "TASK_WRONG_STATE").await;
    assert_eq!((&problem["metadata"]["from"], &problem["metadata"]["to"]), (&json!("pending"), &json!("archived")));
    step("start").ok().await;
    let canceled = manager.post(&format!("{path}/cancel"), &json!({"reason": "No dust"})).ok().await;
    assert_eq!((&canceled["status"], canceled["canceled_at"].is_string()), (&json!("canceled"), true));
    assert_eq!(step("archive").ok().await["status"], "archived");
    let listed = async |query: &str| user.get(&format!("/v1/tasks{query}")).ok().await["meta"]["total_count"].clone();
    assert_eq!((listed("").await, listed("?status=archived").await), (json!(0), json!(1)));
    let columns = user.get("/v1/boards/my-board").ok().await["columns"].clone();
    let names: Vec<_> = columns.as_array().unwrap().iter().map(|column| column["status"].as_str().unwrap()).collect();
    assert_eq!(names, ["pending", "in_progress", "paused", "completed", "canceled"]);
    assert_eq!(step("reopen").ok().await["status"], "pending");

    user.delete(&path).ok().await;
    user.get(&path).refused(404, "TASK_NOT_FOUND").await;
    let trash = user.get("/v1/tasks/trash").ok().await;
    assert_eq!((&trash["tasks"][0]["id"], trash["tasks"][0]["deleted_at"].is_string()), (&json!(id), true));
    assert_eq!(manager.get("/v1/tasks/trash").ok().await["tasks"], json!([]), "the manager may not restore it");
    manager.post(&format!("{path}/restore"), &json!({})).refused(403, "TASK_CHANGE_NOT_ALLOWED").await;
    let back = step("restore").ok().await;
    assert_eq!((&back["status"], &back["deleted_at"]), (&json!("pending"), &json!(null)));
    let kinds = user.get(&format!("{path}/timeline")).ok().await["events"].clone();
    let kinds: Vec<_> = kinds.as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["created", "started", "canceled", "archived", "reopened", "deleted", "restored"]);

    let then = user.get(&format!("{path}?as_of={early}")).ok().await;
    assert_eq!((&then["version"], &then["status"], &then["started_at"]), (&json!(1), &json!("pending"), &json!(null)));
    user.get(&format!("{path}?as_of=2020-01-01T00:00:00Z")).refused(404, "TASK_NOT_FOUND").await;
    user.get(&format!("{path}?as_of=yesterday")).refused(400, "VALIDATION_FAILED").await;
}
