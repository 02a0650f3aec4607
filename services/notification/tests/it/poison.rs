//! An event that cannot be handled is set aside, and does not hold up those behind it.

use baton_proto::baton::{notification::v1::NotificationType, task::v1::TaskEvent, tenancy::v1::MemberEvent};
use baton_store::Event;
use uuid::Uuid;

use crate::stage::{Stage, assigned};

#[tokio::test]
async fn a_payload_that_does_not_decode_becomes_a_dead_letter() {
    let stage = Stage::set().await;
    let (manager, user) = (&stage.team.manager_a, &stage.team.user_a1);
    let account_id = stage.team.account_id;
    // A type with the payload of another, and an id that is none.
    let other = Event::new("task.assigned", account_id, Uuid::now_v7(), &MemberEvent::default());
    let odd = TaskEvent { task_id: Uuid::now_v7().to_string(), assigned_to: "ada".to_owned(), ..TaskEvent::default() };
    stage.publish(manager, [other, stage.event("task.assigned", odd)]).await;
    // An entry that is no event at all.
    stage.redis(redis::cmd("XADD").arg("baton:{events-0}").arg("*").arg("e").arg(&b"\xff\xff"[..])).await;
    let task_id = stage.assign(manager, user).await;

    let told = stage.told(user, 1).await;
    assert_eq!(
        (told[0].r#type(), told[0].task_id.as_deref()),
        (NotificationType::TaskAssigned, Some(&*task_id.to_string()))
    );
    baton_testkit::eventually(async || {
        let dead = stage.count("select count(*) from notification.dead_letters where error = 'INTERNAL'").await;
        (dead == 3).then_some(())
    })
    .await;
    let noted = "select count(*) from notification.inbox join notification.dead_letters using (event_id)";
    assert_eq!(stage.count(noted).await, 0, "once mended, they can be handled");
}

#[tokio::test]
async fn of_many_at_once_only_what_cannot_be_handled_is_set_aside() {
    let stage = Stage::set().await;
    let (manager, user) = (&stage.team.manager_a, &stage.team.user_a1);
    let tasks: Vec<Uuid> = (0..50).map(|_| Uuid::now_v7()).collect();
    let mut events: Vec<Event> =
        tasks.iter().map(|&id| stage.event("task.assigned", assigned(id, manager, user))).collect();
    let other = Event::new("task.assigned", stage.team.account_id, Uuid::now_v7(), &MemberEvent::default());
    events.insert(25, other);
    stage.publish(manager, events).await;

    let told = stage.told(user, 50).await;
    stage.settled().await;
    let told: Vec<&str> = told.iter().rev().filter_map(|notification| notification.task_id.as_deref()).collect();
    let tasks: Vec<String> = tasks.iter().map(Uuid::to_string).collect();
    assert_eq!(told, tasks, "in their order, and each once");
    assert_eq!(stage.count("select count(*) from notification.dead_letters").await, 1);
}
