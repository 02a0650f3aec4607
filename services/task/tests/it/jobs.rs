//! Jobs with several workers: each runs once, and again only if its worker dies.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use baton_runtime::{Clock, Permanent, Shutdown};
use baton_store::{
    Tenant,
    jobs::{self, NewJob},
};
use baton_testkit::{TestContext, eventually};
use chrono::TimeDelta;
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

/// A worker that records the jobs that it has done, in their order.
fn recorder(context: &TestContext, clock: &Clock, done: &Arc<Mutex<Vec<i32>>>) -> JoinHandle<()> {
    let (db, done) = (context.database().open_at(baton_task::SPEC.name, clock.clone()), Arc::clone(done));
    tokio::spawn(jobs::run_with_lease(db, Shutdown::new(), LEASE, move |job| {
        let done = Arc::clone(&done);
        async move {
            done.lock().unwrap().push(job.payload()?);
            Ok(())
        }
    }))
}

async fn add(context: &TestContext, jobs: Vec<NewJob>) {
    let mut tx = context.db(baton_task::SPEC.name).begin(Tenant::NONE).await.unwrap();
    tx.enqueue_jobs(jobs).await.unwrap();
    tx.commit().await.unwrap();
}

fn job(nth: i32) -> NewJob {
    NewJob::new("count", &nth).unwrap()
}

#[tokio::test]
async fn job_runs_when_it_is_due_by_the_clock_and_key_admits_one() {
    let context = TestContext::start(&[baton_task::SPEC.schema()]).await;
    let clock = Clock::fixed(Clock::system().now());
    let due = clock.now() + TimeDelta::hours(3);
    add(&context, vec![job(1).due_at(due).unique("one"), job(2), job(3).due_at(due).unique("one")]).await;
    add(&context, vec![job(4).unique("one")]).await;
    let done = Arc::default();
    let worker = recorder(&context, &clock, &done);
    left(&context, 1).await;
    assert_eq!(*done.lock().unwrap(), [2]);
    clock.advance(TimeDelta::hours(3));
    left(&context, 0).await;
    assert_eq!(*done.lock().unwrap(), [2, 1]);
    // The key is free again.
    add(&context, vec![job(5).unique("one")]).await;
    left(&context, 0).await;
    assert_eq!(*done.lock().unwrap(), [2, 1, 5]);
    worker.abort();
}

#[tokio::test]
async fn jobs_of_a_lane_run_one_after_the_other_whichever_worker_runs_them() {
    let context = TestContext::start(&[baton_task::SPEC.schema()]).await;
    let (done, running) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(HashMap::<i32, usize>::new())));
    add(&context, (0..60).map(|nth| job(nth).in_lane(format!("lane {}", nth % 3))).collect()).await;
    let failed = Arc::new(Mutex::new(false));
    let worker = || {
        let (done, running, failed) = (Arc::clone(&done), Arc::clone(&running), Arc::clone(&failed));
        tokio::spawn(jobs::run_with_lease(context.db(baton_task::SPEC.name), Shutdown::new(), LEASE, move |job| {
            let (done, running, failed) = (Arc::clone(&done), Arc::clone(&running), Arc::clone(&failed));
            async move {
                let nth: i32 = job.payload()?;
                *running.lock().unwrap().entry(nth % 3).or_default() += 1;
                tokio::task::yield_now().await;
                let alone = running.lock().unwrap().insert(nth % 3, 0) == Some(1);
                // One that fails keeps its place.
                let fails = nth == 9 && !std::mem::replace(&mut *failed.lock().unwrap(), true);
                anyhow::ensure!(!fails, "once");
                done.lock().unwrap().push((nth, alone));
                Ok(())
            }
        }))
    };
    let workers = [worker(), worker()];
    left(&context, 0).await;
    let done = done.lock().unwrap().clone();
    assert!(done.iter().all(|(_, alone)| *alone), "{done:?}");
    for lane in 0..3 {
        let of_lane: Vec<i32> = done.iter().map(|(nth, _)| *nth).filter(|nth| nth % 3 == lane).collect();
        assert!(of_lane.is_sorted() && of_lane.len() == 20, "{of_lane:?}");
    }
    workers.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn job_that_commits_late_waits_for_the_one_that_overtook_it() {
    let context = TestContext::start(&[baton_task::SPEC.schema()]).await;
    let db = context.db(baton_task::SPEC.name);
    let mut late = db.begin(Tenant::NONE).await.unwrap();
    late.enqueue_jobs(vec![job(1).in_lane("lane")]).await.unwrap();
    let (started, done) = (StartCounts::default(), Arc::new(Notify::new()));
    // Job 0 runs until it is notified.
    add(&context, vec![job(0).in_lane("lane")]).await;
    let worker = worker(&context, &started, &done);
    eventually(|| async { started.lock().unwrap().contains_key(&0).then_some(()) }).await;
    late.commit().await.unwrap();
    // Another lane shows that the worker still polls.
    for _ in 0..3 {
        add(&context, vec![job(2).in_lane("other")]).await;
        left(&context, 2).await;
    }
    assert!(!started.lock().unwrap().contains_key(&1));
    done.notify_one();
    left(&context, 0).await;
    assert!(started.lock().unwrap().contains_key(&1));
    worker.abort();
}
