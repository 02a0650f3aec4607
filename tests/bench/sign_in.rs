//! The rate of sign-ins in relation to the machine's Argon2id rate.
//!
//! ```sh
//! cargo build --release -p baton && BATON_BIN=target/release/baton cargo bench -p baton-tests --bench sign_in
//! ```
//!
//! Bare hashes (with the parameters of auth, a thread per core) and sign-ins over gRPC alternate, so that noise of the
//! machine affects both. Then follow the latencies of the task API before and during a thousand concurrent sign-ins,
//! until the last of them has a response. `BATON_BENCH_SECONDS` (10) is the time per turn.
//!
//! The sign-in clients run at the lowest priority (nice 19), because in production they would have their own cores. The
//! platform still has to process all their requests.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for the terminal")]

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use argon2::{Argon2, PasswordHasher, password_hash::SaltString};
use baton_proto::baton::{
    auth::v1::{LoginRequest, auth_service_client::AuthServiceClient},
    task::v1::{GetTaskRequest, task_service_client::TaskServiceClient},
};
use baton_tests::{PASSWORD, Person, Platform};
use serde_json::json;

const TURNS: usize = 3;

fn turn() -> Duration {
    Duration::from_secs(std::env::var("BATON_BENCH_SECONDS").ok().and_then(|value| value.parse().ok()).unwrap_or(10))
}

/// Bare hashes per second on all cores.
fn bare(cores: usize) -> f64 {
    let started = Instant::now();
    let threads: Vec<_> = (0..cores)
        .map(|_| {
            thread::spawn(move || {
                let salt = SaltString::encode_b64(&[7; 16]).unwrap();
                let mut hashes = 0_u32;
                while started.elapsed() < turn() {
                    Argon2::default().hash_password(PASSWORD.as_bytes(), &salt).unwrap();
                    hashes += 1;
                }
                hashes
            })
        })
        .collect();
    let hashes: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    f64::from(hashes) / started.elapsed().as_secs_f64()
}

/// Sign-ins per second, with one client per e-mail address.
async fn sign_ins(auth: &AuthServiceClient<tonic::transport::Channel>, emails: &[String]) -> f64 {
    let started = Instant::now();
    let callers: Vec<_> = emails
        .iter()
        .map(|email| {
            let (mut auth, email) = (auth.clone(), email.clone());
            tokio::spawn(async move {
                let mut calls = 0_u32;
                while started.elapsed() < turn() {
                    let request = LoginRequest { email: email.clone(), password: PASSWORD.to_owned() };
                    auth.login(request).await.expect("signed in");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    f64::from(calls) / started.elapsed().as_secs_f64()
}

/// Sorted latencies of one user who reads a task repeatedly, one call at a time, until `over`.
async fn reading(
    person: &Person,
    account: uuid::Uuid,
    task: uuid::Uuid,
    channel: tonic::transport::Channel,
    over: impl Fn() -> bool,
) -> Vec<Duration> {
    let mut tasks = TaskServiceClient::new(channel);
    let mut took = Vec::new();
    while !over() {
        let request = person.grpc(Some(account), GetTaskRequest { id: task.to_string(), as_of: None });
        let at = Instant::now();
        tasks.get_task(request).await.expect("got");
        took.push(at.elapsed());
    }
    took.sort_unstable();
    took
}

fn line(name: &str, took: &[Duration]) {
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!("| {name:<30} | {:>8.2} | {:>8.2} | {:>8.2} |", at(0.5), at(0.95), at(0.99));
}

/// Measures the effect of a flood of sign-ins on other users.
async fn flood(platform: &Platform) {
    let team = platform.team().await;
    let task = team.owner.create_task("Read all the time").await;
    println!("\n| get task over gRPC, ms         |  p50     |  p95     |  p99     |");
    println!("|--------------------------------|---------:|---------:|---------:|");
    let started = Instant::now();
    let calm = reading(&team.owner, team.account_id, task, platform.grpc(), || started.elapsed() >= turn()).await;
    line("before", &calm);
    let strangers = strangers(platform.rest());
    let flooded = reading(&team.owner, team.account_id, task, platform.grpc(), || strangers.is_finished()).await;
    line("while a thousand sign in", &flooded);
    let (statuses, took) = strangers.join().unwrap();
    println!("\nThe thousand had their answers after {:.1} s: {statuses:?}", took.as_secs_f64());
}

/// Starts a thousand concurrent sign-ins, each tenth with a password of a megabyte. Returns the number of responses by
/// status, and the duration.
fn strangers(rest: baton_tests::Rest) -> thread::JoinHandle<(BTreeMap<u16, u32>, Duration)> {
    thread::spawn(move || {
        // On Linux each thread has its own priority.
        #[cfg(target_os = "linux")]
        rustix::process::nice(19).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let started = Instant::now();
            let calls: Vec<_> = (0..1000)
                .map(|n| {
                    let password = if n % 10 == 0 { "a".repeat(1_000_000) } else { format!("wrong password {n}") };
                    let body = json!({"email": format!("stranger{n}@example.org"), "password": password});
                    let call = rest.post("/v1/auth/login", &body);
                    tokio::spawn(async move { call.send().await.status })
                })
                .collect();
            let mut statuses = BTreeMap::new();
            for call in calls {
                *statuses.entry(call.await.unwrap()).or_default() += 1;
            }
            (statuses, started.elapsed())
        })
    })
}

#[tokio::main]
async fn main() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.to_string();
    let platform = Platform::start_with(&[
        ("BATON_AUTH_HASH_THREADS", &threads),
        ("BATON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", "4000"),
    ])
    .await;
    let mut emails = Vec::new();
    for n in 0..2 * cores {
        emails.push(platform.person(&format!("person{n}")).await.email);
    }
    let auth = AuthServiceClient::new(platform.grpc());
    println!("{cores} cores, {} clients", emails.len());
    println!("| turn | bare hashes/s | sign-ins/s | share |");
    println!("|-----:|--------------:|-----------:|------:|");
    for turn in 1..=TURNS {
        let bare = tokio::task::spawn_blocking(move || bare(cores)).await.unwrap();
        let sign_ins = sign_ins(&auth, &emails).await;
        println!("| {turn:>4} | {bare:>13.1} | {sign_ins:>10.1} | {:>4.0}% |", 100.0 * sign_ins / bare);
    }
    flood(&platform).await;
}
