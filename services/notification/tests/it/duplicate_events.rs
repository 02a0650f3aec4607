//! An event notifies once, however often it is delivered.

use baton_testkit::eventually;

use crate::fixture::{Fixture, task_event};

/// Republishes all events of the task service.
async fn republish(fixture: &Fixture) {
    sqlx::query("update task.outbox set published_at = null, batch = null")
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    eventually(async || {
        let waiting = fixture.count("select count(*) from task.outbox where published_at is null").await;
        (waiting == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_redelivered_event_adds_no_notification() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    fixture.assign(&fixture.team.manager_a, user).await;
    let notifications = fixture.wait_for_notifications(user, 1).await;

    republish(&fixture).await;
    fixture.wait_until_processed().await;
    assert_eq!(fixture.list(user, fixture.team.account_id).await, notifications);

    // Even after retention has deleted the inbox row.
    sqlx::query("delete from notification.inbox").execute(&fixture.context.admin()).await.unwrap();
    republish(&fixture).await;
    fixture.wait_until_processed().await;
    assert_eq!(fixture.list(user, fixture.team.account_id).await, notifications);
    let created = fixture.count("select count(*) from notification.outbox").await;
    assert_eq!(created, fixture.count("select count(*) from notification.notifications").await, "pushed once as well");
}

#[tokio::test]
async fn events_of_one_account_are_processed_in_batches() {
    let fixture = Fixture::start().await;
    let (manager, user) = (&fixture.team.manager_a, &fixture.team.user_a1);
    let tasks: Vec<uuid::Uuid> = (0..60).map(|_| uuid::Uuid::now_v7()).collect();
    fixture
        .publish(manager, tasks.iter().map(|&id| fixture.event("task.assigned", task_event(id, manager, user))))
        .await;

    let notifications = fixture.wait_for_notifications(user, 60).await;
    let task_ids: Vec<&str> =
        notifications.iter().rev().filter_map(|notification| notification.task_id.as_deref()).collect();
    assert_eq!(task_ids, tasks.iter().map(uuid::Uuid::to_string).collect::<Vec<_>>(), "in their order");
    let transactions = fixture.count("select count(distinct xmin::text) from notification.inbox").await;
    assert!(transactions <= 20, "{transactions} transactions for 60 events");
}

#[tokio::test]
async fn two_instances_notify_once_and_one_continues_when_the_other_stops() {
    let fixture = Fixture::start().await;
    let (second, task) = fixture.another_instance().await;
    let (manager, user) = (&fixture.team.manager_a, &fixture.team.user_a1);
    let burst = async || {
        let tasks = (0..40).map(|_| uuid::Uuid::now_v7());
        fixture.publish(manager, tasks.map(|id| fixture.event("task.assigned", task_event(id, manager, user)))).await;
    };
    burst().await;
    second.now();
    burst().await;
    task.await.unwrap().unwrap();
    fixture.wait_for_notifications(user, 80).await;
    fixture.wait_until_processed().await;
    assert_eq!(fixture.list(user, fixture.team.account_id).await.len(), 80);
}
