//! Jobs with several workers: each runs once, and again only if its worker dies.

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

/// How often each job was started.
type StartCounts = Arc<Mutex<HashMap<i32, usize>>>;

/// A worker whose job 0 runs until `done` is notified.
fn worker(context: &TestContext, started: &StartCounts, done: &Arc<Notify>) -> JoinHandle<()> {
    let (db, shutdown) = (context.db(baton_task::SPEC.name), Shutdown::new());
    let (started, done) = (Arc::clone(started), Arc::clone(done));
    tokio::spawn(jobs::run_with_lease(db, shutdown, LEASE, move |job| {
        let (started, done) = (Arc::clone(&started), Arc::clone(&done));
        async move {
            let nth: i32 = job.payload()?;
            *started.lock().unwrap().entry(nth).or_default() += 1;
            if nth == 0 {
                done.notified().await;
            }
            Ok(())
        }
    }))
}

async fn enqueue(context: &TestContext, jobs: std::ops::Range<i32>) {
    let mut tx = context.db(baton_task::SPEC.name).begin(Tenant::NONE).await.unwrap();
    tx.enqueue_all("count", &jobs.collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn left(context: &TestContext, jobs: i64) {
    eventually(|| async {
        let left: i64 = sqlx::query_scalar("select count(*) from task.jobs").fetch_one(&context.admin()).await.unwrap();
        (left == jobs).then_some(())
    })
    .await;
}

#[tokio::test]
async fn slow_job_runs_once_and_blocks_no_other() {
    let context = TestContext::start(&[baton_task::SPEC.schema()]).await;
    let (started, done) = (StartCounts::default(), Arc::new(Notify::new()));
    enqueue(&context, 0..1).await;
    let one = worker(&context, &started, &done);
    eventually(|| async { started.lock().unwrap().contains_key(&0).then_some(()) }).await;
    enqueue(&context, 1..40).await;
    let other = worker(&context, &started, &done);
    left(&context, 1).await;
    // Several leases expire; another job shows that both workers still poll.
    let slow = tokio::time::Instant::now();
    while slow.elapsed() < LEASE * 3 {
        enqueue(&context, 40..41).await;
        left(&context, 1).await;
    }
    done.notify_one();
    left(&context, 0).await;
    let started = started.lock().unwrap().clone();
    assert!((0..40).all(|nth| started[&nth] == 1), "{started:?}");
    one.abort();
    other.abort();
}

#[tokio::test]
async fn job_of_a_dead_worker_is_run_by_another() {
    let context = TestContext::start(&[baton_task::SPEC.schema()]).await;
    let (started, done) = (StartCounts::default(), Arc::new(Notify::new()));
    enqueue(&context, 0..1).await;
    let dying = worker(&context, &started, &done);
    eventually(|| async { started.lock().unwrap().contains_key(&0).then_some(()) }).await;
    dying.abort();
    let other = worker(&context, &started, &done);
    eventually(|| async { (started.lock().unwrap()[&0] == 2).then_some(()) }).await;
    done.notify_one();
    left(&context, 0).await;
    other.abort();
}

#[tokio::test]
async fn permanently_failing_job_is_tried_once() {
    let context = TestContext::start(&[baton_task::SPEC.schema()]).await;
    let started = StartCounts::default();
    enqueue(&context, 0..2).await;
    let (db, shutdown, counted) = (context.db(baton_task::SPEC.name), Shutdown::new(), Arc::clone(&started));
    let worker = tokio::spawn(jobs::run_with_lease(db, shutdown, LEASE, move |job| {
        let started = Arc::clone(&counted);
        async move {
            let nth: i32 = job.payload()?;
            *started.lock().unwrap().entry(nth).or_default() += 1;
            match nth {
                0 => Err(anyhow::Error::from(Permanent("the address is invalid")).context("cannot send a mail")),
                _ => Err(anyhow::anyhow!("the server is away")),
            }
        }
    }));
    // The other job waits for its retry.
    left(&context, 1).await;
    eventually(|| async { (started.lock().unwrap().get(&1).copied().unwrap_or_default() >= 2).then_some(()) }).await;
    assert_eq!(started.lock().unwrap()[&0], 1);
    left(&context, 1).await;
    worker.abort();
}
