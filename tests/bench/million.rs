//! Performance of an account with a million tasks and 200 members: lists and boards with each filter, the first and the
//! 1,000th page, search, and changes. It also compares the service's rate with the rate of Postgres alone for the same
//! statements.
//!
//! ```sh
//! cargo build --release -p baton && BATON_BIN=target/release/baton cargo bench -p baton-tests --bench million
//! ```
//!
//! Platform, Postgres (`fsync` on), Redis, `pgbench` and this driver share the machine. `BATON_BENCH_SECONDS` (5) is
//! the time per line, `BATON_BENCH_READS` (1,000,000) the number of reads of the memory measurement, `BATON_BENCH_ONLY`
//! a substring of the lines to run, or `share`, `writing`, `memory` or `person`, and `BATON_BENCH_TASKS` another number of tasks.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for the terminal")]

mod driver;
mod person;

use std::{
    io::Write as _,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use baton_embedded::{Options, Postgres, PostgresBinaries};
use baton_proto::baton::{
    api::v1::Page,
    task::v1::{GetTaskRequest, ListTasksRequest, task_service_client::TaskServiceClient},
};
use baton_tests::{Person, Platform, Team, free_address};
use driver::{Times, measure, measure_every, setting, wanted};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

/// The number of tasks.
fn tasks() -> u64 {
    setting("BATON_BENCH_TASKS", 1_000_000)
}

/// Concurrent callers of the latency lines.
const READERS: u64 = 2;
/// Concurrent callers of the share lines: enough to keep two cores busy.
const BUSY: u64 = 4;
/// Concurrent callers of the write lines.
const WRITERS: u64 = 32;

/// The id of a task by its number, as in `million.sql`.
fn id(number: u64) -> Uuid {
    format!("019{:09x}70008000000000000000", (1 + number % tasks()) * 65_536).parse().unwrap()
}

/// A pseudo-random task number.
fn jump(n: usize) -> u64 {
    (n as u64).wrapping_mul(2_654_435_761) % tasks()
}

fn seconds() -> u64 {
    setting("BATON_BENCH_SECONDS", 5)
}

fn line(name: &str, times: &Times) {
    println!("| {name:<52} | {} |", times.columns());
}

fn heading(first: &str) {
    println!("\n| {first:<52} | per second |  p50     |  p95     |  p99     |");
    println!("|{}|-----------:|---------:|---------:|---------:|", "-".repeat(54));
}

async fn get(name: &str, person: &Person, path: &str) {
    if !wanted(name) {
        return;
    }
    let (person, path) = (person.clone(), path.to_owned());
    let times = measure(READERS, seconds(), move |_| {
        let call = person.get(&path);
        async move { assert_eq!(call.send().await.status, 200) }
    });
    line(name, &times.await);
}

async fn reading(team: &Team) {
    heading(&format!("REST GET, {READERS} callers, ms"));
    let filters = [
        ("no filter", ""),
        ("status=pending", "&status=pending"),
        ("status=pending&status=paused", "&status=pending&status=paused"),
        ("priority=urgent", "&priority=urgent"),
        ("due_from, due_to (a month)", "&due_from=2025-03-01T00:00:00Z&due_to=2025-04-01T00:00:00Z"),
        ("tags=group3 (143,000 tasks)", "&tags=group3"),
        ("sort=updated_at", "&sort=updated_at"),
        ("sort=due_at&order=asc", "&sort=due_at&order=asc"),
        ("sort=priority", "&sort=priority"),
        ("sort=rank&order=asc", "&sort=rank&order=asc"),
    ];
    for (name, filter) in filters {
        for page in [1, 1000] {
            get(&format!("owner: {name}, page {page}"), &team.owner, &format!("/v1/tasks?page={page}{filter}")).await;
        }
    }
    // There are only 5,000 of these, so the 1,000th page is beyond the end.
    for (name, filter) in [
        ("assigned_to", format!("&assigned_to={}", team.user.id)),
        ("created_by", format!("&created_by={}", team.user.id)),
        ("tags=batch42", "&tags=batch42".to_owned()),
        ("search=survey 123456", "&search=survey%20123456".to_owned()),
    ] {
        for page in [1, 200] {
            get(&format!("owner: {name}, page {page}"), &team.owner, &format!("/v1/tasks?page={page}{filter}")).await;
        }
    }
    for (name, person, path) in [
        ("owner: account board", &team.owner, "/v1/boards/account?page=1"),
        ("owner: account board, page 1000", &team.owner, "/v1/boards/account?page=1000"),
        ("manager: team board (of 21)", &team.manager, "/v1/boards/team?page=1"),
        ("manager: no filter, page 1", &team.manager, "/v1/tasks?page=1"),
        ("manager: no filter, page 1000", &team.manager, "/v1/tasks?page=1000"),
        ("user: no filter, page 1", &team.user, "/v1/tasks?page=1"),
        ("user: no filter, page 1000", &team.user, "/v1/tasks?page=1000"),
        ("user: my board", &team.user, "/v1/boards/my-board?page=1"),
        ("owner: search, a rare word", &team.owner, "/v1/tasks/search?q=123456"),
        ("owner: search, a word of 50,000 tasks", &team.owner, "/v1/tasks/search?q=invoice"),
        ("owner: search, two words", &team.owner, "/v1/tasks/search?q=repair%20printer"),
        ("owner: search, a typo", &team.owner, "/v1/tasks/search?q=prinetr"),
        ("user: search, a word of 50,000 tasks", &team.user, "/v1/tasks/search?q=invoice"),
    ] {
        get(name, person, path).await;
    }
}

/// Each line twice: at the maximum rate, and at the rate of 32 users who do nothing else.
async fn writing(team: &Team) {
    for every in [Duration::ZERO, Duration::from_millis(200)] {
        let often = if every.is_zero() { "each as fast as it can" } else { "each 5 times a second" };
        heading(&format!("REST, {WRITERS} callers, {often}, ms"));
        let people = people(team);
        let times = measure_every(every, WRITERS, seconds(), move |n| {
            let title = format!("Made {n}");
            let call = people[n % people.len()].post("/v1/tasks", &json!({"title": title, "tags": ["made"]}));
            async move { assert_eq!(call.send().await.status, 200) }
        });
        line("create", &times.await);
        let owner = team.owner.clone();
        let times = measure_every(every, WRITERS, seconds(), move |n| {
            let call = owner.patch(&format!("/v1/tasks/{}", id(jump(n))), &json!({"title": format!("Changed {n}")}));
            async move { assert_eq!(call.send().await.status, 200) }
        });
        line("update", &times.await);
        let most = if every.is_zero() { 1_000 } else { 5 * WRITERS };
        let started_tasks = started_tasks(team, most * (seconds() + 1) + WRITERS).await;
        let times = measure_every(every, WRITERS, seconds(), move |n| {
            let (person, task) = started_tasks.get(n).expect("there are more tasks than this machine can complete");
            let call = person.post(&format!("/v1/tasks/{task}/complete"), &json!({}));
            async move { assert_eq!(call.send().await.status, 200) }
        });
        line("complete", &times.await);
    }
}

/// The users who can sign in.
fn people(team: &Team) -> [Person; 4] {
    [&team.owner, &team.super_manager, &team.manager, &team.user].map(Person::clone)
}

/// Creates and starts tasks of these users in turn, and returns each with its user.
async fn started_tasks(team: &Team, count: u64) -> Vec<(Person, Uuid)> {
    let callers: Vec<_> = (0..WRITERS)
        .map(|caller| {
            let people = people(team);
            tokio::spawn(async move {
                let mut started_tasks = Vec::new();
                for nth in 0..count.div_ceil(WRITERS) {
                    let person = &people[(caller + nth) as usize % people.len()];
                    let task = person.create_task("To be completed").await;
                    person.post(&format!("/v1/tasks/{task}/start"), &json!({})).ok().await;
                    started_tasks.push((person.clone(), task));
                }
                started_tasks
            })
        })
        .collect();
    let mut started_tasks = Vec::new();
    for caller in callers {
        started_tasks.extend(caller.await.unwrap());
    }
    started_tasks
}

/// The settings of the services' connections, see `crates/store/src/db.rs`.
const PGOPTIONS: &str = "-c role=baton_task -c max_parallel_workers_per_gather=0 -c jit=off -c random_page_cost=1.1 \
                         -c plan_cache_mode=force_generic_plan";

/// The rate of `pgbench` with these statements, in transactions per second.
fn pgbench(postgres: &Postgres, statements: &str) -> f64 {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(statements.as_bytes()).unwrap();
    let program = pgbench_program();
    let output = Command::new(program)
        .env("PGOPTIONS", PGOPTIONS)
        .args(["-n", "-M", "prepared", "-c", &BUSY.to_string(), "-T", &seconds().to_string(), "-f"])
        .arg(file.path())
        .arg(postgres.url("postgres", Postgres::SUPERUSER))
        .output()
        .expect("pgbench, which comes with Postgres");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    tps.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// The `pgbench` of the running server's version.
fn pgbench_program() -> std::path::PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = debian.map(|version| version.path().join("bin/pgbench")).find(|path| path.exists());
    found.unwrap_or_else(|| "pgbench".into())
}

async fn shares(postgres: &Postgres, team: &Team, gateway: &Channel, service: &Channel) {
    println!("\n| gRPC, {BUSY} callers                  | Baton/s | pgbench/s | share |");
    println!("|-----------------------------------|--------:|----------:|------:|");
    let account = team.account_id;
    let begin = format!(
        "begin;\nselect set_config('baton.account_id', '{account}', true), set_config('baton.user_id', '{}', true);\n",
        team.owner.id
    );

    let id = "('019' || lpad(to_hex(:n::bigint * 65536), 9, '0') || '70008000000000000000')::uuid";
    let around = |root: &str| format!("task.task_around('{account}', {root}, now(), 10, 1000)");
    let get = pgbench(
        postgres,
        &format!(
            "\\set n random(1, {})\n{begin}select * from task.tasks cross join lateral {} \
             where account_id = '{account}' and id = {id} and deleted_at is null;\ncommit;\n",
            tasks(),
            around("id")
        ),
    );
    let ids = |limit: u32| {
        format!(
            "select id from task.tasks where deleted_at is null and account_id = '{account}' \
             and status <> 'archived' order by id desc limit {limit} offset 20 * :n::bigint"
        )
    };
    let list = pgbench(
        postgres,
        &format!(
            "\\set n random(0, 49)\n{begin}with page as materialized ({}) \
             select * from page join task.tasks using (id) where account_id = '{account}' order by id desc;\n\
             select * from unnest((select array({}))) as root (id) cross join lateral {};\ncommit;\n",
            ids(21),
            ids(20),
            around("root.id")
        ),
    );
    for (way, channel) in [("to the service", service), ("by the gateway", gateway)] {
        let (owner, tasks) = (team.owner.clone(), TaskServiceClient::new(channel.clone()));
        let times = measure(BUSY, seconds(), move |n| {
            let request =
                owner.grpc(Some(account), GetTaskRequest { id: self::id(jump(n)).to_string(), ..Default::default() });
            let mut tasks = tasks.clone();
            async move { drop(tasks.get_task(request).await.expect("got")) }
        });
        share(&format!("get, {way}"), &times.await, get);
        let (owner, tasks) = (team.owner.clone(), TaskServiceClient::new(channel.clone()));
        let times = measure(BUSY, seconds(), move |n| {
            let page = Page { page: 1 + (n % 50) as i32, per_page: 20, page_token: String::new() };
            let request = owner.grpc(Some(account), ListTasksRequest { filter: None, page: Some(page) });
            let mut tasks = tasks.clone();
            async move { drop(tasks.list_tasks(request).await.expect("listed")) }
        });
        share(&format!("list 20, {way}"), &times.await, list);
    }
}

fn share(name: &str, times: &Times, tps: f64) {
    println!("| {name:<33} | {:>7.0} | {tps:>9.0} | {:>4.0}% |", times.rate(), 100.0 * times.rate() / tps);
}

/// Measures the platform's memory during reads.
async fn memory(platform: &Platform, team: &Team, channel: &Channel) {
    let reads = setting("BATON_BENCH_READS", 1_000_000);
    let (account, done) = (team.account_id, Arc::new(AtomicU64::new(0)));
    println!("\n| reads over gRPC | memory of the platform, MiB |");
    println!("|----------------:|----------------------------:|");
    let mib = || platform.memory_kib().unwrap_or_default() / 1024;
    println!("| {:>15} | {:>27} |", 0, mib());
    for tenth in 1..=10 {
        // A token expires before a million reads are done.
        let owner = platform.sign_in(&team.owner.email).await;
        let until = reads * tenth / 10;
        let callers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (owner, done, mut tasks) =
                    (owner.clone(), Arc::clone(&done), TaskServiceClient::new(channel.clone()));
                tokio::spawn(async move {
                    loop {
                        let n = done.fetch_add(1, Ordering::Relaxed);
                        if n >= until {
                            break;
                        }
                        let message = GetTaskRequest { id: id(jump(n as usize)).to_string(), ..Default::default() };
                        tasks.get_task(owner.grpc(Some(account), message)).await.expect("got");
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        done.store(until, Ordering::Relaxed);
        println!("| {until:>15} | {:>27} |", mib());
    }
}

/// Inserts the million tasks.
async fn fill(postgres: &Postgres, team: &Team) {
    let mut script = include_str!("million.sql").to_owned();
    for (name, id) in [
        (":account", team.account_id),
        (":super_manager", team.super_manager.id),
        (":owner", team.owner.id),
        (":manager", team.manager.id),
        (":user", team.user.id),
    ] {
        script = script.replace(name, &format!("'{id}'::uuid"));
    }
    script = script.replace("1000000::bigint", &format!("{}::bigint", tasks()));
    let url = postgres.url("postgres", Postgres::SUPERUSER);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await.unwrap();
    sqlx::raw_sql("vacuum (analyze)").execute(&mut connection).await.unwrap();
}

/// Signs all users in again, because a token expires after 15 minutes and the benchmark takes longer.
async fn sign_in_again(platform: &Platform, team: &mut Team) {
    for person in [&mut team.owner, &mut team.super_manager, &mut team.manager, &mut team.user] {
        *person = platform.sign_in(&person.email).await.at(team.account_id);
    }
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = PostgresBinaries::find().unwrap();
    let postgres = Postgres::start(&binaries, &folder.path().join("postgres"), Options::kept()).await.unwrap();
    let url = postgres.url("postgres", Postgres::SUPERUSER);
    let limits = "free.users=1000,free.open_tasks_per_user=unlimited,free.api_requests_per_hour=100000000";
    let listen = free_address().to_string();
    let platform = Platform::start_with(&[
        ("BATON_DATABASE_URL", &url),
        ("BATON_TENANCY_TIER_LIMITS", limits),
        ("BATON_TASK_LISTEN", &listen),
    ])
    .await;
    let mut team = platform.team().await;
    let began = std::time::Instant::now();
    fill(&postgres, &team).await;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores, {} tasks of 200 members, made in {:.0} s", tasks(), began.elapsed().as_secs_f64());

    let channel = platform.grpc();
    sign_in_again(&platform, &mut team).await;
    reading(&team).await;
    sign_in_again(&platform, &mut team).await;
    if wanted("share") {
        let service = Endpoint::from_shared(format!("http://{listen}")).unwrap().connect_lazy();
        shares(&postgres, &team, &channel, &service).await;
    }
    if wanted("writing") {
        writing(&team).await;
    }
    if wanted("memory") {
        memory(&platform, &team, &channel).await;
    }
    // Last: it erases somebody.
    if wanted("person") {
        sign_in_again(&platform, &mut team).await;
        person::measure(&platform, &postgres, &team).await;
    }
    drop(platform);
    postgres.stop().await;
}
