//! Latency and throughput: create, get, list 20 of 1,000 tasks and login, over REST and gRPC.
//!
//! ```sh
//! cargo build --release -p baton && BATON_BIN=target/release/baton cargo bench -p baton-tests --bench load
//! ```
//!
//! The benchmark starts a platform with a durable Postgres (`fsync` on). Both share the machine with this driver, so
//! figures are comparable only within one run or on the same machine. `BATON_BENCH_SECONDS` (10) is the time per line,
//! `BATON_BENCH_CLIENTS` (16) the number of concurrent callers, `BATON_BENCH_ONLY` a substring of the lines to run.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for the terminal")]

mod driver;

use std::sync::Arc;

use baton_embedded::{Options, Postgres, PostgresBinaries};
use baton_proto::baton::{
    api::v1::Page,
    auth::v1::{LoginRequest, auth_service_client::AuthServiceClient},
    task::v1::{CreateTaskRequest, GetTaskRequest, ListTasksRequest, task_service_client::TaskServiceClient},
};
use baton_tests::{PASSWORD, Platform, free_address};
use driver::setting;
use serde_json::json;
use tonic::transport::Endpoint;

const TASKS: usize = 1000;
/// Measures `call` from all clients and prints a line of the table.
async fn measure<F, Fut>(name: &str, call: F)
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    if !driver::wanted(name) {
        return;
    }
    let (clients, seconds) = (setting("BATON_BENCH_CLIENTS", 16), setting("BATON_BENCH_SECONDS", 10));
    let times = driver::measure(clients, seconds, call).await;
    println!("| {name:<24} | {} |", times.columns());
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = PostgresBinaries::find().unwrap();
    let postgres = Postgres::start(&binaries, &folder.path().join("postgres"), Options::kept()).await.unwrap();
    let task = free_address().to_string();
    let platform = Platform::start_with(&[
        ("BATON_DATABASE_URL", &postgres.url("postgres", Postgres::SUPERUSER)),
        ("BATON_TASK_LISTEN", &task),
    ])
    .await;
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
    // A separate account, because the previous one has many more tasks by now.
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
    let service = Endpoint::from_shared(format!("http://{task}")).unwrap().connect_lazy();
    for (name, channel) in [("gRPC get", &channel), ("gRPC get, to the service", &service)] {
        let (caller, tasks, ids) = (owner.clone(), TaskServiceClient::new(channel.clone()), Arc::clone(&ids));
        measure(name, move |n| {
            let message = GetTaskRequest { id: ids[n % TASKS].to_string(), as_of: None };
            let (request, mut tasks) = (caller.grpc(Some(account), message), tasks.clone());
            async move { drop(tasks.get_task(request).await.expect("got")) }
        })
        .await;
    }
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
