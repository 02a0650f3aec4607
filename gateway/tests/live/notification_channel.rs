//! The notification channel: own notifications in the connected account.

use serde_json::json;

use crate::fixture::{Fixture, notification_identifier};

#[tokio::test]
async fn only_own_notifications_of_this_account_arrive() {
    let fixture = Fixture::start().await;
    let other = fixture.context.team().await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    let mut socket = fixture.connect(user).await;
    let mut other_socket = fixture.connect(&fixture.team.user_a2).await;
    let own = json!({"user_id": user.user_id, "channel": "NotificationChannel"});
    socket.subscribe(&own).await;
    other_socket.subscribe(&notification_identifier()).await;

    let (_, elsewhere) = fixture.notification(other.account_id, user);
    let (first, of_user) = fixture.notification(account, user);
    let (second, of_colleague) = fixture.notification(account, &fixture.team.user_a2);
    fixture.publish([elsewhere]).await;
    fixture.publish([of_user, of_colleague]).await;
    let message = socket.next_message(&own).await;
    assert_eq!(message["event"], "notification_received");
    let created_at = message["notification"]["created_at"].clone();
    assert!(chrono::DateTime::parse_from_rfc3339(created_at.as_str().unwrap()).is_ok());
    let expected = json!({"id": first, "type": "task_assigned", "created_at": created_at});
    assert_eq!(message["notification"], expected);
    assert_eq!(other_socket.next_message(&notification_identifier()).await["notification"]["id"], json!(second));

    // The next message is the user's next notification.
    let (third, of_user) = fixture.notification(account, user);
    fixture.publish([of_user]).await;
    assert_eq!(socket.next_message(&own).await["notification"]["id"], json!(third));
}

#[tokio::test]
async fn a_flushed_redis_loses_and_repeats_nothing() {
    let fixture = Fixture::start().await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    let mut socket = fixture.connect(user).await;
    socket.subscribe(&notification_identifier()).await;
    for _ in 0..3 {
        let (id, notification) = fixture.notification(account, user);
        fixture.publish([notification]).await;
        let received = loop {
            let message = socket.next_message(&notification_identifier()).await;
            // A gateway that notices that the stream is another one says so.
            if message["event"] != "resync" {
                break message;
            }
        };
        assert_eq!(received["notification"]["id"], json!(id));
        let () = redis::cmd("FLUSHALL").query_async(&mut fixture.streams.connection()).await.unwrap();
    }
}
