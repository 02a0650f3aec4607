//! Limits of sockets, and protocol violations.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::fixture::{Fixture, notification_identifier, task_identifier};

#[tokio::test]
async fn more_than_a_thousand_subscriptions_are_refused() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let mut socket = fixture.connect(user).await;
    let tasks: Vec<_> = (0..=1000).map(|_| fixture.task_service.create_visible_to(user)).collect();
    // The events say who sees the tasks, so that no service is asked.
    for tasks in tasks.chunks(100) {
        fixture.publish(tasks.iter().map(|&task| fixture.task_event("task.started", task, 1))).await;
    }
    let mut witness = fixture.connect(user).await;
    witness.subscribe(&notification_identifier()).await;
    fixture.publish([fixture.notification(fixture.team.account_id, user).1]).await;
    witness.next_message(&notification_identifier()).await;
    for task in &tasks[..1000] {
        socket.subscribe(&task_identifier(*task)).await;
    }
    let last = task_identifier(tasks[1000]);
    socket.command("subscribe", &last.to_string()).await;
    assert_eq!(socket.receive().await["type"], "reject_subscription");
    for task in &tasks[..20] {
        socket.command("unsubscribe", &task_identifier(*task).to_string()).await;
    }
    socket.subscribe(&last).await;
    // One topic under many names would have to be encoded as often.
    let named = |n: usize| json!({"channel": "NotificationChannel", "n": n});
    for n in 0..8 {
        socket.subscribe(&named(n)).await;
    }
    socket.command("subscribe", &named(8).to_string()).await;
    assert_eq!(socket.receive().await["type"], "reject_subscription");
    let long = json!({"channel": "NotificationChannel", "n": "x".repeat(1024)}).to_string();
    socket.command("subscribe", &long).await;
    assert_eq!(socket.receive().await, json!({"type": "reject_subscription", "identifier": long}));
}

#[tokio::test]
async fn a_protocol_violation_ends_the_connection() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    for nonsense in [
        Message::text("{"),
        Message::text("[]"),
        Message::text(r#"{"command":"subscribe"}"#),
        Message::binary(&b"x"[..]),
    ] {
        let mut socket = fixture.connect(user).await;
        socket.0.send(nonsense).await.unwrap();
        socket.expect_disconnect("invalid_request", false).await;
    }
    let mut socket = fixture.connect(user).await;
    let huge = json!({"command": "subscribe", "identifier": "x".repeat(64 * 1024)}).to_string();
    // The server may close the socket before all of it is sent.
    let _ = socket.0.send(Message::text(huge)).await;
    socket.expect_disconnect("invalid_request", false).await;
    fixture.connect(user).await.subscribe(&notification_identifier()).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let fixture = Fixture::start().await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    let mut slow = fixture.connect(user).await;
    for n in 0..8 {
        slow.subscribe(&json!({"channel": "NotificationChannel", "n": n, "padding": "x".repeat(900)})).await;
    }
    let mut quick = fixture.connect(user).await;
    quick.subscribe(&notification_identifier()).await;
    const EVENTS: usize = 4_000;
    for _ in 0..EVENTS / 100 {
        fixture.publish((0..100).map(|_| fixture.notification(account, user).1)).await;
        for _ in 0..100 {
            quick.next_message(&notification_identifier()).await;
        }
    }
    // Closing has a timeout; then the connection is aborted.
    sleep(Duration::from_secs(5)).await;
    let mut read = 0;
    while let Some(message) = timeout(Duration::from_secs(10), slow.receive_any()).await.unwrap() {
        read += usize::from(message.get("message").is_some());
    }
    assert!(read < EVENTS * 8, "all events were sent: the client was not too slow");
    let task = fixture.task_service.create_visible_to(user);
    quick.subscribe(&task_identifier(task)).await;
}

#[tokio::test]
async fn invalid_frames_are_closed_with_their_code() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let fixture = Fixture::start().await;
    let frame = |payload: &[u8], code| Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(code), true));
    for (sent, code) in [
        (frame(b"x", Data::Reserved(3)), 1002),
        (frame(&[0xff, 0xfe], Data::Text), 1007),
        (Message::text("no JSON"), 1007),
        (Message::binary(&b"x"[..]), 1003),
        (frame(&vec![b'x'; 65 * 1024], Data::Text), 1009),
    ] {
        let mut socket = fixture.connect(&fixture.team.user_a1).await;
        socket.0.send(sent).await.unwrap();
        assert_eq!(socket.close_code().await, Some(code));
    }
}

#[tokio::test]
async fn sockets_are_limited_per_user() {
    let fixture = Fixture::start_with(&[("BATON_GATEWAY_MAX_STREAMS_PER_PERSON", "2")]).await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    let (first, _second) = (fixture.connect(user).await, fixture.connect(user).await);
    let query = format!("?token={}&account_id={account}", user.token);
    assert_eq!(fixture.connect_refused(&query).await, (429, "TOO_MANY_STREAMS".to_owned()));
    fixture.connect(&fixture.team.user_a2).await.subscribe(&notification_identifier()).await;
    drop(first);
    let again = async || connect_async(fixture.request(&query)).await.is_ok();
    while !again().await {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn connecting_and_subscribing_count_as_requests() {
    let fixture = Fixture::start_with(&[("BATON_GATEWAY_REQUESTS_PER_HOUR_ANONYMOUS", "3")]).await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    for _ in 0..3 {
        fixture.open("?token=nonsense").await.expect_disconnect("unauthorized", false).await;
    }
    assert_eq!(fixture.connect_refused("?token=nonsense").await, (429, "RATE_LIMITED".to_owned()));

    let tasks: Vec<_> = (0..2).map(|_| fixture.task_service.create_visible_to(user)).collect();
    let mut socket = fixture.connect(user).await;
    socket.subscribe(&task_identifier(tasks[0])).await;
    fixture.use_up_requests(account).await;
    let calls = fixture.task_service.call_count();
    let identifier = task_identifier(tasks[1]).to_string();
    socket.command("subscribe", &identifier).await;
    assert_eq!(socket.receive().await, json!({"type": "reject_subscription", "identifier": identifier}));
    assert_eq!(fixture.task_service.call_count(), calls, "no lookup");
    let query = format!("?token={}&account_id={account}", user.token);
    assert_eq!(fixture.connect_refused(&query).await, (429, "RATE_LIMITED".to_owned()));
}
