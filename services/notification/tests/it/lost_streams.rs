//! Redis loses what it held, and nobody notices.

use std::time::Duration;

use baton_testkit::eventually;
use uuid::Uuid;

use crate::stage::{Stage, assigned};

const BURST: usize = 200;

/// Keeps the service from handling anything, so that what it has not read is there to be lost.
async fn hold_up(stage: &Stage) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = stage.world.admin().begin().await.unwrap();
    sqlx::query("lock table notification.inbox in access exclusive mode").execute(&mut *tx).await.unwrap();
    tx
}

/// Waits until the task service believes that all its events are in the streams.
async fn all_published(stage: &Stage) {
    eventually(async || {
        let waiting = stage.count("select count(*) from task.outbox where published_at is null").await;
        (waiting == 0).then_some(())
    })
    .await;
}

/// Every task of a burst has told its holder exactly once.
async fn each_told_once(stage: &Stage) {
    eventually(async || {
        let told = stage.count("select count(distinct task_id) from notification.notifications").await;
        (told as usize >= BURST).then_some(())
    })
    .await;
    stage.settled().await;
    let told = stage
        .count(
            "select count(*) from notification.notifications where user_id <> all (
        select user_id from tenancy.memberships where email like 'user-b1%')",
        )
        .await;
    assert_eq!(told as usize, BURST);
    assert_eq!(stage.count("select count(*) from notification.dead_letters").await, 0);
}

#[tokio::test]
async fn emptied_in_the_middle_of_a_burst() {
    let stage = Stage::set().await;
    let (manager, user) = (&stage.team.manager_a, &stage.team.user_a1);
    let assign = async |count: usize| {
        for _ in 0..count {
            stage.publish(manager, [stage.event("task.assigned", assigned(Uuid::now_v7(), manager, user))]).await;
        }
    };
    // Lost after they were published and before they were read.
    let held_up = hold_up(&stage).await;
    assign(BURST / 2).await;
    all_published(&stage).await;
    stage.redis(&redis::cmd("FLUSHALL")).await;
    held_up.rollback().await.unwrap();
    // And again and again while they come.
    let flushes = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stage.redis(&redis::cmd("FLUSHALL")).await;
        }
    };
    tokio::join!(assign(BURST / 2), flushes);
    each_told_once(&stage).await;
}

#[tokio::test]
async fn set_back_to_an_earlier_state() {
    let stage = Stage::set().await;
    let (manager, user) = (&stage.team.manager_a, &stage.team.user_a1);
    stage.settled().await;
    // A copy as a dump or a replica that is behind would have it.
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("baton:*").query_async(&mut stage.streams.connection()).await.unwrap();
    let mut copies: Vec<(String, Vec<u8>)> = Vec::new();
    for key in keys {
        let copy = redis::cmd("DUMP").arg(&key).query_async(&mut stage.streams.connection()).await.unwrap();
        copies.push((key, copy));
    }
    let mut restore = redis::pipe();
    restore.atomic().cmd("FLUSHALL");
    for (key, copy) in &copies {
        restore.cmd("RESTORE").arg(key).arg(0).arg(copy.as_slice());
    }
    let held_up = hold_up(&stage).await;
    let tasks: Vec<Uuid> = (0..BURST).map(|_| Uuid::now_v7()).collect();
    stage.publish(manager, tasks.iter().map(|&id| stage.event("task.assigned", assigned(id, manager, user)))).await;
    all_published(&stage).await;
    let () = restore.query_async(&mut stage.streams.connection()).await.unwrap();
    held_up.rollback().await.unwrap();
    each_told_once(&stage).await;
}

#[tokio::test]
async fn emptied_between_the_look_at_the_mark_and_the_next_batch() {
    let stage = Stage::set().await;
    let (manager, user) = (&stage.team.manager_a, &stage.team.user_a1);
    let held_up = hold_up(&stage).await;
    let tasks: Vec<Uuid> = (0..BURST).map(|_| Uuid::now_v7()).collect();
    stage.publish(manager, tasks.iter().map(|&id| stage.event("task.assigned", assigned(id, manager, user)))).await;
    all_published(&stage).await;
    // The relay has found its mark and waits for us to read the outbox.
    let mut tx = stage.world.admin().begin().await.unwrap();
    sqlx::query("lock table task.outbox in access exclusive mode").execute(&mut *tx).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    stage.redis(&redis::cmd("FLUSHALL")).await;
    // Then it finds something to publish, and leaves a mark on a server that has lost the rest.
    let again = "update task.outbox set published_at = null, batch = null
                 where position = (select max(position) from task.outbox)";
    sqlx::query(again).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    held_up.rollback().await.unwrap();
    each_told_once(&stage).await;
}
