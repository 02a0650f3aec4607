//! An event that cannot be processed becomes a dead letter and does not block later events.

use baton_proto::baton::{notification::v1::NotificationType, task::v1::TaskEvent};
use baton_store::Event;
use baton_testkit::event;
use uuid::Uuid;

use crate::fixture::{Fixture, task_event};

#[tokio::test]
async fn a_payload_that_does_not_decode_becomes_a_dead_letter() {
    let fixture = Fixture::start().await;
    fixture.context.expect_failures();
    let (manager, user) = (&fixture.team.manager_a, &fixture.team.user_a1);
    let account_id = fixture.team.account_id;
    // A payload without a task, and an id that is no UUID.
    let without_task = event("task.assigned", account_id, Uuid::now_v7(), &TaskEvent::default());
    let malformed =
        TaskEvent { task_id: Uuid::now_v7().to_string(), assigned_to: "ada".to_owned(), ..TaskEvent::default() };
    fixture.publish(manager, [without_task, fixture.event("task.assigned", malformed)]).await;
    // A stream entry that is no envelope.
    fixture.redis(redis::cmd("XADD").arg("baton:{events-0}").arg("*").arg("e").arg(&b"\xff\xff"[..])).await;
    let task_id = fixture.assign(manager, user).await;

    let notifications = fixture.wait_for_notifications(user, 1).await;
    assert_eq!(
        (notifications[0].r#type(), notifications[0].task_id.as_deref()),
        (NotificationType::TaskAssigned, Some(&*task_id.to_string()))
    );
    baton_testkit::eventually(async || {
        let dead = fixture.count("select count(*) from notification.dead_letters where error = 'INTERNAL'").await;
        (dead == 3).then_some(())
    })
    .await;
    let processed = "select count(*) from notification.inbox join notification.dead_letters using (event_id)";
    assert_eq!(fixture.count(processed).await, 0, "they can be processed again once fixed");
}

#[tokio::test]
async fn only_the_failing_event_of_a_batch_becomes_a_dead_letter() {
    let fixture = Fixture::start().await;
    fixture.context.expect_failures();
    let (manager, user) = (&fixture.team.manager_a, &fixture.team.user_a1);
    let tasks: Vec<Uuid> = (0..50).map(|_| Uuid::now_v7()).collect();
    let mut events: Vec<Event> =
        tasks.iter().map(|&id| fixture.event("task.assigned", task_event(id, manager, user))).collect();
    let without_task = event("task.assigned", fixture.team.account_id, Uuid::now_v7(), &TaskEvent::default());
    events.insert(25, without_task);
    fixture.publish(manager, events).await;

    let notifications = fixture.wait_for_notifications(user, 50).await;
    fixture.wait_until_processed().await;
    let task_ids: Vec<&str> =
        notifications.iter().rev().filter_map(|notification| notification.task_id.as_deref()).collect();
    let tasks: Vec<String> = tasks.iter().map(Uuid::to_string).collect();
    assert_eq!(task_ids, tasks, "in order, and each once");
    assert_eq!(fixture.count("select count(*) from notification.dead_letters").await, 1);
}
