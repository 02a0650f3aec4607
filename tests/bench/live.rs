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
//!
//! Peers are servers of `bench/peers.mjs` that send a message of the same size to the same number of sockets; their changes
//! are requests that only send. Driver, servers, Postgres and Redis share the machine. Latencies begin when the request is
//! sent, and `commit` when its response has arrived. `BATON_BENCH_SECONDS` (10) is the time of a line, and
//! `BATON_BENCH_SOCKETS` (10,000) the number of idle sockets.

#![allow(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a program for the terminal")]

#[expect(dead_code, reason = "the other benchmarks use it")]
mod driver;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use baton_tests::{Person, Platform, Services};
use driver::{setting, settle, wanted};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use uuid::Uuid;

/// Handshakes at a time.
const CONNECTING: usize = 64;
const SUBSCRIBERS: usize = 1_000;
const BOARD_OWNERS: usize = 100;
const GATEWAYS: usize = 5;
/// The loopback address from which a process connects.
const SOURCE: &str = "BATON_BENCH_SOURCE";
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

/// When a message arrived, by the number of the change in it.
type Received = (u64, Instant);

/// A WebSocket that counts messages, and keeps nothing of them but their arrival.
struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are not parsed.
    filled: usize,
}

impl Socket {
    async fn open(address: SocketAddr, path: &str, protocol: Option<&str>) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        if let Ok(source) = std::env::var(SOURCE) {
            socket.bind(SocketAddr::new(source.parse().expect("an address"), 0))?;
        }
        let mut stream = socket.connect(address).await?;
        let protocol = protocol.map(|it| format!("sec-websocket-protocol: {it}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut socket = Self { stream, buffer: vec![0; 4096], filled: 0 };
        loop {
            socket.fill().await?;
            let head = &socket.buffer[..socket.filled];
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(head));
                socket.buffer.copy_within(end + 4..socket.filled, 0);
                socket.filled -= end + 4;
                return Ok(socket);
            }
        }
    }

    async fn fill(&mut self) -> std::io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += read;
        Ok(())
    }

    /// Sends a text of less than 64 KiB, masked with zeros.
    async fn send(&mut self, text: &str) -> std::io::Result<()> {
        let mut frame = vec![0x81];
        match text.len() {
            length @ ..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).await
    }

    /// Passes the next texts to `take`, at least one.
    async fn receive(&mut self, mut take: impl FnMut(&[u8])) -> std::io::Result<()> {
        loop {
            let (mut parsed, mut texts) = (0, 0);
            while let Some((header, length)) = frame(&self.buffer[parsed..self.filled]) {
                let Some(payload) = self.buffer[..self.filled].get(parsed + header..parsed + header + length) else {
                    break;
                };
                if self.buffer[parsed] & 0x0f == 1 {
                    take(payload);
                    texts += 1;
                }
                parsed += header + length;
            }
            self.buffer.copy_within(parsed..self.filled, 0);
            self.filled -= parsed;
            if texts > 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Waits for a text that contains `part`.
    async fn wait_for(&mut self, part: &str) -> std::io::Result<()> {
        let mut found = false;
        while !found {
            self.receive(|text| found |= contains(text, part.as_bytes())).await?;
        }
        Ok(())
    }
}

/// Length of the header and of the payload of the frame that the bytes begin with.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        126 => Some((4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)))),
        127 => Some((10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?)),
        length => Some((2, usize::from(length))),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The number after `"version":`.
fn version(text: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"version\":";
    let start = text.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// The number of a change that has its version within a tag.
fn tagged(tag: u64, version: u64) -> u64 {
    tag << 32 | version
}

/// Sockets that note what they receive.
struct Fleet {
    sockets: Vec<JoinHandle<Vec<Received>>>,
    received: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
}

impl Fleet {
    fn new() -> Self {
        Self { sockets: Vec::new(), received: Arc::default(), stop: watch::channel(false).0 }
    }

    /// Adds a socket. `tag` distinguishes the changes that it is told from others with the same number.
    fn add(&mut self, mut socket: Socket, tag: u64, is_socket_io: bool) {
        let (received, mut stop) = (Arc::clone(&self.received), self.stop.subscribe());
        self.sockets.push(tokio::spawn(async move {
            let mut all = Vec::new();
            loop {
                let (mut now, mut pinged) = (Vec::new(), false);
                let result = tokio::select! {
                    _ = stop.changed() => return all,
                    result = socket.receive(|text| {
                        now.extend(version(text).map(|version| (tagged(tag, version), Instant::now())));
                        pinged |= is_socket_io && text == b"2";
                    }) => result,
                };
                received.fetch_add(now.len(), Ordering::Relaxed);
                all.append(&mut now);
                if result.is_err() || pinged && socket.send("3").await.is_err() {
                    return all;
                }
            }
        }));
    }

    /// Waits until this many messages have arrived, or none arrive any more.
    async fn wait_for(&self, count: usize) {
        let mut last = (0, Instant::now());
        loop {
            let received = self.received.load(Ordering::Relaxed);
            if received >= count || received == last.0 && last.1.elapsed() > Duration::from_secs(5) {
                return;
            }
            if received != last.0 {
                last = (received, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn finish(self) -> Vec<Received> {
        self.stop.send(true).unwrap();
        let mut all = Vec::new();
        for socket in self.sockets {
            all.extend(socket.await.unwrap());
        }
        all
    }
}

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

/// A server of `bench/peers.mjs`, which sends what is posted to it to all sockets.
struct Peer {
    process: Child,
    address: SocketAddr,
    name: &'static str,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    /// `None` if its package is not installed.
    fn start(name: &'static str) -> Option<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/peers.mjs");
        let mut process = Command::new("node").args([script, name]).stdout(Stdio::piped()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take()?).read_line(&mut line).ok()?;
        let address = line.trim().parse();
        if address.is_err() {
            println!("{name} is not installed: {}", line.trim());
        }
        Some(Self { address: address.ok()?, process, name })
    }

    async fn connect(&self) -> Socket {
        let is_socket_io = self.name == "socket.io";
        let path = if is_socket_io { "/socket.io/?EIO=4&transport=websocket" } else { "/" };
        let mut socket = Socket::open(self.address, path, None).await.unwrap();
        if is_socket_io {
            socket.send("40").await.unwrap();
            socket.wait_for("40{").await.unwrap();
        }
        socket
    }

    async fn fleet(&self, count: usize) -> (Fleet, Duration) {
        let started = Instant::now();
        let sockets = stream::iter(0..count).map(|_| self.connect()).buffer_unordered(CONNECTING);
        let sockets: Vec<_> = sockets.collect().await;
        let taken = started.elapsed();
        let mut fleet = Fleet::new();
        sockets.into_iter().for_each(|socket| fleet.add(socket, 0, self.name == "socket.io"));
        (fleet, taken)
    }

    fn memory_kib(&self) -> u64 {
        pss_kib(self.process.id())
    }
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
        platform.sigterm();
        platform.wait_for_exit().await;
        let services = Services::start(&platform, &LIMITS).await;
        let address = platform.address();
        Self { address, owner: owner.at(account_id), people, account_id, services, _platform: platform }
    }

    async fn connect(&self, person: &Person, identifier: &str) -> Socket {
        let path = format!("/cable?token={}&account_id={}", person.token, self.account_id);
        let mut socket = Socket::open(self.address, &path, Some("actioncable-v1-json")).await.unwrap();
        let subscribe = json!({"command": "subscribe", "identifier": identifier}).to_string();
        socket.send(&subscribe).await.unwrap();
        socket.wait_for("confirm_subscription").await.unwrap();
        socket
    }

    /// Sockets of these people in turn; the tag of each is the person's index.
    async fn fleet(&self, people: &[Person], count: usize, identifier: &str) -> (Fleet, Duration) {
        let started = Instant::now();
        let connect = async |n: usize| (n % people.len(), self.connect(&people[n % people.len()], identifier).await);
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
    for name in ["ws", "socket.io"] {
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
    for name in ["ws", "socket.io"] {
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
    }
}
