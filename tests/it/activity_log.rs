//! The activity log over REST: lists, exports, statistics.

use baton_tests::{Person, Platform, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

/// Returns the rows of a list.
async fn rows(person: &Person, path: &str) -> Vec<Value> {
    person.get(path).ok().await["activity_logs"].as_array().expect("rows").clone()
}

#[tokio::test]
async fn log_records_actions_and_their_origin() {
    let platform = Platform::start().await;
    let (team, other) = (platform.team().await, platform.team().await);
    let account_id = team.account_id;
    let task = team.user.create_task("Not for the log").await;
    team.user.patch(&format!("/v1/tasks/{task}"), &json!({"title": "Nor this"})).ok().await;
    team.user.post(&format!("/v1/tasks/{task}/start"), &json!({})).ok().await;

    let of_task = format!("/v1/activity-logs/task/{task}");
    let log = eventually("three rows of the task", async || {
        let response = team.super_manager.get(&of_task).send().await;
        (response.status == 200).then(|| response.json()).filter(|log| log["meta"]["total_count"] == 3)
    })
    .await;
    let log = log["activity_logs"].as_array().unwrap();
    let actions: Vec<_> = log.iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["task.started", "task.updated", "task.created"]);
    assert_eq!(log[1]["changed_fields"], json!(["title"]));
    assert!(!log.iter().any(|row| row.to_string().contains("Not for") || row.to_string().contains("Nor this")));
    for row in log {
        assert_eq!(
            (row["actor_id"].as_str(), row["resource_id"].as_str()),
            (Some(&*team.user.id.to_string()), Some(&*task.to_string()))
        );
        assert_eq!((row["resource_type"].as_str(), row["address"].as_str()), (Some("task"), Some("127.0.0.1")));
        assert!(row["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{row}");
        assert_eq!(row["leaf_hash"].as_str().unwrap().len(), 64);
    }
    // Marking a notification as read is logged, too.
    let all = format!("/v1/activity-logs?actor={}&resource_type=task&action=task.started", team.user.id);
    assert_eq!(rows(&team.owner, &all).await, [log[0].clone()]);
    let (from, to) = (log[1]["occurred_at"].as_str().unwrap(), log[0]["occurred_at"].as_str().unwrap());
    let between = format!("/v1/activity-logs?resource_type=task&from={from}&to={to}");
    assert_eq!(rows(&team.owner, &between).await, [log[1].clone()]);

    // Access: own rows, rows of reports, or all rows.
    let of_user = format!("/v1/activity-logs/user/{}", team.user.id);
    assert_eq!(rows(&team.user, &of_user).await[0], log[0]);
    let report = rows(&team.manager, &of_user).await[0].clone();
    assert_eq!((&report["id"], &report["address"], &report["user_agent"]), (&log[0]["id"], &Value::Null, &Value::Null));
    let of_manager = format!("/v1/activity-logs/user/{}", team.manager.id);
    team.user.get(&of_manager).refused(404, "MEMBER_NOT_FOUND").await;
    for person in [&team.user, &team.manager] {
        person.get("/v1/activity-logs").refused(403, "PERMISSION_MISSING").await;
        person.get(&of_task).refused(403, "PERMISSION_MISSING").await;
        person.get("/v1/activity-logs/export").refused(403, "PERMISSION_MISSING").await;
    }
    // Another account sees none of it.
    other.owner.get(&of_task).refused(404, "TASK_NOT_FOUND").await;
    other.owner.get(&of_user).refused(404, "MEMBER_NOT_FOUND").await;
    let elsewhere = format!("/v1/accounts/{account_id}/analytics");
    other.owner.get(&elsewhere).refused(403, "NOT_A_MEMBER").await;

    // As an export.
    let response = team.owner.get("/v1/activity-logs/export?resource_type=task").send().await;
    assert_eq!((response.status, response.header("content-type")), (200, "application/x-ndjson"));
    let lines: Vec<Value> = response.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines.iter().rev().collect::<Vec<_>>(),
        log.iter().collect::<Vec<_>>(),
        "the rows of the list, oldest first"
    );
    let response = team.owner.get("/v1/activity-logs/export?resource_type=task&format=csv").send().await;
    assert!(response.header("content-type").starts_with("text/csv"), "{}", response.header("content-type"));
    assert_eq!(response.text.split_terminator("\r\n").count(), 1 + 3);
    assert!(response.text.starts_with("\u{feff}sequence,"), "{}", response.text);
    let disposition = response.header("content-disposition");
    assert!(disposition.starts_with("attachment; filename=\"activity-log-") && disposition.ends_with(".csv\""));
    team.owner.get("/v1/activity-logs/export?format=pdf").refused(400, "VALIDATION_FAILED").await;

    // As statistics.
    let figures = team.manager.get(&elsewhere).ok().await;
    let counted = figures["actions"].as_array().unwrap().iter().find(|row| row["action"] == "task.started");
    assert_eq!(counted.unwrap()["count"], 1);
    assert_eq!((figures["weeks"].as_array().unwrap().len(), figures["days"].as_array().unwrap().len()), (12, 30));
    // A new week may start during the test.
    let joined = |figures: &Value| -> i64 {
        figures["weeks"].as_array().unwrap().iter().map(|week| week["joined"].as_i64().unwrap()).sum()
    };
    assert_eq!(joined(&figures), 2, "the manager's team: themselves and the user");
    let figures = team.owner.get(&elsewhere).ok().await;
    assert_eq!((joined(&figures), &figures["invitations"]["accepted"]), (4, &json!(3)));
    team.user.get(&elsewhere).refused(403, "PERMISSION_MISSING").await;
}

#[tokio::test]
async fn every_action_in_an_account_is_logged() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (manager, user) = (&team.manager, &team.user);
    let task = manager.post("/v1/tasks", &json!({"title": "Sweep", "assigned_to": user.id})).ok().await;
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    let because = json!({"reason": "lunch"});
    for (actor, step, body) in [
        (user, "accept", json!({})),
        (user, "start", json!({})),
        (user, "pause", because.clone()),
        (user, "resume", json!({})),
        (user, "complete", json!({})),
        (manager, "archive", json!({})),
        (manager, "reopen", json!({})),
        (manager, "cancel", because),
    ] {
        actor.post(&format!("{path}/{step}"), &body).ok().await;
    }
    let comment = user.post(&format!("{path}/comments"), &json!({"body": "Done"})).ok().await;
    let comment = format!("/v1/comments/{}", comment["id"].as_str().unwrap());
    manager.call(Method::PUT, &format!("{comment}/reactions/+1")).ok().await;
    user.patch(&comment, &json!({"body": "Well done"})).ok().await;
    user.delete(&comment).ok().await;
    manager.delete(&path).ok().await;
    let account = format!("/v1/accounts/{}", team.account_id);
    team.owner.patch(&account, &json!({"name": "Renamed"})).ok().await;
    team.owner.delete(&format!("{account}/members/{}", user.id)).ok().await;

    // Read from the database: every event that the services published about the account, except derived usage figures.
    let database = PgPool::connect(platform.database_url()).await.unwrap();
    let missing = "select count(*) from (
                       select * from auth.outbox union all select * from tenancy.outbox
                       union all select * from task.outbox union all select * from notification.outbox
                   ) published
                   where account_id = $1 and position('usage.changed'::bytea in envelope) = 0
                     and not exists (select from tenancy.activity_logs log
                                     where log.account_id = $1 and log.id = published.id)";
    eventually("a log row for every event", async || {
        let count = sqlx::query_scalar::<_, i64>(missing).bind(team.account_id).fetch_one(&database);
        (count.await.unwrap() == 0).then_some(())
    })
    .await;
    let kinds = "select count(distinct action) from tenancy.activity_logs where account_id = $1";
    let kinds: i64 = sqlx::query_scalar(kinds).bind(team.account_id).fetch_one(&database).await.unwrap();
    assert!(kinds >= 18, "{kinds} kinds of events: too few");
}
