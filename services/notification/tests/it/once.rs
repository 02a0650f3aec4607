//! However often an event comes, it tells once.

use baton_testkit::eventually;

use crate::stage::{Stage, assigned};

/// Makes the task service publish all its events again.
async fn publish_again(stage: &Stage) {
    sqlx::query("update task.outbox set published_at = null, batch = null")
        .execute(&stage.world.admin())
        .await
        .unwrap();
    eventually(async || {
        let waiting = stage.count("select count(*) from task.outbox where published_at is null").await;
        (waiting == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_event_that_comes_again_tells_nothing_new() {
    let stage = Stage::set().await;
    let user = &stage.team.user_a1;
    stage.assign(&stage.team.manager_a, user).await;
    let told = stage.told(user, 1).await;

    publish_again(&stage).await;
    stage.settled().await;
    assert_eq!(stage.list(user, stage.team.account_id).await, told);

    // Even when the inbox has forgotten it, and the row was swept.
    sqlx::query("delete from notification.inbox").execute(&stage.world.admin()).await.unwrap();
    publish_again(&stage).await;
    stage.settled().await;
    assert_eq!(stage.list(user, stage.team.account_id).await, told);
    let created = stage.count("select count(*) from notification.outbox").await;
    assert_eq!(created, stage.count("select count(*) from notification.notifications").await, "pushed once as well");
}

#[tokio::test]
async fn many_events_of_an_account_are_taken_in_together() {
    let stage = Stage::set().await;
    let (manager, user) = (&stage.team.manager_a, &stage.team.user_a1);
    let tasks: Vec<uuid::Uuid> = (0..60).map(|_| uuid::Uuid::now_v7()).collect();
    stage.publish(manager, tasks.iter().map(|&id| stage.event("task.assigned", assigned(id, manager, user)))).await;

    let told = stage.told(user, 60).await;
    let told: Vec<&str> = told.iter().rev().filter_map(|notification| notification.task_id.as_deref()).collect();
    assert_eq!(told, tasks.iter().map(uuid::Uuid::to_string).collect::<Vec<_>>(), "in their order");
    let transactions = stage.count("select count(distinct xmin::text) from notification.inbox").await;
    assert!(transactions <= 20, "{transactions} transactions for 60 events");
}

#[tokio::test]
async fn two_instances_tell_once_and_one_goes_on_when_the_other_stops() {
    let stage = Stage::set().await;
    let (second, running) = stage.another_instance().await;
    let (manager, user) = (&stage.team.manager_a, &stage.team.user_a1);
    let burst = async || {
        let tasks = (0..40).map(|_| uuid::Uuid::now_v7());
        stage.publish(manager, tasks.map(|id| stage.event("task.assigned", assigned(id, manager, user)))).await;
    };
    burst().await;
    second.now();
    burst().await;
    running.await.unwrap().unwrap();
    stage.told(user, 80).await;
    stage.settled().await;
    assert_eq!(stage.list(user, stage.team.account_id).await.len(), 80);
}
