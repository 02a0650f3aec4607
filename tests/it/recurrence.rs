//! Recurrence, due dates and reminders over REST.

use baton_tests::{Person, Platform, eventually};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

fn seconds_from_now(seconds: i64) -> String {
    (Utc::now() + TimeDelta::seconds(seconds)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn path(task: &Value) -> String {
    format!("/v1/tasks/{}", task["id"].as_str().unwrap())
}

/// Number of notifications of a type that a user has about a task.
async fn notification_count(person: &Person, kind: &str, task: &Value) -> usize {
    let list = person.get("/v1/notifications?per_page=100").ok().await;
    let notifications = list["notifications"].as_array().unwrap();
    notifications.iter().filter(|one| one["type"] == kind && one["task_id"] == task["id"]).count()
}

async fn wait_for_notification(person: &Person, kind: &str, task: &Value) {
    eventually(kind, || async { (notification_count(person, kind, task).await > 0).then_some(()) }).await;
}

/// Waits for the next open task of the series.
async fn next(person: &Person, task: &Value) -> Value {
    eventually("the next task", || async {
        let list = person.get("/v1/tasks?status=pending&per_page=100").ok().await;
        let tasks = list["tasks"].as_array().unwrap();
        tasks.iter().find(|one| one["series_id"] == task["series_id"] && one["id"] != task["id"]).cloned()
    })
    .await
}

async fn complete(person: &Person, task: &Value) {
    person.post(&format!("{}/start", path(task)), &json!({})).ok().await;
    person.post(&format!("{}/complete", path(task)), &json!({})).ok().await;
}

#[tokio::test]
async fn weekly_task_recurs_until_its_series_is_ended() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (manager, user) = (&team.manager, &team.user);
    user.patch("/v1/users/me", &json!({"timezone": "Australia/Lord_Howe"})).ok().await;
    let weekly = json!({
        "title": "Water the plants",
        "assigned_to": user.id,
        "due_at": seconds_from_now(3_600),
        "recurrence_rule": "FREQ=WEEKLY",
    });
    let first = manager.post("/v1/tasks", &weekly).ok().await;
    assert_eq!(first["recurrence_timezone"], "Australia/Lord_Howe", "{first}");
    let remind = manager.post(&format!("{}/reminders", path(&first)), &json!({"at": seconds_from_now(3)})).ok().await;
    assert_eq!((&remind["task_id"], &remind["before_seconds"]), (&first["id"], &Value::Null), "{remind}");
    wait_for_notification(manager, "task_reminder", &first).await;
    assert_eq!(notification_count(user, "task_reminder", &first).await, 0, "reminders are private");

    complete(user, &first).await;
    let second = next(user, &first).await;
    let due = |task: &Value| task["due_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    // A daylight saving change may lie between; on Lord Howe Island it is half an hour.
    assert!((due(&second) - due(&first) - TimeDelta::weeks(1)).abs() <= TimeDelta::minutes(30), "{second}");
    assert_eq!((&second["title"], &second["accepted_at"]), (&first["title"], &Value::Null), "{second}");
    wait_for_notification(user, "task_assigned", &second).await;

    let never = json!({"occurrence_at": seconds_from_now(3_601)});
    let wrong = manager.post(&format!("{}/skip", path(&second)), &never).send().await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    assert!(wrong.text.contains("occurrence_at"), "{}", wrong.text);
    let skipped = manager.post(&format!("{}/skip", path(&second)), &json!({"reason": "Rain"})).ok().await;
    assert_eq!((&skipped["status"], &skipped["skipped_times"]), (&json!("canceled"), &json!([second["due_at"]])));
    let second = next(user, &second).await;
    let skip = json!({"occurrence_at": second["due_at"]});
    let unskipped = manager.post(&format!("{}/unskip", path(&second)), &skip).ok().await;
    assert_eq!(
        (&unskipped["version"], &unskipped["skipped_times"]),
        (&second["version"], &json!([])),
        "nothing was skipped"
    );

    let ended = manager.patch(&path(&second), &json!({"recurrence_rule": null})).ok().await;
    assert_eq!((&ended["recurrence_rule"], &ended["recurrence_timezone"]), (&Value::Null, &Value::Null), "{ended}");
    let wrong = manager.patch(&path(&second), &json!({"recurrence_rule": "FREQ=SECONDLY"})).send().await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    assert!(wrong.text.contains("at least an hour apart"), "{}", wrong.text);
}

#[tokio::test]
async fn timers_missed_during_downtime_notify_once() {
    let mut platform = Platform::start().await;
    let team = platform.team().await;
    let (manager, user) = (&team.manager, &team.user);
    let due_soon = json!({"title": "File the return", "assigned_to": user.id, "due_at": seconds_from_now(2)});
    let task = manager.post("/v1/tasks", &due_soon).ok().await;
    platform.kill_9();
    let due: DateTime<Utc> = task["due_at"].as_str().unwrap().parse().unwrap();
    eventually("its due time", || async { (Utc::now() > due).then_some(()) }).await;
    platform.restart().await;
    for person in [user, manager] {
        wait_for_notification(person, "task_overdue", &task).await;
        assert_eq!(notification_count(person, "task_overdue", &task).await, 1);
    }
    assert_eq!(user.get(&path(&task)).ok().await["overdue"], true);
}
