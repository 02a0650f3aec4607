//! Jobs of several workers: each is done once, however long one takes, and again only when its worker has died.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use baton_runtime::{Permanent, Shutdown};
use baton_store::{Tenant, jobs};
use baton_testkit::{TestContext, eventually};
use tokio::{sync::Notify, task::JoinHandle};

const LEASE: Duration = Duration::from_millis(600);

/// How often each job was begun.
type Begun = Arc<Mutex<HashMap<i32, usize>>>;

/// A worker for whom the job 0 takes until it is told that it is done.
fn worker(world: &TestContext, begun: &Begun, done: &Arc<Notify>) -> JoinHandle<()> {
    let (db, shutdown) = (world.db(baton_task::SCHEMA), Shutdown::new());
    let (begun, done) = (Arc::clone(begun), Arc::clone(done));
    tokio::spawn(jobs::run_with_lease(db, shutdown, LEASE, move |job| {
        let (begun, done) = (Arc::clone(&begun), Arc::clone(&done));
        async move {
            let nth: i32 = job.payload()?;
            *begun.lock().unwrap().entry(nth).or_default() += 1;
            if nth == 0 {
                done.notified().await;
            }
            Ok(())
        }
    }))
}

async fn enqueue(world: &TestContext, jobs: std::ops::Range<i32>) {
    let mut tx = world.db(baton_task::SCHEMA).begin(Tenant::NONE).await.unwrap();
    tx.enqueue_all("count", &jobs.collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn left(world: &TestContext, jobs: i64) {
    eventually(|| async {
        let left: i64 = sqlx::query_scalar("select count(*) from task.jobs").fetch_one(&world.admin()).await.unwrap();
        (left == jobs).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_slow_job_holds_up_no_other_and_is_begun_once() {
    let world = TestContext::start(&[(baton_task::SCHEMA, &baton_task::MIGRATIONS)]).await;
    let (begun, done) = (Begun::default(), Arc::new(Notify::new()));
    enqueue(&world, 0..1).await;
    let one = worker(&world, &begun, &done);
    eventually(|| async { begun.lock().unwrap().contains_key(&0).then_some(()) }).await;
    enqueue(&world, 1..40).await;
    let other = worker(&world, &begun, &done);
    left(&world, 1).await;
    // Several leases pass; another job shows that both still look.
    let slow = tokio::time::Instant::now();
    while slow.elapsed() < LEASE * 3 {
        enqueue(&world, 40..41).await;
        left(&world, 1).await;
    }
    done.notify_one();
    left(&world, 0).await;
    let begun = begun.lock().unwrap().clone();
    assert!((0..40).all(|nth| begun[&nth] == 1), "{begun:?}");
    one.abort();
    other.abort();
}

#[tokio::test]
async fn a_job_whose_worker_died_is_done_by_another() {
    let world = TestContext::start(&[(baton_task::SCHEMA, &baton_task::MIGRATIONS)]).await;
    let (begun, done) = (Begun::default(), Arc::new(Notify::new()));
    enqueue(&world, 0..1).await;
    let dying = worker(&world, &begun, &done);
    eventually(|| async { begun.lock().unwrap().contains_key(&0).then_some(()) }).await;
    dying.abort();
    let other = worker(&world, &begun, &done);
    eventually(|| async { (begun.lock().unwrap()[&0] == 2).then_some(()) }).await;
    done.notify_one();
    left(&world, 0).await;
    other.abort();
}

#[tokio::test]
async fn a_job_that_can_never_succeed_is_tried_once() {
    let world = TestContext::start(&[(baton_task::SCHEMA, &baton_task::MIGRATIONS)]).await;
    let begun = Begun::default();
    enqueue(&world, 0..2).await;
    let (db, shutdown, counted) = (world.db(baton_task::SCHEMA), Shutdown::new(), Arc::clone(&begun));
    let worker = tokio::spawn(jobs::run_with_lease(db, shutdown, LEASE, move |job| {
        let begun = Arc::clone(&counted);
        async move {
            let nth: i32 = job.payload()?;
            *begun.lock().unwrap().entry(nth).or_default() += 1;
            match nth {
                0 => Err(anyhow::Error::from(Permanent("the address is none")).context("cannot send a mail")),
                _ => Err(anyhow::anyhow!("the server is away")),
            }
        }
    }));
    // The other one waits to be tried again.
    left(&world, 1).await;
    eventually(|| async { (begun.lock().unwrap().get(&1).copied().unwrap_or_default() >= 2).then_some(()) }).await;
    assert_eq!(begun.lock().unwrap()[&0], 1);
    left(&world, 1).await;
    worker.abort();
}
