//! Assigning, rejecting and reassigning tasks over REST, and the loss of an account's only owner.

use baton_tests::{PASSWORD, Person, Platform, eventually};
use serde_json::{Value, json};

/// One field of every element of a list.
fn all<'v>(list: &'v Value, field: &str) -> Vec<&'v str> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap()).collect()
}

/// Waits until the user's notifications about the task are these, newest first.
async fn wait_for_notifications(person: &Person, task: &Value, expected: &[&str]) {
    eventually("notifications", async || {
        let list = person.get("/v1/notifications?per_page=100").ok().await;
        let about = list["notifications"].as_array().unwrap().iter().filter(|one| one["task_id"] == task["id"]);
        let kinds: Vec<_> = about.map(|one| one["type"].as_str().unwrap()).collect();
        (kinds == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_assignment_of_a_task_is_recorded() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (boss, manager, user) = (&team.super_manager, &team.manager, &team.user);
    let new = json!({"title": "Sweep", "assigned_to": manager.id, "estimated_seconds": 3600});
    let task = boss.post("/v1/tasks", &new).ok().await;
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    wait_for_notifications(manager, &task, &["task_assigned"]).await;

    // The manager gets assignee suggestions with reasons.
    let suggested = manager.get(&format!("{path}/suggested-assignees")).ok().await;
    assert_eq!(all(&suggested["suggestions"], "user_id"), [user.id.to_string()]);
    let best = &suggested["suggestions"][0];
    assert_eq!(
        (&best["role"], &best["score"].as_f64().map(|score| score > 0.9)),
        (&json!("user"), &Some(true)),
        "{best}"
    );
    let kinds = ["open_tasks", "remaining_seconds", "overdue_tasks", "due_before_tasks", "pace"];
    assert_eq!(all(&best["reasons"], "kind"), kinds);
    user.get(&format!("{path}/suggested-assignees")).refused(403, "PERMISSION_MISSING").await;

    manager.post(&format!("{path}/accept"), &json!({})).ok().await;
    manager.post(&format!("{path}/assign"), &json!({"assigned_to": user.id})).ok().await;
    wait_for_notifications(user, &task, &["task_assigned"]).await;
    // Only the assignee accepts or rejects; the assigner can only reassign.
    boss.post(&format!("{path}/assign"), &json!({"assigned_to": manager.id}))
        .refused(409, "TASK_ALREADY_ASSIGNED")
        .await;
    user.post(&format!("{path}/reject"), &json!({"reason": "No broom"})).ok().await;
    wait_for_notifications(manager, &task, &["task_rejected", "task_assigned"]).await;
    user.get(&path).refused(404, "TASK_NOT_FOUND").await;

    // The old and the new assignee are notified, and the count increases.
    let task = boss.post(&format!("{path}/reassign"), &json!({"assigned_to": user.id})).ok().await;
    assert_eq!(task["reassignment_count"], 1, "{task}");
    wait_for_notifications(manager, &task, &["task_reassigned", "task_rejected", "task_assigned"]).await;
    wait_for_notifications(user, &task, &["task_reassigned", "task_assigned"]).await;

    let history = user.get(&format!("{path}/assignment-history")).ok().await;
    let chain = &history["assignments"];
    assert_eq!(all(chain, "origin"), ["assigned", "delegated", "returned", "reassigned"]);
    let [boss_id, manager_id, user_id] = [boss, manager, user].map(|person| person.id.to_string());
    assert_eq!(all(chain, "assigned_by"), [&*boss_id, &*manager_id, &*user_id, &*boss_id]);
    assert_eq!(all(chain, "assigned_to"), [&*manager_id, &*user_id, &*manager_id, &*user_id]);
    assert_eq!(chain[1]["rejection_reason"], "No broom");
    assert_eq!((&chain[1]["rejected_at"], &chain[3]["ended_at"]), (&chain[1]["ended_at"], &Value::Null), "{chain}");
    assert_eq!(history["meta"]["total_count"], 4);

    // The assignment lists, with the filters of GET /v1/tasks.
    for (person, list, expected) in [
        (user, "assigned-to-me", 1),
        (user, "assigned-to-me?status=pending&priority=medium", 1),
        (user, "assigned-to-me?status=completed", 0),
        (manager, "assigned-to-me", 0),
        (boss, "assigned-by-me", 1),
        (manager, "assigned-by-me", 0),
        (manager, "team?sort=due_at&order=asc", 1),
        (boss, "team?search=sweep", 1),
    ] {
        let found = person.get(&format!("/v1/tasks/{list}")).ok().await;
        assert_eq!(found["meta"]["total_count"], expected, "{list}: {found}");
        assert_eq!(found["tasks"].as_array().unwrap().len(), expected, "{list}");
    }
    user.get("/v1/tasks/team").refused(403, "PERMISSION_MISSING").await;
    user.get("/v1/tasks/assigned-to-me?status=nonsense").refused(400, "VALIDATION_FAILED").await;
}

#[tokio::test]
async fn account_and_tasks_survive_the_loss_of_the_only_owner() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (owner, successor, account) = (&team.owner, &team.super_manager, team.account_id);
    let task = owner.post("/v1/tasks", &json!({"title": "Sign the lease"})).ok().await;
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    owner.post(&format!("/v1/accounts/{account}/leave"), &json!({})).refused(409, "LAST_OWNER").await;
    owner.post("/v1/users/me/deactivate", &json!({"password": PASSWORD})).ok().await;
    let role = async || {
        let member = successor.get(&format!("/v1/accounts/{account}/members/{}", successor.id)).ok().await;
        member["role"].as_str().unwrap().to_owned()
    };
    eventually("a new owner", async || (role().await == "owner").then_some(())).await;
    // The open tasks now belong to the successor, and the history names the assigner.
    let history = eventually("the reassignment", async || {
        let history = successor.get(&format!("{path}/assignment-history")).ok().await;
        (history["meta"]["total_count"] == 1).then_some(history)
    })
    .await;
    let row = &history["assignments"][0];
    assert_eq!((&row["origin"], &row["assigned_by"]), (&json!("handed_over"), &json!(owner.id)), "{row}");
    assert_eq!(row["assigned_to"], json!(successor.id));
    successor.post(&format!("{path}/start"), &json!({})).ok().await;
    // The successor has all permissions of an owner.
    eventually("an owner's permissions", async || {
        let usage = successor.get(&format!("/v1/accounts/{account}/billing")).send().await;
        (usage.status == 200).then_some(())
    })
    .await;
}
