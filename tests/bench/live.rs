//! Live updates to many sockets, beside other servers of WebSockets.
//!
//! ```sh
//! cargo build --release -p baton && BATON_BIN=target/release/baton cargo bench -p baton-tests --bench live
//! ```
//!
//! Lines, chosen by a part of their name in `BATON_BENCH_ONLY`:
//!
//! - `idle`: sockets with one subscription to a board each, connected as fast as possible; their memory in the gateway.
//! - `gateways`: the same over five gateways, from five loopback addresses; they are connected by processes of their own,
//!   because a process may not have that many files open.
//! - `one task`: 1,000 subscribers of one task, 20 changes a second, then as many changes as possible.
//! - `boards`: 10,000 subscribers of boards, 100 changes a second, each delivered to 1 % of them.
//! - `hostile`: an account's updates and reads, alone and beside an account that holds 10,000 subscriptions, reads
//!   nothing of what it is sent, opens streams that it cancels at once, and subscribes and unsubscribes in a loop.
//! - `herd`: reads at a gateway, alone and while the sockets of a killed gateway reconnect to it as Action Cable's clients do.
//!
//! Peers are servers that send a message of the same size to the same number of sockets; their changes
//! are requests that only send. Driver, servers, Postgres and Redis share the machine. Latencies begin when the request is
//! sent, and `commit` when its response has arrived. `BATON_BENCH_SECONDS` (10) is the time of a line, and
//! `BATON_BENCH_SOCKETS` (10,000) the number of idle sockets.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for the terminal")]

#[expect(dead_code, reason = "the other benchmarks use it")]
mod driver;
mod peers;
mod sockets;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use baton_tests::{Person, Platform, Services};
use driver::{measure_every, setting, settle, wanted};
use futures_util::{StreamExt, stream};
use peers::{PEERS, Peer};
use rand::Rng as _;
use serde_json::json;
use sockets::{Fleet, Received, SOURCE, Socket, tagged};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Handshakes at a time.
const CONNECTING: usize = 64;
const SUBSCRIBERS: usize = 1_000;
const BOARD_OWNERS: usize = 100;
const GATEWAYS: usize = 5;
/// Makes the process hold sockets: the JSON of what to connect to.
const HOLD: &str = "BATON_BENCH_HOLD";
const LIMITS: [(&str, &str); 5] = [
    ("BATON_GATEWAY_MAX_STREAMS_PER_PERSON", "100000"),
    ("BATON_GATEWAY_MAX_STREAMS_PER_ACCOUNT", "100000"),
    ("BATON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", "100000"),
    ("BATON_GATEWAY_MAX_CONNECTIONS", "100000"),
    (
        "BATON_TENANCY_TIER_LIMITS",
        "free.users=1000,free.open_tasks_per_user=unlimited,free.api_requests_per_hour=unlimited",
    ),
];

/// A change: when it was requested, and when the response arrived.
type Changes = HashMap<u64, (Instant, Instant)>;

/// Prints the latencies of the messages since their changes.
fn report(name: &str, changes: &Changes, expected: usize, received: &[Received]) {
    let latencies = |since: fn(&(Instant, Instant)) -> Instant| {
        let mut all: Vec<f64> = received
            .iter()
            .filter_map(|(version, at)| Some(at.saturating_duration_since(since(changes.get(version)?)).as_secs_f64()))
            .collect();
        all.sort_by(f64::total_cmp);
        [0.5, 0.99]
            .map(|share| all.get((all.len().saturating_sub(1) as f64 * share) as usize).map_or(0.0, |it| it * 1e3))
    };
    let ([p50, p99], [commit50, commit99]) = (latencies(|it| it.0), latencies(|it| it.1));
    let lost = expected.saturating_sub(received.iter().filter(|(version, _)| changes.contains_key(version)).count());
    println!("| {name:<34} | {p50:>8.1} | {p99:>8.1} | {commit50:>8.1} | {commit99:>8.1} | {lost:>6} |");
}

/// Makes changes at this rate; `change` returns the number of the change.
async fn at_rate<F: Future<Output = u64> + Send + 'static>(per_second: u32, change: impl Fn(usize) -> F) -> Changes {
    let seconds = setting("BATON_BENCH_SECONDS", 10) as u32;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    let mut running = Vec::new();
    for n in 0..per_second * seconds {
        ticks.tick().await;
        let (sent, change) = (Instant::now(), change(n as usize));
        running.push(tokio::spawn(async move { (change.await, (sent, Instant::now())) }));
    }
    let mut changes = Changes::new();
    for change in running {
        let (version, times) = change.await.unwrap();
        changes.insert(version, times);
    }
    changes
}

/// Proportional set size of a process, in KiB.
fn pss_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// A running platform with an account, whose services are processes of their own.
struct Baton {
    address: SocketAddr,
    owner: Person,
    /// Members of the account, the owner first.
    people: Vec<Person>,
    account_id: Uuid,
    /// A person and their account, who have nothing to do with the others.
    victim: Option<(Person, Uuid)>,
    services: Services,
    _platform: Platform,
}

impl Baton {
    async fn start() -> Self {
        let mut platform = Platform::start_with(&LIMITS).await;
        let owner = platform.person("owner").await;
        let account_id = owner.create_account("Many sockets").await;
        let mut people = vec![owner.at(account_id)];
        while wanted("boards") && people.len() < BOARD_OWNERS {
            let person = platform.person("member").await;
            platform.join(account_id, &people[0], &person, "user", None).await;
            people.push(person.at(account_id));
        }
        let mut victim = None;
        if wanted("hostile") {
            let person = platform.person("victim").await;
            let account_id = person.create_account("Few sockets").await;
            victim = Some((person.at(account_id), account_id));
        }
        platform.sigterm();
        platform.wait_for_exit().await;
        let services = Services::start(&platform, &LIMITS).await;
        let address = platform.address();
        Self { address, owner: owner.at(account_id), people, account_id, victim, services, _platform: platform }
    }

    /// Sockets of these people in turn; the tag of each is the person's index.
    async fn fleet(&self, people: &[Person], count: usize, identifier: &str) -> (Fleet, Duration) {
        let started = Instant::now();
        let connect = async |n: usize| {
            (n % people.len(), connect(self.address, &people[n % people.len()], self.account_id, identifier).await)
        };
        let sockets: Vec<_> = stream::iter(0..count).map(connect).buffer_unordered(CONNECTING).collect().await;
        let taken = started.elapsed();
        let mut fleet = Fleet::new();
        sockets.into_iter().for_each(|(person, socket)| fleet.add(socket, person as u64, false));
        (fleet, taken)
    }

    /// Changes a task and returns its version.
    fn rename(&self, task: Uuid, n: usize) -> impl Future<Output = u64> + Send + 'static {
        let call = self.owner.patch(&format!("/v1/tasks/{task}"), &json!({"title": format!("Name {n}")}));
        async move { call.ok().await["version"].as_u64().unwrap() }
    }
}

async fn idle(baton: &Baton) {
    let count = setting("BATON_BENCH_SOCKETS", 10_000) as usize;
    println!("\n| idle sockets: {count:<17} | connects/s | KiB per socket |");
    println!("|---|---|---|");
    let gateway = baton.services.pid("gateway");
    let before = pss_kib(gateway);
    let board = json!({"channel": "BoardChannel", "board_id": "my"}).to_string();
    let (fleet, taken) = baton.fleet(std::slice::from_ref(&baton.owner), count, &board).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let per_socket = (pss_kib(gateway).saturating_sub(before)) as f64 / count as f64;
    let open = fleet.sockets.iter().filter(|socket| !socket.is_finished()).count();
    assert_eq!(open, count, "sockets were refused or closed");
    println!("| baton{:<27} | {:>10.0} | {per_socket:>14.1} |", "", count as f64 / taken.as_secs_f64());
    drop(fleet);
    settle().await;
    for name in PEERS {
        let Some(peer) = Peer::start(name) else { continue };
        let before = peer.memory_kib();
        let (_fleet, taken) = peer.fleet(count).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let per_socket = (peer.memory_kib().saturating_sub(before)) as f64 / count as f64;
        println!("| {name:<32} | {:>10.0} | {per_socket:>14.1} |", count as f64 / taken.as_secs_f64());
    }
}

/// Connects sockets of one gateway, prints how many, and holds them until standard input ends.
async fn hold(what: &str) {
    let what: serde_json::Value = serde_json::from_str(what).unwrap();
    let text = |name: &str| what[name].as_str().unwrap();
    let (address, path, subscribe) = (text("address").parse().unwrap(), text("path"), text("subscribe"));
    let connect = async |_| {
        let mut socket = Socket::open(address, path, Some("actioncable-v1-json")).await.unwrap();
        socket.send(subscribe).await.unwrap();
        socket.wait_for("confirm_subscription").await.unwrap();
        socket
    };
    let count = what["count"].as_u64().unwrap() as usize;
    let sockets: Vec<_> = stream::iter(0..count).map(connect).buffer_unordered(CONNECTING).collect().await;
    let mut fleet = Fleet::new();
    sockets.into_iter().for_each(|socket| fleet.add(socket, 0, false));
    println!("{count}");
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
    println!("{}", fleet.sockets.iter().filter(|socket| !socket.is_finished()).count());
}

async fn gateways(baton: &mut Baton) {
    let count = setting("BATON_BENCH_SOCKETS", 10_000);
    let board = json!({"channel": "BoardChannel", "board_id": "my"}).to_string();
    let path = format!("/cable?token={}&account_id={}", baton.owner.token, baton.account_id);
    let subscribe = json!({"command": "subscribe", "identifier": board}).to_string();
    let mut names = vec!["gateway"];
    let mut addresses = vec![baton.address];
    for name in ["gateway-2", "gateway-3", "gateway-4", "gateway-5"] {
        addresses.push(baton.services.start_gateway(name).await);
        names.push(name);
    }
    let mut children = Vec::new();
    for (n, address) in addresses.iter().enumerate().take(GATEWAYS) {
        let what = json!({"address": address, "path": path, "subscribe": subscribe, "count": count});
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(HOLD, what.to_string()).env(SOURCE, format!("127.0.0.{}", n + 2));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        children.push((child, output));
    }
    let read = |output: &mut BufReader<std::process::ChildStdout>| {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line.trim().parse::<u64>().unwrap_or_default()
    };
    let opened: u64 = children.iter_mut().map(|(_, output)| read(output)).sum();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let memory: u64 = names.iter().map(|name| pss_kib(baton.services.pid(name))).sum();
    let mut held = 0;
    for (mut child, mut output) in children {
        drop(child.stdin.take());
        held += read(&mut output);
        let _ = child.wait();
    }
    println!("\n| sockets over {GATEWAYS} gateways | held for 10 s | MiB of all gateways |\n|---|---|---|");
    println!("| {opened} | {held} | {} |", memory / 1024);
}

async fn one_task(baton: &Baton) {
    println!("\n| 1,000 subscribers, 20 changes/s    | p50 ms   | p99 ms   | commit50 | commit99 | lost   |");
    println!("|---|---|---|---|---|---|");
    let task = baton.owner.create_task("Followed by many").await;
    let identifier = json!({"channel": "TaskChannel", "task_id": task}).to_string();
    let mut rates = Vec::new();
    {
        let (fleet, _) = baton.fleet(std::slice::from_ref(&baton.owner), SUBSCRIBERS, &identifier).await;
        let changes = at_rate(20, |n| baton.rename(task, n)).await;
        let expected = changes.len() * SUBSCRIBERS;
        fleet.wait_for(expected).await;
        let before = fleet.received.load(Ordering::Relaxed);
        let started = Instant::now();
        let count = setting("BATON_BENCH_BURST", 400) as usize;
        let renames = (0..count).map(|n| baton.rename(task, n + 1_000_000));
        stream::iter(renames).buffer_unordered(8).for_each(|_| std::future::ready(())).await;
        fleet.wait_for(before + count * SUBSCRIBERS).await;
        rates.push((
            "baton",
            (fleet.received.load(Ordering::Relaxed) - before) as f64 / started.elapsed().as_secs_f64(),
        ));
        report("baton", &changes, expected, &fleet.finish().await);
    }
    for name in PEERS {
        settle().await;
        let Some(peer) = Peer::start(name) else { continue };
        let (fleet, _) = peer.fleet(SUBSCRIBERS).await;
        let client = reqwest::Client::new();
        let url = format!("http://{}/publish", peer.address);
        let publish = |version: usize| {
            // As long as Baton's message.
            let message = json!({
                "identifier": identifier,
                "message": {
                    "event": "task_updated", "task_id": task, "status": "pending", "version": version,
                    "actor_id": task, "occurred_at": "2026-01-01T00:00:00.123456Z",
                },
            });
            let request = client.post(&url).body(message.to_string());
            async move {
                request.send().await.unwrap().error_for_status().unwrap();
                version as u64
            }
        };
        let changes = at_rate(20, publish).await;
        let expected = changes.len() * SUBSCRIBERS;
        fleet.wait_for(expected).await;
        let before = fleet.received.load(Ordering::Relaxed);
        let started = Instant::now();
        let count = setting("BATON_BENCH_BURST", 400) as usize;
        let burst = (0..count).map(|n| publish(n + 1_000_000));
        stream::iter(burst).buffer_unordered(8).for_each(|_| std::future::ready(())).await;
        fleet.wait_for(before + count * SUBSCRIBERS).await;
        rates.push((name, (fleet.received.load(Ordering::Relaxed) - before) as f64 / started.elapsed().as_secs_f64()));
        report(name, &changes, expected, &fleet.finish().await);
    }
    println!("\n| 1,000 subscribers, at most | deliveries/s |\n|---|---|");
    for (name, rate) in rates {
        println!("| {name:<26} | {rate:>12.0} |");
    }
}

async fn boards(baton: &Baton) {
    let count = setting("BATON_BENCH_SOCKETS", 10_000) as usize;
    println!("\n| {count} subscribers, 100 changes/s    | p50 ms   | p99 ms   | commit50 | commit99 | lost   |");
    println!("|---|---|---|---|---|---|");
    // Each member has a task, and a hundredth of the sockets follow their board.
    let people = &baton.people;
    let mut tasks = Vec::new();
    for person in people {
        tasks.push(person.create_task("On a board").await);
    }
    let board = json!({"channel": "BoardChannel", "board_id": "my"}).to_string();
    let (fleet, _) = baton.fleet(people, count, &board).await;
    let changes = at_rate(100, |n| {
        let index = n % people.len();
        let path = format!("/v1/tasks/{}", tasks[index]);
        let call = people[index].patch(&path, &json!({"title": format!("Name {n}")}));
        async move { tagged(index as u64, call.ok().await["version"].as_u64().unwrap()) }
    });
    let changes = changes.await;
    let expected = changes.len() * count / people.len();
    fleet.wait_for(expected).await;
    report("baton", &changes, expected, &fleet.finish().await);
}

/// The latencies of updates and of reads of an account.
async fn bystander(name: &str, person: &Person, account_id: Uuid, baton: &Baton) -> [f64; 2] {
    let task = person.create_task("Followed by a few").await;
    let identifier = json!({"channel": "TaskChannel", "task_id": task}).to_string();
    let mut fleet = Fleet::new();
    for _ in 0..50 {
        fleet.add(connect(baton.address, person, account_id, &identifier).await, 0, false);
    }
    let path = format!("/v1/tasks/{task}");
    let (reader, read) = (person.clone(), path.clone());
    let seconds = setting("BATON_BENCH_SECONDS", 10);
    let reads = tokio::spawn(measure_every(Duration::from_millis(200), 10, seconds, move |_| {
        let call = reader.get(&read);
        async move { drop(call.ok().await) }
    }));
    let changes = at_rate(20, |n| {
        let call = person.patch(&path, &json!({"title": format!("Name {n}")}));
        async move { call.ok().await["version"].as_u64().unwrap() }
    });
    let changes = changes.await;
    let expected = changes.len() * 50;
    fleet.wait_for(expected).await;
    let received = fleet.finish().await;
    let mut took: Vec<f64> = received
        .iter()
        .filter_map(|(version, at)| Some(at.duration_since(changes.get(version)?.0).as_secs_f64() * 1e3))
        .collect();
    took.sort_by(f64::total_cmp);
    let updates = took[(took.len() - 1) * 99 / 100];
    let reads = reads.await.unwrap().quantile(0.99);
    println!("| {name:<22} | {updates:>14.1} | {reads:>12.1} | {:>6} |", expected - received.len().min(expected));
    [updates, reads]
}

/// Connects a person's socket and subscribes.
async fn connect(address: SocketAddr, person: &Person, account_id: Uuid, identifier: &str) -> Socket {
    let path = format!("/cable?token={}&account_id={account_id}", person.token);
    let mut socket = Socket::open(address, &path, Some("actioncable-v1-json")).await.unwrap();
    socket.send(&subscribe(identifier)).await.unwrap();
    socket.wait_for("confirm_subscription").await.unwrap();
    socket
}

fn subscribe(identifier: &str) -> String {
    json!({"command": "subscribe", "identifier": identifier}).to_string()
}

/// What an account may do to the others. The tasks run until they are aborted.
async fn attack(baton: &Baton) -> Vec<JoinHandle<()>> {
    let (owner, account_id, address) = (baton.owner.clone(), baton.account_id, baton.address);
    let follow = |task: &Uuid| json!({"channel": "TaskChannel", "task_id": task}).to_string();
    let creates = (0..1_000).map(|n| {
        let owner = owner.clone();
        async move { owner.create_task(&format!("Task {n}")).await }
    });
    let tasks: Vec<Uuid> = stream::iter(creates).buffer_unordered(8).collect().await;
    let mut running = Vec::new();
    // Ten sockets with a thousand subscriptions each.
    for _ in 0..10 {
        let mut socket = connect(address, &owner, account_id, &follow(&tasks[0])).await;
        let commands: Vec<String> = tasks[1..].iter().map(|task| subscribe(&follow(task))).collect();
        running.push(tokio::spawn(async move {
            for command in commands {
                if socket.send(&command).await.is_err() {
                    return;
                }
            }
            while socket.receive(|_| {}).await.is_ok() {}
        }));
    }
    // A hundred sockets that read nothing, of a task that changes fifty times a second.
    let noisy = owner.create_task("Noisy").await;
    for _ in 0..100 {
        let socket = connect(address, &owner, account_id, &follow(&noisy)).await;
        running.push(tokio::spawn(async move {
            let _held = socket;
            std::future::pending::<()>().await;
        }));
    }
    let changing = owner.clone();
    running.push(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for n in 0.. {
            ticks.tick().await;
            let change = json!({"title": format!("{n} {}", "x".repeat(200))});
            let _ = changing.patch(&format!("/v1/tasks/{noisy}"), &change).send().await;
        }
    }));
    for client in 0..8 {
        // Streams that are cancelled as soon as they are open.
        let url = format!("http://{address}/v1/live/stream?channel=TaskChannel&task_id={}", tasks[client]);
        let http = reqwest::Client::new();
        let request = http.get(url).bearer_auth(&owner.token).header("x-account-id", account_id.to_string());
        running.push(tokio::spawn(async move {
            while let Some(request) = request.try_clone() {
                drop(request.send().await);
            }
        }));
        // Subscriptions that come and go.
        let mut socket = connect(address, &owner, account_id, &follow(&tasks[client])).await;
        let identifier = follow(&tasks[100 + client]);
        running.push(tokio::spawn(async move {
            let unsubscribe = json!({"command": "unsubscribe", "identifier": identifier}).to_string();
            loop {
                for command in [subscribe(&identifier), unsubscribe.clone()] {
                    if socket.send(&command).await.is_err() {
                        return;
                    }
                }
                if socket.wait_for("confirm_subscription").await.is_err() {
                    return;
                }
            }
        }));
    }
    running
}

async fn hostile(baton: &Baton) {
    let victim = baton.victim.as_ref().unwrap();
    println!("\n| another account's      | updates p99 ms | reads p99 ms | lost   |\n|---|---|---|---|");
    let alone = bystander("alone", &victim.0, victim.1, baton).await;
    let attack = attack(baton).await;
    let beside = bystander("beside a hostile one", &victim.0, victim.1, baton).await;
    attack.iter().for_each(JoinHandle::abort);
    println!("| ratio                  | {:>14.2} | {:>12.2} | |", beside[0] / alone[0], beside[1] / alone[1]);
}

async fn herd(baton: &mut Baton) {
    let count = setting("BATON_BENCH_HERD", 3_000) as usize;
    let second = baton.services.start_gateway("gateway-herd").await;
    let board = json!({"channel": "BoardChannel", "board_id": "my"}).to_string();
    let (owner, account_id, address) = (baton.owner.clone(), baton.account_id, baton.address);
    let task = owner.create_task("Read by others").await;
    let reads = |seconds| {
        let owner = owner.clone();
        measure_every(Duration::from_millis(100), 10, seconds, move |_| {
            let call = owner.get(&format!("/v1/tasks/{task}"));
            async move { drop(call.ok().await) }
        })
    };
    println!("\n| reads at a gateway      | p50 ms   | p99 ms   |\n|---|---|---|");
    let seconds = setting("BATON_BENCH_SECONDS", 10);
    let row = |name: &str, times: &driver::Times| {
        println!("| {name:<23} | {:>8.1} | {:>8.1} |", times.quantile(0.5), times.quantile(0.99));
    };
    let connects = (0..count).map(|_| connect(second, &owner, account_id, &board));
    let sockets: Vec<Socket> = stream::iter(connects).buffer_unordered(CONNECTING).collect().await;
    let alone = reads(seconds).await;
    row("before", &alone);
    let reading = tokio::spawn(reads(seconds));
    // The measurement begins when the machine is idle, and warms up.
    tokio::time::sleep(Duration::from_secs(3)).await;
    baton.services.kill_9("gateway-herd");
    drop(sockets);
    let reconnects = (0..count).map(|_| {
        let (owner, board) = (owner.clone(), board.clone());
        // Action Cable's clients wait 6 to 12 seconds before the first attempt. These wait up to 6.
        let wait = Duration::from_secs(6).mul_f64(rand::rng().random());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let due = Instant::now();
            let socket = connect(address, &owner, account_id, &board).await;
            (due.elapsed(), socket)
        })
    });
    let mut slowest = Duration::ZERO;
    let mut held = Vec::new();
    for reconnect in reconnects.collect::<Vec<_>>() {
        let (took, socket) = reconnect.await.unwrap();
        slowest = slowest.max(took);
        held.push(socket);
    }
    let during = reading.await.unwrap();
    row(&format!("{count} sockets come back"), &during);
    println!(
        "\nslowest reconnect: {:.0} ms; p99 ratio: {:.2}",
        slowest.as_secs_f64() * 1e3,
        during.quantile(0.99) / alone.quantile(0.99)
    );
}

#[tokio::main]
async fn main() {
    if let Ok(what) = std::env::var(HOLD) {
        return hold(&what).await;
    }
    let mut baton = Baton::start().await;
    if wanted("idle") {
        idle(&baton).await;
        settle().await;
    }
    if wanted("gateways") {
        gateways(&mut baton).await;
        settle().await;
    }
    if wanted("one task") {
        one_task(&baton).await;
        settle().await;
    }
    if wanted("boards") {
        boards(&baton).await;
        settle().await;
    }
    if wanted("hostile") {
        hostile(&baton).await;
        settle().await;
    }
    if wanted("herd") {
        herd(&mut baton).await;
    }
}
