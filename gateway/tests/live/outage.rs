//! Redis stops responding, or loses its data: every client receives what it has missed, or is told to read the state again.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::fixture::{Fixture, TIMEOUT, task_identifier};

#[tokio::test]
async fn events_of_an_outage_arrive_after_it_once_and_in_order() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let task = fixture.task_service.create_visible_to(user);
    let identifier = task_identifier(task);
    let mut socket = fixture.connect(user).await;
    socket.subscribe(&identifier).await;
    fixture.publish([fixture.task_event("task.started", task, 1)]).await;
    assert_eq!(socket.next_message(&identifier).await["version"], 1);
    // Longer than the gateway waits for a response, so it has to connect again.
    let pause = Duration::from_secs(8);
    let () = redis::cmd("CLIENT")
        .arg("PAUSE")
        .arg(pause.as_millis() as u64)
        .arg("ALL")
        .query_async(&mut fixture.streams.connection())
        .await
        .unwrap();
    for version in 2..5 {
        fixture.publish([fixture.task_event("task.updated", task, version)]).await;
    }
    for version in 2..5 {
        let message = timeout(pause + 2 * TIMEOUT, async {
            loop {
                let message = socket.receive_any().await.expect("the socket stays open");
                if message["type"] != "ping" {
                    return message;
                }
            }
        });
        assert_eq!(message.await.expect("a message after the outage")["message"]["version"], version);
    }
}

#[tokio::test]
async fn everybody_reads_the_state_again_after_redis_has_lost_the_streams() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let task = fixture.task_service.create_visible_to(user);
    let identifier = task_identifier(task);
    let mut socket = fixture.connect(user).await;
    let old = socket.subscribe(&identifier).await;
    fixture.publish([fixture.task_event("task.started", task, 1)]).await;
    assert_eq!(socket.next_message(&identifier).await["version"], 1);
    let () = redis::cmd("FLUSHALL").query_async(&mut fixture.streams.connection()).await.unwrap();
    // Lost events may have said who sees the task, so its subscription is confirmed anew.
    assert_eq!(socket.receive().await["type"], "confirm_subscription");
    assert_eq!(socket.next_message(&identifier).await, json!({"event": "resync"}));
    // Positions of before mean nothing any more.
    let mut other = fixture.connect(user).await;
    let continued = json!({"channel": "TaskChannel", "task_id": task, "since": old});
    let new = other.confirm(&continued.to_string()).await;
    assert_ne!(new.split_once(':').unwrap().0, old.split_once(':').unwrap().0, "another epoch");
    assert_eq!(other.next_message(&continued).await, json!({"event": "resync"}));
    fixture.publish([fixture.task_event("task.paused", task, 2)]).await;
    assert_eq!(socket.next_message(&identifier).await["version"], 2);
    assert_eq!(other.next_message(&continued).await["version"], 2);
}
