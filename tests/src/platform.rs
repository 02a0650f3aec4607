//! The platform under test: `baton up` as a child process.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use baton_embedded::Redis;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::{Channel, Endpoint};
use url::Url;

use crate::{
    GrpcWeb, Rest, eventually,
    meter::{Meter, excerpt},
    servers,
};

/// A machine that runs many tests at once takes its time.
const STARTS_WITHIN: Duration = Duration::from_secs(90);
/// What a stop may take, by the design.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// A running platform, with a database and a Redis of its own. It is killed when it is dropped.
#[derive(Debug)]
pub struct Platform {
    child: Child,
    address: SocketAddr,
    env: Vec<(String, String)>,
    folder: TempDir,
    client: reqwest::Client,
    // Held for its end: it goes when the platform does.
    redis: (Redis, TempDir),
    database: Url,
}

impl Platform {
    /// Starts one.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with these environment variables beside those that it needs.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        let (database, redis) = tokio::join!(servers::database(), servers::redis());
        let folder = tempfile::tempdir().expect("a folder for the platform");
        let address = free_address();
        let mut env: Vec<(String, String)> = vec![
            ("BATON_GATEWAY_LISTEN".to_owned(), address.to_string()),
            ("BATON_DATABASE_URL".to_owned(), database.to_string()),
            ("BATON_REDIS_URL".to_owned(), redis.0.url()),
            // All tests come from one address.
            ("BATON_AUTH_ATTEMPTS_PER_ADDRESS".to_owned(), "1000000".to_owned()),
        ];
        // Few tests are about quotas and rate limits; those set their own.
        let roomy = "free.users=1000,free.open_tasks_per_user=100000,free.api_requests_per_hour=1000000";
        env.push(("BATON_TENANCY_TIER_LIMITS".to_owned(), roomy.to_owned()));
        for name in ["BATON_GATEWAY_REQUESTS_PER_HOUR_ANONYMOUS", "BATON_GATEWAY_REQUESTS_PER_HOUR_USER"] {
            env.push((name.to_owned(), "1000000".to_owned()));
        }
        env.extend(variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let child = spawn(&env, folder.path());
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        let mut platform = Self { child, address, env, folder, client, redis, database };
        platform.wait_until_ready().await;
        platform
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its root: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// REST without a token.
    pub fn rest(&self) -> Rest {
        Rest::new(self.client.clone(), self.url())
    }

    /// gRPC, through the gateway.
    pub fn grpc(&self) -> Channel {
        Endpoint::from_shared(self.url()).expect("a URL of our own").connect_lazy()
    }

    /// gRPC-Web, through the gateway.
    pub fn grpc_web(&self) -> GrpcWeb {
        // Streams go on for as long as the platform lets them: no timeout.
        GrpcWeb::new(reqwest::Client::new(), self.url())
    }

    /// The folder of its data and keys.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The database's superuser, for the few tests that must look behind the platform's back.
    pub fn database_url(&self) -> &str {
        self.database.as_str()
    }

    /// Its Redis.
    pub fn redis_url(&self) -> String {
        self.redis.0.url()
    }

    /// Waits until whatever listens at its address is ready.
    pub async fn is_ready(&self) {
        eventually("the platform is ready", || async {
            let ready = self.client.get(format!("{}/readyz", self.url())).send().await;
            ready.is_ok_and(|answer| answer.status() == 200).then_some(())
        })
        .await;
    }

    /// What it has printed: standard output, then standard error.
    pub fn output(&self) -> String {
        ["stdout", "stderr"].map(|name| read(&self.folder.path().join(name))).join("\n")
    }

    /// What it uses, from now until it is started again.
    pub fn meter(&self) -> Meter {
        let outputs = ["stdout", "stderr"].map(|name| self.folder.path().join(name));
        Meter::new(vec![self.child.id()], outputs.into())
    }

    /// Memory that it holds at present, without what it shares with others; `None` where the system does not tell.
    pub fn memory_kib(&self) -> Option<u64> {
        self.meter().memory_kib()
    }

    /// The environment variables that it was started with.
    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.env
    }

    /// Ends it as a power cut does.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }

    /// Tells it to end as a supervisor does.
    pub fn sigterm(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::TERM).expect("it runs");
    }

    /// Waits for its end after [`Platform::sigterm`], for as long as a stop may take.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + STOPS_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "SIGTERM did not end it within {STOPS_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts it again after it ended: same port, same data, same keys.
    pub async fn restart(&mut self) {
        assert!(self.child.try_wait().expect("a child of ours").is_some(), "it runs still");
        self.child = spawn(&self.env, self.folder.path());
        self.wait_until_ready().await;
    }

    /// Empties its Redis, as an operator does by mistake.
    pub async fn flush_redis(&self) {
        let url: Url = self.redis.0.url().parse().expect("a URL");
        let password = url.password().expect("Redis asks for a password").to_owned();
        let mut stream =
            tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.redis.0.port())).await.expect("Redis answers");
        let commands = format!("AUTH {password}\r\nFLUSHALL\r\nQUIT\r\n");
        stream.write_all(commands.as_bytes()).await.expect("Redis reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("Redis answers");
        assert!(answer.starts_with("+OK\r\n+OK\r\n"), "{answer}");
    }

    /// Polls until nothing listens at its address any more: from then on it has stopped accepting.
    pub async fn stopped_accepting(&self) {
        eventually("the listener closes", || async {
            tokio::net::TcpStream::connect(self.address).await.is_err().then_some(())
        })
        .await;
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + STARTS_WITHIN;
        loop {
            let ready = self.client.get(format!("{}/readyz", self.url())).send().await;
            if ready.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                panic!("it ended while it started: {status}\n{}", self.output());
            }
            assert!(Instant::now() < deadline, "not ready within {STARTS_WITHIN:?}\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is fine.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            for name in ["stdout", "stderr"] {
                eprintln!("---- {name} of the platform ----\n{}", excerpt(&self.folder.path().join(name)));
            }
        } else {
            self.tasks_are_what_their_logs_say();
        }
    }
}

impl Platform {
    /// Whatever a test did, crashes included: the event log tells every task as it is stored.
    fn tasks_are_what_their_logs_say(&self) {
        // A database that the caller brought, they may have filled as well.
        if self.env.iter().filter(|(name, _)| name == "BATON_DATABASE_URL").count() > 1 {
            return;
        }
        let role = |role: &str| format!("{}?options=-c%20role%3D{role}", self.database);
        let checked = baton_binary()
            .args(["task", "rebuild", "--check"])
            .env("BATON_TASK_DATABASE_URL", role("baton_task"))
            .env("BATON_TASK_SYSTEM_DATABASE_URL", role("baton_task_system"))
            .output()
            .expect("the baton binary");
        let said = String::from_utf8_lossy(&checked.stdout);
        let warned = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "`baton task rebuild --check` says:\n{said}{warned}");
    }
}

fn spawn(env: &[(String, String)], folder: &Path) -> Child {
    let log = |name: &str| {
        let path = folder.join(name);
        File::options().create(true).append(true).open(path).expect("a file of our own")
    };
    let mut command = baton_binary();
    command.args(["up", "--no-demo", "--data"]).arg(folder.join("data")).envs(env.iter().cloned());
    command.stdin(Stdio::null()).stdout(log("stdout")).stderr(log("stderr"));
    command.spawn().expect("the binary runs")
}

/// The binary under test, with nothing configured: `BATON_BIN`, else the one that cargo put beside the tests.
pub fn baton_binary() -> Command {
    let program = std::env::var_os("BATON_BIN").map(PathBuf::from).unwrap_or_else(|| {
        let tests = std::env::current_exe().expect("the path of the tests");
        tests.ancestors().nth(2).expect("target/debug/deps/it-…").join("baton")
    });
    assert!(program.is_file(), "{} is not there; run cargo build -p baton, or set BATON_BIN", program.display());
    let mut command = Command::new(program);
    // Where the servers' programs are is the machine's matter; all else is the test's.
    let kept = ["BATON_POSTGRES_BIN", "BATON_REDIS_SERVER"];
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("BATON_") && !kept.contains(&name_text.as_ref()) {
            command.env_remove(name);
        }
    }
    command
}

/// An address that nobody uses. Below the ports that systems give to outgoing connections, as one of those could
/// take it before the platform does.
pub fn free_address() -> SocketAddr {
    let free = (0..1000).find_map(|_| {
        let port = rand::random_range(10_000..30_000);
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?.local_addr().ok()
    });
    free.expect("a free port")
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
