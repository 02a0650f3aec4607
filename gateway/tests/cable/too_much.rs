//! What is too long, too many or too fast ends without harm to others.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::stage::{Stage, notifications, task_channel};

#[tokio::test]
async fn a_hundred_subscriptions_are_the_limit() {
    let stage = Stage::set().await;
    let user = &stage.team.user_a1;
    let mut socket = stage.connect(user).await;
    let numbered = |n: usize| json!({"channel": "NotificationChannel", "n": n});
    for n in 0..100 {
        socket.follow(&numbered(n)).await;
    }
    socket.command("subscribe", &numbered(100).to_string()).await;
    assert_eq!(socket.next().await["type"], "reject_subscription");
    socket.command("unsubscribe", &numbered(0).to_string()).await;
    socket.follow(&numbered(100)).await;
    socket.command("unsubscribe", &numbered(1).to_string()).await;
    let long = json!({"channel": "NotificationChannel", "n": "x".repeat(1024)}).to_string();
    socket.command("subscribe", &long).await;
    assert_eq!(socket.next().await, json!({"type": "reject_subscription", "identifier": long}));
}

#[tokio::test]
async fn what_is_not_the_protocol_ends_the_connection() {
    let stage = Stage::set().await;
    let user = &stage.team.user_a1;
    for nonsense in [
        Message::text("{"),
        Message::text("[]"),
        Message::text(r#"{"command":"subscribe"}"#),
        Message::binary(&b"x"[..]),
    ] {
        let mut socket = stage.connect(user).await;
        socket.0.send(nonsense).await.unwrap();
        socket.is_told_to_go("invalid_request", false).await;
    }
    let mut socket = stage.connect(user).await;
    let huge = json!({"command": "subscribe", "identifier": "x".repeat(64 * 1024)}).to_string();
    // The server may hang up before all of it is sent.
    let _ = socket.0.send(Message::text(huge)).await;
    while let Some(said) = timeout(Duration::from_secs(10), socket.raw()).await.unwrap() {
        assert_eq!(said["type"], "ping");
    }
    stage.connect(user).await.follow(&notifications()).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_hung_up_on_and_holds_nobody_up() {
    let stage = Stage::set().await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    let mut slow = stage.connect(user).await;
    for n in 0..100 {
        slow.follow(&json!({"channel": "NotificationChannel", "n": n, "padding": "x".repeat(900)})).await;
    }
    let mut quick = stage.connect(user).await;
    quick.follow(&notifications()).await;
    const EVENTS: usize = 400;
    for _ in 0..EVENTS / 10 {
        stage.publish((0..10).map(|_| stage.notification(account, user).1)).await;
        for _ in 0..10 {
            quick.hears(&notifications()).await;
        }
    }
    // The last words have their time, then the connection is cut.
    sleep(Duration::from_secs(5)).await;
    let mut read = 0;
    while let Some(said) = timeout(Duration::from_secs(10), slow.raw()).await.unwrap() {
        read += usize::from(said.get("message").is_some());
    }
    assert!(read < EVENTS * 100, "all was sent, so nothing was too slow");
    let task = stage.tasks.seen_by(user);
    quick.follow(&task_channel(task)).await;
}
