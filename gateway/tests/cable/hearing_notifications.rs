//! A person hears of their own notifications, in the account that they are connected to.

use serde_json::json;

use crate::stage::{Stage, notifications};

#[tokio::test]
async fn ones_own_in_this_account_and_nobody_elses() {
    let stage = Stage::set().await;
    let other = stage.world.team().await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    let mut socket = stage.connect(user).await;
    let mut colleague = stage.connect(&stage.team.user_a2).await;
    let own = json!({"user_id": user.user_id, "channel": "NotificationChannel"});
    socket.follow(&own).await;
    colleague.follow(&notifications()).await;

    let (_, elsewhere) = stage.notification(other.account_id, user);
    let (first, of_user) = stage.notification(account, user);
    let (second, of_colleague) = stage.notification(account, &stage.team.user_a2);
    stage.publish([elsewhere]).await;
    stage.publish([of_user, of_colleague]).await;
    let heard = socket.hears(&own).await;
    assert_eq!(heard["event"], "notification_received");
    let created_at = heard["notification"]["created_at"].clone();
    assert!(chrono::DateTime::parse_from_rfc3339(created_at.as_str().unwrap()).is_ok());
    let expected = json!({"id": first, "type": "task_assigned", "task_id": null, "created_at": created_at});
    assert_eq!(heard["notification"], expected);
    assert_eq!(colleague.hears(&notifications()).await["notification"]["id"], json!(second));

    // Nothing but the next of one's own.
    let (third, of_user) = stage.notification(account, user);
    stage.publish([of_user]).await;
    assert_eq!(socket.hears(&own).await["notification"]["id"], json!(third));
}

#[tokio::test]
async fn a_redis_that_lost_everything_neither_silences_nor_repeats() {
    let stage = Stage::set().await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    let mut socket = stage.connect(user).await;
    socket.follow(&notifications()).await;
    for _ in 0..3 {
        let (id, told) = stage.notification(account, user);
        stage.publish([told]).await;
        assert_eq!(socket.hears(&notifications()).await["notification"]["id"], json!(id));
        let () = redis::cmd("FLUSHALL").query_async(&mut stage.streams.connection()).await.unwrap();
    }
}
