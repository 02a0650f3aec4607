//! Redis loses its data, and no notification is lost.

use std::time::Duration;

use baton_testkit::eventually;
use uuid::Uuid;

use crate::fixture::{Fixture, task_event};

const BURST: usize = 200;

/// Blocks event processing by locking the inbox, so that unread events are in Redis when it loses them.
async fn block_processing(fixture: &Fixture) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = fixture.context.admin().begin().await.unwrap();
    sqlx::query("lock table notification.inbox in access exclusive mode").execute(&mut *tx).await.unwrap();
    tx
}

/// Waits until all events of the outbox are marked as published.
async fn wait_until_published(fixture: &Fixture) {
    eventually(async || {
        let waiting = fixture.count("select count(*) from task.outbox where published_at is null").await;
        (waiting == 0).then_some(())
    })
    .await;
}

/// Asserts that each task of the burst notified its assignee exactly once.
async fn assert_each_notified_once(fixture: &Fixture) {
    eventually(async || {
        let notified = fixture.count("select count(distinct task_id) from notification.notifications").await;
        (notified as usize >= BURST).then_some(())
    })
    .await;
    fixture.wait_until_processed().await;
    let notified = fixture
        .count(
            "select count(*) from notification.notifications where user_id <> all (
        select user_id from tenancy.memberships where email like 'user-b1%')",
        )
        .await;
    assert_eq!(notified as usize, BURST);
    assert_eq!(fixture.count("select count(*) from notification.dead_letters").await, 0);
}

#[tokio::test]
async fn a_flush_during_a_burst_loses_no_event() {
    let fixture = Fixture::start().await;
    let (manager, user) = (&fixture.team.manager_a, &fixture.team.user_a1);
    let assign = async |count: usize| {
        for _ in 0..count {
            fixture.publish(manager, [fixture.event("task.assigned", task_event(Uuid::now_v7(), manager, user))]).await;
        }
    };
    // Flushed after publishing and before reading.
    let blocked = block_processing(&fixture).await;
    assign(BURST / 2).await;
    wait_until_published(&fixture).await;
    fixture.redis(&redis::cmd("FLUSHALL")).await;
    blocked.rollback().await.unwrap();
    // Flushed repeatedly while events are published.
    let flushes = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            fixture.redis(&redis::cmd("FLUSHALL")).await;
        }
    };
    tokio::join!(assign(BURST / 2), flushes);
    assert_each_notified_once(&fixture).await;
}

#[tokio::test]
async fn a_restore_of_an_older_snapshot_loses_no_event() {
    let fixture = Fixture::start().await;
    let (manager, user) = (&fixture.team.manager_a, &fixture.team.user_a1);
    fixture.wait_until_processed().await;
    // A copy of the state, like an old dump or a lagging replica.
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("baton:*").query_async(&mut fixture.streams.connection()).await.unwrap();
    let mut copies: Vec<(String, Vec<u8>)> = Vec::new();
    for key in keys {
        let copy = redis::cmd("DUMP").arg(&key).query_async(&mut fixture.streams.connection()).await.unwrap();
        copies.push((key, copy));
    }
    let mut restore = redis::pipe();
    restore.atomic().cmd("FLUSHALL");
    for (key, copy) in &copies {
        restore.cmd("RESTORE").arg(key).arg(0).arg(copy.as_slice());
    }
    let blocked = block_processing(&fixture).await;
    let tasks: Vec<Uuid> = (0..BURST).map(|_| Uuid::now_v7()).collect();
    fixture
        .publish(manager, tasks.iter().map(|&id| fixture.event("task.assigned", task_event(id, manager, user))))
        .await;
    wait_until_published(&fixture).await;
    let () = restore.query_async(&mut fixture.streams.connection()).await.unwrap();
    blocked.rollback().await.unwrap();
    assert_each_notified_once(&fixture).await;
}

#[tokio::test]
async fn a_flush_between_marker_check_and_next_batch_loses_no_event() {
    let fixture = Fixture::start().await;
    let (manager, user) = (&fixture.team.manager_a, &fixture.team.user_a1);
    let blocked = block_processing(&fixture).await;
    let tasks: Vec<Uuid> = (0..BURST).map(|_| Uuid::now_v7()).collect();
    fixture
        .publish(manager, tasks.iter().map(|&id| fixture.event("task.assigned", task_event(id, manager, user))))
        .await;
    wait_until_published(&fixture).await;
    // The relay has found its stream marker and waits for the lock on the outbox.
    let mut tx = fixture.context.admin().begin().await.unwrap();
    sqlx::query("lock table task.outbox in access exclusive mode").execute(&mut *tx).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    fixture.redis(&redis::cmd("FLUSHALL")).await;
    // The relay then publishes an event, and sets the marker on a server that has lost the rest.
    let unpublish = "update task.outbox set published_at = null, batch = null
                 where position = (select max(position) from task.outbox)";
    sqlx::query(unpublish).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    blocked.rollback().await.unwrap();
    assert_each_notified_once(&fixture).await;
}
