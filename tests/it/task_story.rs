//! A task from owner to manager to user until completion, with notifications over REST and WebSocket.

use baton_tests::{Node, Person, Platform, eventually};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::live_updates::{cable, notifications, received, task_events};

#[tokio::test]
async fn task_goes_from_owner_to_manager_to_user_and_all_are_notified() {
    let platform = Platform::start().await;
    let owner = platform.person("olive").await;
    let manager = platform.person("mara").await;
    let user = platform.person("uri").await;

    let account = owner.post("/v1/accounts", &json!({"name": "Lantern & Söhne"})).ok().await;
    assert_eq!((&account["name"], &account["status"]), (&json!("Lantern & Söhne"), &json!("active")), "{account}");
    assert!(account["slug"].as_str().is_some_and(|slug| !slug.is_empty()), "{account}");
    let account_id: Uuid = account["id"].as_str().unwrap().parse().unwrap();
    platform.join(account_id, &owner, &manager, "manager", None).await;
    platform.join(account_id, &owner, &user, "user", Some(&manager)).await;
    let [owner, manager, user] = [owner, manager, user].map(|person| person.at(account_id));

    let members = owner.get(&format!("/v1/accounts/{account_id}/members")).ok().await;
    let members: Vec<_> = members["members"].as_array().unwrap().iter().collect();
    let roles: Vec<_> = members.iter().map(|member| member["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["owner", "manager", "user"]);
    assert_eq!(members[2]["manager_id"], json!(manager.id));

    // All subscribe to their notifications.
    let task = owner
        .post("/v1/tasks", &json!({"title": "Renew the lease", "priority": "high", "tags": ["office"]}))
        .ok()
        .await;
    let id: Uuid = task["id"].as_str().unwrap().parse().unwrap();
    let of_task = json!({"channel": "TaskChannel", "task_id": id});
    let mut to_owner = cable(&platform, &owner, account_id, &[notifications(), of_task.clone()]).await;
    let mut to_manager = cable(&platform, &manager, account_id, &[notifications()]).await;
    let mut to_user = cable(&platform, &user, account_id, &[notifications()]).await;

    // The task is assigned down the hierarchy. It is not found while it is not visible.
    let task_path = format!("/v1/tasks/{id}");
    user.get(&task_path).refused(404, "TASK_NOT_FOUND").await;
    let step = |actor: &Person, what: &'static str, body: Value| {
        let actor = actor.clone();
        let path = format!("{task_path}/{what}");
        async move { actor.post(&path, &body).ok().await }
    };
    let task = step(&owner, "assign", json!({"assigned_to": manager.id})).await;
    assert_eq!((&task["assigned_to"], &task["assigned_by"]), (&json!(manager.id), &json!(owner.id)), "{task}");
    wait_for_push(&mut to_manager, "task_assigned", id).await;

    let task = step(&manager, "assign", json!({"assigned_to": user.id})).await;
    assert_eq!((&task["assigned_to"], &task["assigned_by"]), (&json!(user.id), &json!(manager.id)), "{task}");
    wait_for_push(&mut to_user, "task_assigned", id).await;
    to_user.write_line(&json!({"subscribe": of_task})).await;
    to_user.wait_for("the subscription", |line| line["event"] == "connected" && line["identifier"] == of_task).await;

    let task = step(&user, "accept", json!({})).await;
    assert!(task["accepted_at"].is_string(), "{task}");
    wait_for_push(&mut to_manager, "task_accepted", id).await;
    let task = step(&user, "start", json!({})).await;
    assert_eq!(task["status"], "in_progress", "{task}");
    let task = step(&user, "pause", json!({"reason": "Waiting for the landlord"})).await;
    assert_eq!((&task["status"], &task["pause_reason"]), (&json!("paused"), &json!("Waiting for the landlord")));
    let task = step(&user, "resume", json!({})).await;
    assert_eq!((&task["status"], &task["pause_reason"]), (&json!("in_progress"), &Value::Null), "{task}");
    let task = step(&user, "complete", json!({})).await;
    assert_eq!(task["status"], "completed", "{task}");
    assert!(task["completed_at"].is_string(), "{task}");
    wait_for_push(&mut to_manager, "task_completed", id).await;
    wait_for_push(&mut to_owner, "task_completed", id).await;

    // Subscribers of the task got every event once and in order.
    let steps = ["assigned", "assigned", "accepted", "started", "paused", "resumed", "completed"];
    assert_eq!(task_events(&mut to_owner, id, steps.len()).await, steps.map(|step| format!("task_{step}")));
    assert_eq!(
        task_events(&mut to_user, id, 5).await,
        steps[2..].iter().map(|step| format!("task_{step}")).collect::<Vec<_>>()
    );

    // The notification lists match the pushes, and nobody is notified of their own actions.
    wait_for_notifications(&owner, id, &["task_completed"]).await;
    wait_for_notifications(&manager, id, &["task_accepted", "task_assigned", "task_completed"]).await;
    wait_for_notifications(&user, id, &["task_assigned"]).await;
    for (cable, whose) in [(&to_owner, "owner"), (&to_manager, "manager"), (&to_user, "user")] {
        let more: Vec<_> =
            cable.unexpected().iter().filter(|line| line["data"]["notification"]["task_id"] == json!(id)).collect();
        assert!(more.is_empty(), "the {whose} was notified twice: {more:?}");
    }

    // The timeline has every step and the reason.
    let timeline = manager.get(&format!("{task_path}/timeline")).ok().await;
    let events = timeline["events"].as_array().unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["created", "assigned", "assigned", "accepted", "started", "paused", "resumed", "completed"]);
    let versions: Vec<_> = events.iter().map(|event| event["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((&events[5]["reason"], &events[5]["actor_id"]), (&json!("Waiting for the landlord"), &json!(user.id)));
}

#[tokio::test]
async fn boards_and_lists_show_each_role_its_tasks() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let title = |board: &Value| {
        let tasks = board["tasks"].as_array().unwrap().iter();
        let mut titles: Vec<_> = tasks.map(|task| task["title"].as_str().unwrap().to_owned()).collect();
        titles.sort();
        titles
    };
    team.owner.create_task("owner's").await;
    let handed = team.manager.create_task("handed down").await;
    team.manager.create_task("manager's").await;
    team.user.create_task("user's").await;
    let assign = json!({"assigned_to": team.user.id});
    team.manager.post(&format!("/v1/tasks/{handed}/assign"), &assign).ok().await;
    team.user.post(&format!("/v1/tasks/{handed}/start"), &json!({})).ok().await;

    let board = team.user.get("/v1/boards/my-board").ok().await;
    assert_eq!(title(&board), ["handed down", "user's"]);
    let columns: Vec<_> = board["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["status"].as_str().unwrap(), column["count"].as_i64().unwrap()))
        .collect();
    assert_eq!(columns, [("pending", 1), ("in_progress", 1), ("paused", 0), ("completed", 0), ("canceled", 0)]);

    let of_user = format!("/v1/boards/user/{}", team.user.id);
    assert_eq!(title(&team.manager.get(&of_user).ok().await), ["handed down", "user's"]);
    team.user.get(&format!("/v1/boards/user/{}", team.manager.id)).refused(403, "PERMISSION_MISSING").await;
    assert_eq!(title(&team.manager.get("/v1/boards/team").ok().await), ["handed down", "manager's", "user's"]);
    team.manager.get("/v1/boards/account").refused(403, "PERMISSION_MISSING").await;
    let all = ["handed down", "manager's", "owner's", "user's"];
    assert_eq!(title(&team.super_manager.get("/v1/boards/account").ok().await), all);
    assert_eq!(title(&team.owner.get("/v1/tasks").ok().await), all);
    assert_eq!(title(&team.user.get("/v1/tasks").ok().await), ["handed down", "user's"]);

    let query = format!(
        "/v1/tasks?status=pending&status=paused&created_by={}&sort=due_at&order=asc&page=1&per_page=20",
        team.manager.id
    );
    let list = team.owner.get(&query).ok().await;
    assert_eq!(title(&list), ["manager's"]);
    let meta = &list["meta"];
    assert_eq!([&meta["total_count"], &meta["page"], &meta["per_page"], &meta["total_pages"]], [1, 1, 20, 1], "{list}");
}

#[tokio::test]
async fn notifications_are_read_and_deleted() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    for title in ["one", "two", "three"] {
        let id = team.manager.create_task(title).await;
        let assign = json!({"assigned_to": team.user.id});
        team.manager.post(&format!("/v1/tasks/{id}/assign"), &assign).ok().await;
    }
    let unread = async || team.user.get("/v1/notifications/unread").ok().await;
    let list = eventually("three notifications", || async {
        Some(unread().await).filter(|list| list["meta"]["total_count"] == 3)
    })
    .await;
    let ids: Vec<_> = list["notifications"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap()).collect();

    let path = format!("/v1/notifications/{}", ids[0]);
    let read = team.user.patch(&format!("{path}/read"), &json!({})).ok().await;
    assert!(read["read_at"].is_string(), "{read}");
    assert_eq!(team.user.patch(&format!("{path}/read"), &json!({})).ok().await["read_at"], read["read_at"]);
    assert_eq!(unread().await["meta"]["total_count"], 2);
    // Notifications of another member are not found.
    team.manager.patch(&format!("{path}/read"), &json!({})).refused(404, "NOTIFICATION_NOT_FOUND").await;
    team.manager.delete(&path).refused(404, "NOTIFICATION_NOT_FOUND").await;
    team.user.delete(&path).ok().await;
    team.user.delete(&path).refused(404, "NOTIFICATION_NOT_FOUND").await;

    let all = team.user.patch("/v1/notifications/read-all", &json!({})).ok().await;
    assert_eq!(all["updated_count"], 2);
    assert_eq!(unread().await["meta"]["total_count"], 0);
    assert_eq!(team.user.get("/v1/notifications").ok().await["meta"]["total_count"], 2);
}

/// Waits for the push of a notification about the task.
async fn wait_for_push(cable: &mut Node, kind: &str, task_id: Uuid) {
    let push = received(cable, &notifications(), |data| {
        data["notification"]["type"] == kind && data["notification"]["task_id"] == json!(task_id)
    })
    .await;
    assert_eq!(push["event"], "notification_received");
    assert!(push["notification"]["id"].is_string(), "{push}");
}

/// Waits until the user's notifications about the task have exactly these types.
async fn wait_for_notifications(person: &Person, task_id: Uuid, types: &[&str]) {
    eventually(&format!("notifications {types:?}"), || async {
        let list = person.get("/v1/notifications?per_page=100").ok().await;
        let list = list["notifications"].as_array().unwrap().iter().filter(|n| n["task_id"] == json!(task_id));
        let mut got: Vec<_> = list.map(|notification| notification["type"].as_str().unwrap().to_owned()).collect();
        got.sort();
        (got == types).then_some(())
    })
    .await;
}
