//! Full-text search over REST.

use baton_tests::{Person, Platform};
use serde_json::{Value, json};

#[tokio::test]
async fn search_returns_matching_tasks_with_highlights() {
    let platform = Platform::start().await;
    let (team, other) = (platform.team().await, platform.team().await);
    let task = json!({
        "title": "Renew the <b>lease</b>", "description": "Ask the landlord", "tags": ["office"], "visibility": "account",
    });
    let id = team.owner.post("/v1/tasks", &task).ok().await["id"].clone();
    team.owner.create_task("Lease of the owner's own").await;
    other.owner.create_task("Lease of strangers").await;
    let comments = format!("/v1/tasks/{}/comments", id.as_str().unwrap());
    team.user.post(&comments, &json!({"body": "He is in Lisbon until May"})).ok().await;

    for q in ["leases", "leas", "landlord", "office", "lisbon", "%22the+lease%22", "lease+-owner", "lease+lisbon"] {
        let found = team.user.get(&format!("/v1/tasks/search?q={q}")).ok().await;
        assert_eq!((&found["meta"]["total_count"], &found["tasks"][0]["task"]["id"]), (&json!(1), &id), "{q}: {found}");
    }
    let found = team.owner.get("/v1/tasks/search?q=lease&per_page=1").ok().await;
    assert_eq!((&found["meta"]["total_count"], &found["meta"]["total_is_estimate"]), (&json!(2), &json!(false)));
    let found = team.user.get("/v1/tasks/search?q=lease").ok().await;
    let parts = json!([
        {"text": "Renew the <b>", "hit": false}, {"text": "lease", "hit": true}, {"text": "</b>", "hit": false},
    ]);
    assert_eq!(found["tasks"][0]["highlight"], json!([{"field": "title", "parts": parts}]), "{found}");
    let alike = team.user.get("/v1/tasks/search?q=renw").ok().await;
    assert_eq!((&alike["spelled_alike"], &alike["tasks"][0]["task"]["id"]), (&json!(true), &id), "{alike}");
    assert_eq!(team.user.get("/v1/tasks?search=landlord").ok().await["tasks"][0]["id"], id);

    let tags = team.user.get("/v1/tags?prefix=off&per_page=5").ok().await;
    assert_eq!(tags["tags"], json!([{"name": "office", "task_count": 1, "has_older_tasks": false}]));
    assert_eq!((&tags["meta"]["total_count"], &tags["truncated"]), (&json!(1), &json!(false)));
    assert_eq!(other.user.get("/v1/tags").ok().await["tags"], json!([]));
    team.user.get("/v1/tasks/search").refused(400, "VALIDATION_FAILED").await;
    team.user.get("/v1/tasks/search?q=x&page_token=y").refused(400, "PAGE_TOKEN_INVALID").await;
    let german = json!({"language": "de"});
    team.user.call(reqwest::Method::PUT, "/v1/search/settings").json(&german).refused(403, "PERMISSION_MISSING").await;
    let settings: Value = team.owner.call(reqwest::Method::PUT, "/v1/search/settings").json(&german).ok().await;
    assert_eq!(settings, german);
    assert_eq!(team.user.get("/v1/search/settings").ok().await, german);
}

#[tokio::test]
async fn relative_filters_find_my_tasks_of_this_week() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let today = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let task = |title: &str, to: &Person, due: &str| json!({"title": title, "assigned_to": to.id, "due_at": due});
    let manager = &team.manager;
    let now = manager.post("/v1/tasks", &task("Now", &team.user, &today)).ok().await;
    manager.post("/v1/tasks", &task("Later", &team.user, "2031-03-01T12:00:00Z")).ok().await;
    let own = manager.post("/v1/tasks", &task("The manager's", manager, &today)).ok().await;
    for (person, task) in [(&team.user, &now), (manager, &own)] {
        let found = person.get("/v1/tasks?assigned_to=me&due=this_week").ok().await;
        assert_eq!((&found["meta"]["total_count"], &found["tasks"][0]["id"]), (&json!(1), &task["id"]), "{found}");
    }
    for wrong in ["assigned_to=myself", "due=this_century"] {
        team.user.get(&format!("/v1/tasks?{wrong}")).refused(400, "VALIDATION_FAILED").await;
    }
}
