//! How fast the platform answers: create, get, list 20 of 1,000 tasks and login, over REST and over gRPC.
//!
//! ```sh
//! cargo build --release -p baton && BATON_BIN=target/release/baton cargo bench -p baton-tests --bench load
//! ```
//!
//! A whole platform is started with a Postgres that keeps its promises (`fsync` on), and shares the machine
//! with it and with this driver; so figures of one run compare with each other, and only with those of the
//! same machine otherwise. `BATON_BENCH_SECONDS` (10) is the time per line, `BATON_BENCH_CLIENTS` (16) the
//! callers at a time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for the terminal")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use baton_embedded::{Options, Postgres, PostgresBinaries};
use baton_proto::baton::{
    api::v1::Page,
    auth::v1::{LoginRequest, auth_service_client::AuthServiceClient},
    task::v1::{CreateTaskRequest, GetTaskRequest, ListTasksRequest, task_service_client::TaskServiceClient},
};
use baton_tests::{PASSWORD, Platform};
use serde_json::json;

const TASKS: usize = 1000;
const WARM_UP: Duration = Duration::from_secs(1);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Waits until the machine rests: the events of what was written before are handled for a while after the
/// answers, and would count against the next line. Gives up after a minute, for machines that never rest.
async fn settle() {
    let idle = || {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks: Vec<u64> =
            stat.lines().next().unwrap_or_default().split(' ').filter_map(|t| t.parse().ok()).collect();
        (ticks.get(3).copied().unwrap_or_default(), ticks.iter().sum::<u64>())
    };
    for _ in 0..60 {
        let before = idle();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = idle();
        if (now.0 - before.0) * 10 >= (now.1 - before.1) * 9 {
            return;
        }
    }
}

/// Calls `call` from all clients for a while, and prints a line of the table. A failed call ends the run.
async fn measure<F, Fut>(name: &str, call: F)
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let seconds = Duration::from_secs(setting("BATON_BENCH_SECONDS", 10));
    let clients = setting("BATON_BENCH_CLIENTS", 16);
    settle().await;
    let call = Arc::new(call);
    let number = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let callers: Vec<_> = (0..clients)
        .map(|_| {
            let (call, number) = (Arc::clone(&call), Arc::clone(&number));
            tokio::spawn(async move {
                let mut took = Vec::new();
                while begun.elapsed() < WARM_UP + seconds {
                    let at = Instant::now();
                    call(number.fetch_add(1, Ordering::Relaxed)).await;
                    if begun.elapsed() > WARM_UP {
                        took.push(at.elapsed());
                    }
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await.expect("every call is answered"));
    }
    took.sort_unstable();
    let quantile = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    let rate = took.len() as f64 / seconds.as_secs_f64();
    println!(
        "| {name:<24} | {rate:>9.0} | {:>8.2} | {:>8.2} | {:>8.2} |",
        quantile(0.5),
        quantile(0.95),
        quantile(0.99)
    );
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = PostgresBinaries::find().unwrap();
    let postgres = Postgres::start(&binaries, &folder.path().join("postgres"), Options::kept()).await.unwrap();
    let platform =
        Platform::start_with(&[("BATON_DATABASE_URL", &postgres.url("postgres", Postgres::SUPERUSER))]).await;
    let team = platform.team().await;
    let mut ids = Vec::new();
    for number in 0..TASKS {
        ids.push(team.owner.create_task(&format!("Task {number}")).await);
    }
    let (ids, owner, account) = (Arc::new(ids), team.owner.clone(), team.account_id);

    println!(
        "{} cores, {} clients, {TASKS} tasks; milliseconds",
        std::thread::available_parallelism().map_or(0, usize::from),
        setting("BATON_BENCH_CLIENTS", 16)
    );
    println!("| call                     | per second |  p50     |  p95     |  p99     |");
    println!("|--------------------------|-----------:|---------:|---------:|---------:|");

    let caller = owner.clone();
    measure("REST create", move |n| {
        let call = caller.post("/v1/tasks", &json!({"title": format!("Made {n}")}));
        async move { assert_eq!(call.send().await.status, 200) }
    })
    .await;
    let (caller, all) = (owner.clone(), Arc::clone(&ids));
    measure("REST get", move |n| {
        let call = caller.get(&format!("/v1/tasks/{}", all[n % TASKS]));
        async move { assert_eq!(call.send().await.status, 200) }
    })
    .await;
    // An account of its own: the one before has many more tasks by now.
    let lister = platform.team().await;
    for number in 0..TASKS {
        lister.owner.create_task(&format!("Task {number}")).await;
    }
    let caller = lister.owner.clone();
    measure("REST list 20 of 1,000", move |n| {
        let call = caller.get(&format!("/v1/tasks?per_page=20&page={}", 1 + n % 50));
        async move { assert_eq!(call.send().await.status, 200) }
    })
    .await;
    let rest = platform.rest();
    let email = owner.email.clone();
    measure("REST login", move |_| {
        let call = rest.post("/v1/auth/login", &json!({"email": email, "password": PASSWORD}));
        async move { assert_eq!(call.send().await.status, 200) }
    })
    .await;

    let channel = platform.grpc();
    let (caller, tasks) = (owner.clone(), TaskServiceClient::new(channel.clone()));
    measure("gRPC create", move |n| {
        let message = CreateTaskRequest { title: format!("Made {n}"), ..Default::default() };
        let (request, mut tasks) = (caller.grpc(Some(account), message), tasks.clone());
        async move { drop(tasks.create_task(request).await.expect("created")) }
    })
    .await;
    let (caller, tasks) = (owner.clone(), TaskServiceClient::new(channel.clone()));
    measure("gRPC get", move |n| {
        let message = GetTaskRequest { id: ids[n % TASKS].to_string() };
        let (request, mut tasks) = (caller.grpc(Some(account), message), tasks.clone());
        async move { drop(tasks.get_task(request).await.expect("got")) }
    })
    .await;
    let (caller, tasks) = (lister.owner.clone(), TaskServiceClient::new(channel.clone()));
    measure("gRPC list 20 of 1,000", move |n| {
        let page = Page { page: 1 + (n % 50) as i32, per_page: 20, page_token: String::new() };
        let message = ListTasksRequest { filter: None, page: Some(page) };
        let (request, mut tasks) = (caller.grpc(Some(lister.account_id), message), tasks.clone());
        async move { drop(tasks.list_tasks(request).await.expect("listed")) }
    })
    .await;
    let (email, auth) = (owner.email.clone(), AuthServiceClient::new(channel));
    measure("gRPC login", move |_| {
        let (request, mut auth) = (LoginRequest { email: email.clone(), password: PASSWORD.to_owned() }, auth.clone());
        async move { drop(auth.login(request).await.expect("signed in")) }
    })
    .await;
    drop(platform);
    postgres.stop().await;
}
