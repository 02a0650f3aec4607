//! What is too long, too many or too fast ends without harm to others.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{connect_async, tungstenite::Message};

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
    socket.is_told_to_go("invalid_request", false).await;
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

#[tokio::test]
async fn a_close_frame_says_what_was_wrong_with_the_frames() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let stage = Stage::set().await;
    let frame = |payload: &[u8], code| Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(code), true));
    for (sent, code) in [
        (frame(b"x", Data::Reserved(3)), 1002),
        (frame(&[0xff, 0xfe], Data::Text), 1007),
        (Message::text("no JSON"), 1007),
        (Message::binary(&b"x"[..]), 1003),
        (frame(&vec![b'x'; 65 * 1024], Data::Text), 1009),
    ] {
        let mut socket = stage.connect(&stage.team.user_a1).await;
        socket.0.send(sent).await.unwrap();
        assert_eq!(socket.close_code().await, Some(code));
    }
}

#[tokio::test]
async fn sockets_of_a_person_are_limited_and_those_of_others_are_not() {
    let stage = Stage::set_with(&[("BATON_GATEWAY_MAX_STREAMS_PER_PERSON", "2")]).await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    let (first, _second) = (stage.connect(user).await, stage.connect(user).await);
    let query = format!("?token={}&account_id={account}", user.token);
    assert_eq!(stage.refused(&query).await, (429, "TOO_MANY_STREAMS".to_owned()));
    stage.connect(&stage.team.user_a2).await.follow(&notifications()).await;
    drop(first);
    let again = async || connect_async(stage.request(&query)).await.is_ok();
    while !again().await {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn connecting_and_what_is_looked_up_for_a_socket_count_as_requests() {
    let stage = Stage::set_with(&[("BATON_GATEWAY_REQUESTS_PER_HOUR_ANONYMOUS", "3")]).await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    for _ in 0..3 {
        stage.open("?token=nonsense").await.is_told_to_go("unauthorized", false).await;
    }
    assert_eq!(stage.refused("?token=nonsense").await, (429, "RATE_LIMITED".to_owned()));

    let tasks: Vec<_> = (0..2).map(|_| stage.tasks.seen_by(user)).collect();
    let mut socket = stage.connect(user).await;
    socket.follow(&task_channel(tasks[0])).await;
    stage.use_up_requests(account).await;
    let asked = stage.tasks.asked();
    let identifier = task_channel(tasks[1]).to_string();
    socket.command("subscribe", &identifier).await;
    assert_eq!(socket.next().await, json!({"type": "reject_subscription", "identifier": identifier}));
    assert_eq!(stage.tasks.asked(), asked, "nobody was asked");
    let query = format!("?token={}&account_id={account}", user.token);
    assert_eq!(stage.refused(&query).await, (429, "RATE_LIMITED".to_owned()));
}
