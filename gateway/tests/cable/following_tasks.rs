//! Followers of a task hear what happens to it, while they may see it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::stage::{Stage, task_channel};

#[tokio::test]
async fn every_event_of_the_task_and_no_other_is_heard_in_order() {
    let stage = Stage::set().await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    let (task, other) = (stage.tasks.seen_by(user), stage.tasks.seen_by(user));
    let mut socket = stage.connect(user).await;
    socket.follow(&task_channel(task)).await;

    let kinds = ["task.assigned", "task.started", "task.updated", "task.paused", "task.completed"];
    stage.publish([stage.task_event("task.started", other, 1)]).await;
    for (version, kind) in kinds.into_iter().enumerate() {
        stage.publish([stage.task_event(kind, task, version as i32)]).await;
    }
    for (version, kind) in kinds.into_iter().enumerate() {
        let heard = socket.hears(&task_channel(task)).await;
        assert!(chrono::DateTime::parse_from_rfc3339(heard["occurred_at"].as_str().unwrap()).is_ok());
        let expected = json!({
            "event": kind.replace('.', "_"), "task_id": task, "version": version, "status": "in_progress",
            "assigned_to": user.user_id, "actor_id": stage.team.manager_a.user_id, "occurred_at": heard["occurred_at"],
        });
        assert_eq!(heard, expected);
    }
    assert_ne!(account, Uuid::nil());
}

#[tokio::test]
async fn only_tasks_that_one_sees_can_be_followed_and_identifiers_come_back_verbatim() {
    let stage = Stage::set().await;
    let (user, other) = (&stage.team.user_a1, &stage.team.user_b1);
    let (own, hidden) = (stage.tasks.seen_by(user), stage.tasks.seen_by(other));
    let mut socket = stage.connect(user).await;
    for identifier in [
        task_channel(hidden).to_string(),
        task_channel(Uuid::now_v7()).to_string(),
        json!({"channel": "TaskChannel"}).to_string(),
        json!({"channel": "NotificationChannel", "user_id": other.user_id}).to_string(),
        json!({"channel": "PayrollChannel"}).to_string(),
        "not json at all".to_owned(),
    ] {
        socket.command("subscribe", &identifier).await;
        assert_eq!(socket.next().await, json!({"type": "reject_subscription", "identifier": identifier}));
    }
    // Spaces, order and unknown parameters are the client's own business.
    let odd = format!(r#"{{ "task_id" : "{own}", "mood":"\u00e4",  "channel":"TaskChannel" }}"#);
    socket.command("subscribe", &odd).await;
    assert_eq!(socket.next().await, json!({"type": "confirm_subscription", "identifier": odd}));
    stage.publish([stage.task_event("task.started", own, 1), stage.task_event("task.started", hidden, 1)]).await;
    stage.publish([stage.task_event("task.paused", own, 2)]).await;
    for event in ["task_started", "task_paused"] {
        let said = socket.next().await;
        assert_eq!((&said["identifier"], &said["message"]["event"]), (&json!(odd), &json!(event)));
    }
}

#[tokio::test]
async fn subscribing_twice_is_harmless_and_unsubscribing_ends_it() {
    let stage = Stage::set().await;
    let user = &stage.team.user_a1;
    let (task, other) = (stage.tasks.seen_by(user), stage.tasks.seen_by(user));
    let mut socket = stage.connect(user).await;
    socket.follow(&task_channel(task)).await;
    socket.follow(&task_channel(task)).await;
    socket.follow(&task_channel(other)).await;
    stage.publish([stage.task_event("task.started", task, 1), stage.task_event("task.paused", task, 2)]).await;
    for event in ["task_started", "task_paused"] {
        assert_eq!(socket.hears(&task_channel(task)).await["event"], event, "once each");
    }
    socket.command("unsubscribe", &task_channel(task).to_string()).await;
    // Commands are taken in order, so this one is confirmed after it.
    socket.follow(&task_channel(other)).await;
    stage.publish([stage.task_event("task.resumed", task, 3), stage.task_event("task.started", other, 1)]).await;
    assert_eq!(socket.hears(&task_channel(other)).await["event"], "task_started");
    // Unknown commands and actions that no channel takes do no harm.
    socket.command("unsubscribe", "never subscribed").await;
    socket.say(json!({"command": "message", "identifier": "x", "data": "{\"action\":\"shout\"}"}).to_string()).await;
    socket.follow(&task_channel(task)).await;
}

#[tokio::test]
async fn who_loses_sight_of_a_task_is_not_told_how() {
    let stage = Stage::set().await;
    let user = &stage.team.user_a1;
    let task = stage.tasks.seen_by(user);
    let mut socket = stage.connect(user).await;
    socket.follow(&task_channel(task)).await;
    stage.publish([stage.task_event("task.started", task, 1)]).await;
    assert_eq!(socket.hears(&task_channel(task)).await["event"], "task_started");
    stage.tasks.hide(task);
    stage.publish([stage.task_event("task.reassigned", task, 2), stage.task_event("task.started", task, 3)]).await;
    let identifier = task_channel(task).to_string();
    assert_eq!(socket.next().await, json!({"type": "reject_subscription", "identifier": identifier}));
    socket.command("subscribe", &identifier).await;
    assert_eq!(socket.next().await["type"], "reject_subscription");
}

#[tokio::test]
async fn what_happens_while_it_is_asked_waits_for_the_answer() {
    let stage = Stage::set().await;
    let user = &stage.team.user_a1;
    let (task, other) = (stage.tasks.seen_by(user), stage.tasks.seen_by(user));
    let mut socket = stage.connect(user).await;
    socket.follow(&task_channel(task)).await;
    socket.follow(&task_channel(other)).await;
    stage.tasks.set_slow(true);
    let asked = stage.tasks.asked();
    let events = [("task.updated", 1), ("task.started", 2), ("task.assigned", 3), ("task.completed", 4)];
    stage.publish(events.map(|(kind, version)| stage.task_event(kind, task, version))).await;
    stage.publish([stage.task_event("task.started", other, 1)]).await;
    // The others are not held up.
    assert_eq!(socket.hears(&task_channel(other)).await["event"], "task_started");
    for (_, version) in events {
        assert_eq!(socket.hears(&task_channel(task)).await["version"], version);
    }
    assert_eq!(stage.tasks.asked(), asked + 2, "again, as the first answer was old");
}

#[tokio::test]
async fn a_deleted_task_is_told_and_ends_the_subscription() {
    let stage = Stage::set().await;
    let user = &stage.team.user_a1;
    let task = stage.tasks.seen_by(user);
    let mut socket = stage.connect(user).await;
    socket.follow(&task_channel(task)).await;
    stage.tasks.hide(task);
    stage.publish([stage.task_event("task.deleted", task, 2)]).await;
    assert_eq!(socket.hears(&task_channel(task)).await["event"], "task_deleted");
    assert_eq!(socket.next().await["type"], "reject_subscription");
}

#[tokio::test]
async fn while_nobody_can_tell_a_client_asks_again_and_a_follower_comes_back() {
    let stage = Stage::set().await;
    let user = &stage.team.user_a1;
    let task = stage.tasks.seen_by(user);
    let mut socket = stage.connect(user).await;
    stage.tasks.set_down(true);
    let identifier = task_channel(task).to_string();
    // As clients do until they are answered.
    let asking = async |socket: &mut crate::stage::Socket, times: usize| {
        for _ in 0..times {
            socket.command("subscribe", &identifier).await;
            sleep(Duration::from_millis(500)).await;
        }
    };
    asking(&mut socket, 3).await;
    stage.tasks.set_down(false);
    asking(&mut socket, 3).await;
    assert_eq!(socket.next().await, json!({"type": "confirm_subscription", "identifier": identifier}));
    while let Ok(said) = tokio::time::timeout(Duration::from_millis(300), socket.raw()).await {
        let said: Value = said.unwrap();
        assert!(said["type"] == "confirm_subscription" || said["type"] == "ping", "{said}");
    }
    stage.tasks.set_down(true);
    stage.publish([stage.task_event("task.updated", task, 2)]).await;
    socket.is_told_to_go("server_restart", true).await;
}
