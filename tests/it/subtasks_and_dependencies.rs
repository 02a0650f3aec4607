//! Subtasks, dependencies and custom fields over REST.

use baton_tests::{Person, Platform, Team, eventually};
use serde_json::{Value, json};

async fn task(person: &Person, task: Value) -> String {
    person.post("/v1/tasks", &task).ok().await["id"].as_str().unwrap().to_owned()
}

fn names<'v>(list: &'v Value, field: &str) -> Vec<&'v str> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap_or("-")).collect()
}

async fn is_logged(team: &Team, action: &str) {
    eventually(action, async || {
        let list = team.owner.get(&format!("/v1/activity-logs?action={action}")).ok().await;
        (list["meta"]["total_count"].as_i64() > Some(0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn subtasks_progress_and_dependencies_are_shown() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (me, manager) = (&team.user, &team.manager);
    let house = task(me, json!({"title": "House"})).await;
    let path = format!("/v1/tasks/{house}");
    assert_eq!(me.get(&path).ok().await["progress"], Value::Null);
    let part = |title: &str, due: &str, seconds: i32| json!({"title": title, "parent_task_id": house, "due_at": due, "estimated_seconds": seconds});
    let ground = task(me, part("Ground", "2099-03-01T00:00:00Z", 100)).await;
    let walls = task(me, part("Walls", "2099-02-01T00:00:00Z", 200)).await;

    // The walls depend on the ground, but are due before it.
    let waits = format!("/v1/tasks/{walls}/dependencies");
    let on = |id: &str| json!({"blocked_by": id});
    let around = me.post(&waits, &on(&ground)).header("idempotency-key", "walls").ok().await;
    assert_eq!(me.post(&waits, &on(&ground)).header("idempotency-key", "walls").ok().await, around);
    assert_eq!((&around["blocked"], names(&around["blocked_by"], "title")), (&json!(true), vec!["Ground"]));
    let conflict = &around["conflicts"][0];
    assert_eq!(conflict["kind"], "due_before_blocker", "{around}");
    assert_eq!((&conflict["task_id"], &conflict["blocker_due_at"]), (&json!(walls), &json!("2099-03-01T00:00:00Z")));
    let ground_waits = format!("/v1/tasks/{ground}/dependencies");
    me.post(&ground_waits, &on(&walls)).refused(409, "DEPENDENCY_CYCLE").await;
    me.post(&ground_waits, &on(&ground)).refused(400, "VALIDATION_FAILED").await;
    me.post(&ground_waits, &on("nonsense")).refused(400, "VALIDATION_FAILED").await;
    let secret = task(&team.owner, json!({"title": "Secret"})).await;
    me.post(&waits, &on(&secret)).refused(404, "TASK_NOT_FOUND").await;
    team.owner.post(&waits, &on(&secret)).ok().await;
    let seen = me.get(&waits).ok().await;
    assert_eq!(names(&seen["blocked_by"], "title"), ["Ground", "-"], "{seen}");
    assert_eq!(manager.get(&format!("/v1/tasks/{walls}")).ok().await["blocked"], true);

    // The ground is completed; the walls are started although a hidden task blocks them.
    for step in ["start", "complete"] {
        me.post(&format!("/v1/tasks/{ground}/{step}"), &json!({})).ok().await;
    }
    let progress = &me.get(&path).ok().await["progress"];
    assert_eq!((&progress["total"], &progress["completed"], &progress["percent"]), (&json!(2), &json!(1), &json!(50)));
    assert_eq!(progress["estimated_seconds"], 300);
    me.post(&format!("/v1/tasks/{walls}/start"), &json!({})).ok().await;
    let listed = me.get("/v1/tasks?per_page=100").ok().await;
    let shown = listed["tasks"].as_array().unwrap().iter().find(|one| one["id"] == json!(house)).unwrap().clone();
    assert_eq!(&shown["progress"], progress, "lists return the same");
    let parts = me.get(&format!("{path}/subtasks?sort=due_at&order=asc&per_page=1")).ok().await;
    assert_eq!((names(&parts["tasks"], "title"), &parts["meta"]["total_count"]), (vec!["Walls"], &json!(2)));

    let link = format!("{waits}/{secret}");
    me.delete(&link).send().await;
    me.delete(&link).refused(404, "DEPENDENCY_NOT_FOUND").await;
    is_logged(&team, "dependency.added").await;
    is_logged(&team, "dependency.removed").await;
    // Resources of another account are not found.
    let stranger = platform.person("stranger").await;
    let account = stranger.create_account("Elsewhere").await;
    let stranger = stranger.at(account);
    for path in [format!("{path}/subtasks"), waits] {
        stranger.get(&path).refused(404, "TASK_NOT_FOUND").await;
    }
}

#[tokio::test]
async fn custom_fields_are_defined_and_validated() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (me, boss) = (&team.user, &team.super_manager);
    let severity = json!({
        "key": "severity", "name": "Severity", "type": "select",
        "options": [{"id": "low", "name": "Low"}, {"id": "high", "name": "High"}],
    });
    me.post("/v1/custom-fields", &severity).refused(403, "PERMISSION_MISSING").await;
    let field = boss.post("/v1/custom-fields", &severity).header("idempotency-key", "severity").ok().await;
    assert_eq!(boss.post("/v1/custom-fields", &severity).header("idempotency-key", "severity").ok().await, field);
    boss.post("/v1/custom-fields", &severity).refused(409, "CUSTOM_FIELD_KEY_TAKEN").await;
    assert_eq!(me.get("/v1/custom-fields").ok().await["custom_fields"], json!([field]));

    let wrong = json!({"title": "Leak", "custom_fields": {"severity": "awful"}});
    let problem = me.post("/v1/tasks", &wrong).refused(400, "VALIDATION_FAILED").await;
    assert!(problem.to_string().contains("custom_fields.severity"), "{problem}");
    let leak = task(me, json!({"title": "Leak", "custom_fields": {"severity": "low", "free": [1]}})).await;
    let leak = format!("/v1/tasks/{leak}");
    let problem = me.patch(&leak, &json!({"custom_fields": {"severity": 5}})).refused(400, "VALIDATION_FAILED").await;
    assert!(problem.to_string().contains("custom_fields.severity"), "{problem}");

    let one = format!("/v1/custom-fields/{}", field["id"].as_str().unwrap());
    let without_low = json!({"options": [{"id": "high", "name": "Sky"}], "required": true});
    let changed = boss.patch(&one, &without_low).header("if-match", "\"1\"").send().await;
    assert_eq!((changed.etag_version(), &changed.json()["required"]), ("2", &json!(true)));
    boss.patch(&one, &without_low).header("if-match", "\"1\"").refused(412, "VERSION_MISMATCH").await;
    boss.patch(&one, &json!({"type": "text"})).refused(400, "UNKNOWN_FIELD").await;
    // Stored values are kept, and the task can still be changed.
    me.patch(&leak, &json!({"title": "Big leak"})).ok().await;
    me.patch(&leak, &json!({"custom_fields": {"severity": null}})).refused(400, "VALIDATION_FAILED").await;
    boss.delete(&one).ok().await;
    me.patch(&leak, &json!({"custom_fields": {"severity": null}})).ok().await;
    is_logged(&team, "custom_field.deleted").await;
}
