//! The task channel: events of a task, as long as the subscriber may see it.

use std::time::Duration;

use baton_proto::baton::task::v1::{CommentEvent, TaskVisibility};
use baton_testkit::event;
use serde_json::json;
use tokio::time::sleep;
use uuid::Uuid;

use crate::fixture::{Fixture, task_identifier};

#[tokio::test]
async fn all_events_of_the_task_arrive_in_order() {
    let fixture = Fixture::start().await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    let (task, other) = (fixture.task_service.create_visible_to(user), fixture.task_service.create_visible_to(user));
    let mut socket = fixture.connect(user).await;
    socket.subscribe(&task_identifier(task)).await;

    let kinds = ["task.assigned", "task.started", "task.updated", "task.paused", "task.completed"];
    fixture.publish([fixture.task_event("task.started", other, 1)]).await;
    for (version, kind) in kinds.into_iter().enumerate() {
        fixture.publish([fixture.task_event(kind, task, version as i32)]).await;
    }
    for (version, kind) in kinds.into_iter().enumerate() {
        let message = socket.next_message(&task_identifier(task)).await;
        assert!(chrono::DateTime::parse_from_rfc3339(message["occurred_at"].as_str().unwrap()).is_ok());
        let expected = json!({
            "event": kind.replace('.', "_"), "task_id": task, "version": version, "status": "in_progress",
            "actor_id": fixture.team.manager_a.user_id, "occurred_at": message["occurred_at"],
        });
        assert_eq!(message, expected);
    }
    assert_ne!(account, Uuid::nil());
}

#[tokio::test]
async fn only_visible_tasks_can_be_subscribed_and_identifiers_are_verbatim() {
    let fixture = Fixture::start().await;
    let (user, other) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let (own, hidden) = (fixture.task_service.create_visible_to(user), fixture.task_service.create_visible_to(other));
    let mut socket = fixture.connect(user).await;
    for identifier in [
        task_identifier(hidden).to_string(),
        task_identifier(Uuid::now_v7()).to_string(),
        json!({"channel": "TaskChannel"}).to_string(),
        json!({"channel": "NotificationChannel", "user_id": other.user_id}).to_string(),
        json!({"channel": "PayrollChannel"}).to_string(),
        "not json at all".to_owned(),
    ] {
        socket.command("subscribe", &identifier).await;
        assert_eq!(socket.receive().await, json!({"type": "reject_subscription", "identifier": identifier}));
    }
    // Spaces, order and unknown parameters of an identifier are kept.
    let odd = format!(r#"{{ "task_id" : "{own}", "mood":"\u00e4",  "channel":"TaskChannel" }}"#);
    socket.confirm(&odd).await;
    assert_eq!(socket.receive().await["message"], json!({"event": "resync"}));
    fixture.publish([fixture.task_event("task.started", own, 1), fixture.task_event("task.started", hidden, 1)]).await;
    fixture.publish([fixture.task_event("task.paused", own, 2)]).await;
    for event in ["task_started", "task_paused"] {
        let message = socket.receive().await;
        assert_eq!((&message["identifier"], &message["message"]["event"]), (&json!(odd), &json!(event)));
    }
}

#[tokio::test]
async fn subscribing_is_idempotent_and_unsubscribing_ends_it() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let (task, other) = (fixture.task_service.create_visible_to(user), fixture.task_service.create_visible_to(user));
    let mut socket = fixture.connect(user).await;
    socket.subscribe(&task_identifier(task)).await;
    socket.confirm(&task_identifier(task).to_string()).await;
    socket.subscribe(&task_identifier(other)).await;
    fixture.publish([fixture.task_event("task.started", task, 1), fixture.task_event("task.paused", task, 2)]).await;
    for event in ["task_started", "task_paused"] {
        assert_eq!(socket.next_message(&task_identifier(task)).await["event"], event, "once each");
    }
    socket.command("unsubscribe", &task_identifier(task).to_string()).await;
    // Commands are processed in order, so this one is confirmed after the previous one.
    socket.confirm(&task_identifier(other).to_string()).await;
    fixture.publish([fixture.task_event("task.resumed", task, 3), fixture.task_event("task.started", other, 1)]).await;
    assert_eq!(socket.next_message(&task_identifier(other)).await["event"], "task_started");
    // Unknown commands and actions are ignored.
    socket.command("unsubscribe", "never subscribed").await;
    socket.send(json!({"command": "message", "identifier": "x", "data": "{\"action\":\"shout\"}"}).to_string()).await;
    socket.subscribe(&task_identifier(task)).await;
}

#[tokio::test]
async fn a_subscriber_who_loses_access_gets_a_rejection_only() {
    let fixture = Fixture::start().await;
    let (user, other) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let task = fixture.task_service.create(user, TaskVisibility::Account);
    let mut socket = fixture.connect(other).await;
    socket.subscribe(&task_identifier(task)).await;
    fixture.publish([fixture.task_event("task.started", task, 1)]).await;
    assert_eq!(socket.next_message(&task_identifier(task)).await["event"], "task_started");
    fixture
        .publish([
            fixture.visible_event(task, user, TaskVisibility::Private),
            fixture.visible_event(task, user, TaskVisibility::Private),
        ])
        .await;
    let identifier = task_identifier(task).to_string();
    assert_eq!(socket.receive().await, json!({"type": "reject_subscription", "identifier": identifier}));
    // The last event of the task says that it is private.
    socket.command("subscribe", &identifier).await;
    assert_eq!(socket.receive().await["type"], "reject_subscription");
}

#[tokio::test]
async fn event_that_says_who_sees_its_task_causes_no_calls() {
    let fixture = Fixture::start().await;
    let (creator, manager, stranger) = (&fixture.team.user_a1, &fixture.team.manager_a, &fixture.team.user_b1);
    let task = fixture.task_service.create(creator, TaskVisibility::Account);
    let identifier = task_identifier(task);
    let mut sockets = Vec::new();
    for person in [creator, manager, stranger] {
        let mut socket = fixture.connect(person).await;
        socket.subscribe(&identifier).await;
        sockets.push(socket);
    }
    assert_eq!(fixture.task_service.call_count(), 1, "once per task, not per person");

    fixture.publish([fixture.visible_event(task, creator, TaskVisibility::Account)]).await;
    for socket in &mut sockets {
        assert_eq!(socket.next_message(&identifier).await["event"], "task_updated");
    }
    fixture.publish([fixture.visible_event(task, creator, TaskVisibility::Private)]).await;
    let [of_creator, of_manager, of_stranger] = &mut sockets[..] else { unreachable!("there are three") };
    for socket in [of_creator, of_manager] {
        assert_eq!(socket.next_message(&identifier).await["event"], "task_updated");
    }
    // The service still shows the task to the stranger: the event alone has decided.
    let rejected = json!({"type": "reject_subscription", "identifier": identifier.to_string()});
    assert_eq!(of_stranger.receive().await, rejected);
    assert_eq!(fixture.task_service.call_count(), 1);
}

#[tokio::test]
async fn events_during_an_access_check_are_delivered_after_it() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let (task, other) = (fixture.task_service.create_visible_to(user), fixture.task_service.create_visible_to(user));
    let mut socket = fixture.connect(user).await;
    socket.subscribe(&task_identifier(other)).await;
    fixture.task_service.set_slow(true);
    let identifier = task_identifier(task).to_string();
    socket.command("subscribe", &identifier).await;
    // The command has been read when one after it has an effect.
    socket.confirm(&task_identifier(other).to_string()).await;
    let kinds = ["comment.created", "comment.updated"];
    let comment = CommentEvent { task_id: task.to_string(), ..CommentEvent::default() };
    let events = kinds.map(|kind| event(kind, fixture.team.account_id, Uuid::now_v7(), &comment));
    fixture.publish(events).await;
    fixture.publish([fixture.task_event("task.started", other, 1)]).await;
    // Other subscriptions are not delayed.
    assert_eq!(socket.next_message(&task_identifier(other)).await["event"], "task_started");
    let confirmation = socket.receive().await;
    assert_eq!(confirmation["type"], "confirm_subscription", "{confirmation}");
    for expected in ["resync", "comment_created", "comment_updated"] {
        assert_eq!(socket.next_message(&task_identifier(task)).await["event"], expected);
    }
}

#[tokio::test]
async fn a_deleted_task_ends_the_subscription() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let task = fixture.task_service.create_visible_to(user);
    let mut socket = fixture.connect(user).await;
    socket.subscribe(&task_identifier(task)).await;
    fixture.publish([fixture.task_event("task.deleted", task, 2)]).await;
    assert_eq!(socket.next_message(&task_identifier(task)).await["event"], "task_deleted");
    assert_eq!(socket.receive().await["type"], "reject_subscription");
}

#[tokio::test]
async fn an_unavailable_service_delays_new_subscriptions_only() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let (task, other) = (fixture.task_service.create_visible_to(user), fixture.task_service.create_visible_to(user));
    let mut socket = fixture.connect(user).await;
    socket.subscribe(&task_identifier(other)).await;
    fixture.task_service.set_down(true);
    let identifier = task_identifier(task).to_string();
    // Clients repeat the command until it is confirmed.
    let subscribe_repeatedly = async |socket: &mut crate::fixture::Socket, times: usize| {
        for _ in 0..times {
            socket.command("subscribe", &identifier).await;
            sleep(Duration::from_millis(500)).await;
        }
    };
    subscribe_repeatedly(&mut socket, 3).await;
    fixture.publish([fixture.task_event("task.updated", other, 2)]).await;
    assert_eq!(socket.next_message(&task_identifier(other)).await["event"], "task_updated", "needs no service");
    fixture.task_service.set_down(false);
    subscribe_repeatedly(&mut socket, 3).await;
    let confirmation = socket.receive().await;
    assert_eq!(
        (&confirmation["type"], &confirmation["identifier"]),
        (&json!("confirm_subscription"), &json!(identifier))
    );
}

#[tokio::test]
async fn comments_come_with_their_text_read_once_and_in_order() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let task = fixture.task_service.create_visible_to(user);
    let identifier = task_identifier(task);
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = fixture.connect(user).await;
        socket.subscribe(&identifier).await;
        sockets.push(socket);
    }
    let calls = fixture.task_service.call_count();
    fixture.task_service.set_slow(true);
    let comment = |kind, id: Uuid| {
        let comment = CommentEvent { comment_id: id.to_string(), task_id: task.to_string(), ..CommentEvent::default() };
        event(kind, fixture.team.account_id, id, &comment)
    };
    let [first, second] = [Uuid::now_v7(), Uuid::now_v7()];
    fixture
        .publish([
            fixture.task_event("task.started", task, 1),
            comment("comment.created", first),
            fixture.task_event("task.paused", task, 2),
            comment("comment.updated", second),
            comment("comment.deleted", second),
        ])
        .await;
    for socket in &mut sockets {
        for (expected, text) in [
            ("task_started", None),
            ("comment_created", Some(first)),
            ("task_paused", None),
            ("comment_updated", Some(second)),
            ("comment_deleted", None),
        ] {
            let message = socket.next_message(&identifier).await;
            assert_eq!(message["event"], expected);
            assert_eq!(message["comment"]["body"], json!(text), "{message}");
        }
    }
    assert_eq!(fixture.task_service.call_count(), calls + 2, "once per comment and gateway");
    // Without the service, a comment is announced without its text.
    fixture.task_service.set_down(true);
    fixture.publish([comment("comment.created", Uuid::now_v7())]).await;
    let message = sockets[0].next_message(&identifier).await;
    assert_eq!((&message["event"], message.get("comment")), (&json!("comment_created"), None));
}
