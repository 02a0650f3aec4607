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
fn worker(context: &TestContext, begun: &Begun, done: &Arc<Notify>) -> JoinHandle<()> {
    let (db, shutdown) = (context.db(baton_task::SCHEMA), Shutdown::new());
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

async fn enqueue(context: &TestContext, jobs: std::ops::Range<i32>) {
    let mut tx = context.db(baton_task::SCHEMA).begin(Tenant::NONE).await.unwrap();
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
    let context = TestContext::start(&[(baton_task::SCHEMA, &baton_task::MIGRATIONS)]).await;
    let (begun, done) = (Begun::default(), Arc::new(Notify::new()));
    enqueue(&context, 0..1).await;
    let one = worker(&context, &begun, &done);
    eventually(|| async { begun.lock().unwrap().contains_key(&0).then_some(()) }).await;
    enqueue(&context, 1..40).await;
    let other = worker(&context, &begun, &done);
    left(&context, 1).await;
    // Several leases pass; another job shows that both still look.
    let slow = tokio::time::Instant::now();
    while slow.elapsed() < LEASE * 3 {
        enqueue(&context, 40..41).await;
        left(&context, 1).await;
    }
    done.notify_one();
    left(&context, 0).await;
    let begun = begun.lock().unwrap().clone();
    assert!((0..40).all(|nth| begun[&nth] == 1), "{begun:?}");
    one.abort();
    other.abort();
}

#[tokio::test]
async fn job_of_a_dead_worker_is_run_by_another() {
    let context = TestContext::start(&[(baton_task::SCHEMA, &baton_task::MIGRATIONS)]).await;
    let (begun, done) = (Begun::default(), Arc::new(Notify::new()));
    enqueue(&context, 0..1).await;
    let dying = worker(&context, &begun, &done);
    eventually(|| async { begun.lock().unwrap().contains_key(&0).then_some(()) }).await;
    dying.abort();
    let other = worker(&context, &begun, &done);
    eventually(|| async { (begun.lock().unwrap()[&0] == 2).then_some(()) }).await;
    done.notify_one();
    left(&context, 0).await;
    other.abort();
}

#[tokio::test]
async fn permanently_failing_job_is_tried_once() {
    let context = TestContext::start(&[(baton_task::SCHEMA, &baton_task::MIGRATIONS)]).await;
    let begun = Begun::default();
    enqueue(&context, 0..2).await;
    let (db, shutdown, counted) = (context.db(baton_task::SCHEMA), Shutdown::new(), Arc::clone(&begun));
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
    left(&context, 1).await;
    eventually(|| async { (begun.lock().unwrap().get(&1).copied().unwrap_or_default() >= 2).then_some(()) }).await;
    assert_eq!(begun.lock().unwrap()[&0], 1);
    left(&context, 1).await;
    worker.abort();
}
