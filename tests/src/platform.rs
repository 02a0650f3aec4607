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
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::{Channel, Endpoint};
use url::Url;

use crate::{
    GrpcWeb, Rest, eventually,
    meter::{Meter, excerpt},
    servers,
};

/// Generous, because a machine that runs many tests at once is slow.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// Maximum duration of a graceful shutdown.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A running platform with its own database and Redis. It is killed on drop.
#[derive(Debug)]
pub struct Platform {
    program: &'static str,
    child: Child,
    address: SocketAddr,
    env: Vec<(String, String)>,
    folder: TempDir,
    client: reqwest::Client,
    // Kept for its drop.
    redis: (Redis, TempDir),
    database: Url,
}

impl Platform {
    /// Starts a platform.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a platform with additional environment variables.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        Self::start_program("baton", variables).await
    }

    /// Starts a platform of the program with the example service (`tests/example`).
    pub async fn start_example(variables: &[(&str, &str)]) -> Self {
        Self::start_program("baton-example", variables).await
    }

    async fn start_program(program: &'static str, variables: &[(&str, &str)]) -> Self {
        let (database, redis) = tokio::join!(servers::database(), servers::redis());
        let folder = tempfile::tempdir().expect("a folder for the platform");
        let address = free_address();
        let mut env: Vec<(String, String)> = vec![
            ("BATON_GATEWAY_LISTEN".to_owned(), address.to_string()),
            ("BATON_DATABASE_URL".to_owned(), database.to_string()),
            ("BATON_REDIS_URL".to_owned(), redis.0.url()),
            // All tests share one client address.
            ("BATON_AUTH_ATTEMPTS_PER_ADDRESS".to_owned(), "1000000".to_owned()),
        ];
        // High quotas and rate limits; tests about limits set their own.
        let roomy = "free.users=1000,free.open_tasks_per_user=100000,free.api_requests_per_hour=1000000,free.automations=1000,free.automation_executions_per_hour=100000";
        env.push(("BATON_TENANCY_TIER_LIMITS".to_owned(), roomy.to_owned()));
        for name in ["BATON_GATEWAY_REQUESTS_PER_HOUR_ANONYMOUS", "BATON_GATEWAY_REQUESTS_PER_HOUR_USER"] {
            env.push((name.to_owned(), "1000000".to_owned()));
        }
        env.extend(variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let child = spawn(program, &env, folder.path());
        let client = reqwest::Client::builder().timeout(Duration::from_secs(70)).build().expect("a client");
        let mut platform = Self { program, child, address, env, folder, client, redis, database };
        platform.wait_for_start().await;
        platform
    }

    /// The listen address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root URL: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A REST client without a token.
    pub fn rest(&self) -> Rest {
        Rest::new(self.client.clone(), self.url())
    }

    /// A gRPC channel through the gateway.
    pub fn grpc(&self) -> Channel {
        Endpoint::from_shared(self.url()).expect("a URL of our own").connect_lazy()
    }

    /// A gRPC-Web client through the gateway.
    pub fn grpc_web(&self) -> GrpcWeb {
        // No timeout, because streams stay open as long as the platform permits.
        GrpcWeb::new(reqwest::Client::new(), self.url())
    }

    /// The folder with data and keys.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The database URL of the superuser, for the few tests that read or change rows directly.
    pub fn database_url(&self) -> &str {
        self.database.as_str()
    }

    /// The URL of its Redis.
    pub fn redis_url(&self) -> String {
        self.redis.0.url()
    }

    /// Waits until the process at its address is ready.
    pub async fn wait_until_ready(&self) {
        eventually("the platform is ready", || async {
            let ready = self.client.get(format!("{}/readyz", self.url())).send().await;
            ready.is_ok_and(|response| response.status() == 200).then_some(())
        })
        .await;
    }

    /// The printed output: standard output, then standard error.
    pub fn output(&self) -> String {
        ["stdout", "stderr"].map(|name| read(&self.folder.path().join(name))).join("\n")
    }

    /// A meter of the process; valid until the next restart.
    pub fn meter(&self) -> Meter {
        let outputs = ["stdout", "stderr"].map(|name| self.folder.path().join(name));
        Meter::new(vec![self.child.id()], outputs.into())
    }

    /// Current private memory in KiB; `None` where the system does not provide it.
    pub fn memory_kib(&self) -> Option<u64> {
        self.meter().memory_kib()
    }

    /// The environment variables of the process.
    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.env
    }

    /// Kills the process with SIGKILL, as a power cut would end it.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }

    /// Sends SIGTERM, as a supervisor does.
    pub fn sigterm(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::TERM).expect("it runs");
    }

    /// Waits for the exit after [`Platform::sigterm`]; panics after the maximum shutdown time.
    pub async fn wait_for_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "SIGTERM did not end it within {STOP_TIMEOUT:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the platform again after its exit: same port, data and keys.
    pub async fn restart(&mut self) {
        assert!(self.child.try_wait().expect("a child of ours").is_some(), "it is still running");
        self.child = spawn(self.program, &self.env, self.folder.path());
        self.wait_for_start().await;
    }

    /// Flushes its Redis, as an operator might by mistake.
    pub async fn flush_redis(&self) {
        let url: Url = self.redis.0.url().parse().expect("a URL");
        let password = url.password().expect("Redis asks for a password").to_owned();
        let mut stream =
            tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.redis.0.port())).await.expect("Redis answers");
        let commands = format!("AUTH {password}\r\nFLUSHALL\r\nQUIT\r\n");
        stream.write_all(commands.as_bytes()).await.expect("Redis reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("Redis answers");
        assert!(response.starts_with("+OK\r\n+OK\r\n"), "{response}");
    }

    /// Waits until the listener is closed, so that no new connection is accepted.
    pub async fn wait_until_closed(&self) {
        eventually("the listener closes", || async {
            tokio::net::TcpStream::connect(self.address).await.is_err().then_some(())
        })
        .await;
    }

    async fn wait_for_start(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let ready = self.client.get(format!("{}/readyz", self.url())).send().await;
            if ready.is_ok_and(|response| response.status() == 200) {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                panic!("it ended while it started: {status}\n{}", self.output());
            }
            assert!(Instant::now() < deadline, "not ready within {START_TIMEOUT:?}\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // Both fail if it has already exited, which is fine.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            for name in ["stdout", "stderr"] {
                eprintln!("---- {name} of the platform ----\n{}", excerpt(&self.folder.path().join(name)));
            }
        } else {
            self.check_dead_letters();
            self.check_task_logs();
        }
    }
}

impl Platform {
    /// Checks that no service has dead-lettered an event.
    fn check_dead_letters(&self) {
        let url = self.database.to_string();
        // A thread of its own: a runtime cannot block inside another.
        let checked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(dead_letters(&url)).expect("the database of the platform")
        });
        let found = checked.join().expect("the check of dead letters ends");
        assert!(found.is_empty(), "dead letters remain: {}", found.join(", "));
    }

    /// Checks that the event log reproduces every stored task, whatever the test did.
    fn check_task_logs(&self) {
        // A database provided by the caller may contain other data.
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
        let stdout = String::from_utf8_lossy(&checked.stdout);
        let stderr = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "`baton task rebuild --check` printed:\n{stdout}{stderr}");
    }
}

/// The dead letters of all schemas: schema and error.
async fn dead_letters(url: &str) -> sqlx::Result<Vec<String>> {
    let mut conn = PgConnection::connect(url).await?;
    let schemas: Vec<String> =
        sqlx::query_scalar("select schemaname::text from pg_tables where tablename = 'dead_letters'")
            .fetch_all(&mut conn)
            .await?;
    let mut found: Vec<String> = Vec::new();
    for schema in schemas {
        let select = format!("select '{schema}: ' || error from {schema}.dead_letters");
        found.extend(sqlx::query_scalar::<_, String>(AssertSqlSafe(select)).fetch_all(&mut conn).await?);
    }
    conn.close().await?;
    Ok(found)
}

fn spawn(program: &str, env: &[(String, String)], folder: &Path) -> Child {
    let log = |name: &str| {
        let path = folder.join(name);
        File::options().create(true).append(true).open(path).expect("a file of our own")
    };
    let mut command = binary(program);
    command.args(["up", "--no-demo", "--data"]).arg(folder.join("data")).envs(env.iter().cloned());
    command.stdin(Stdio::null()).stdout(log("stdout")).stderr(log("stderr"));
    command.spawn().expect("the binary runs")
}

/// The binary under test with an empty configuration: `BATON_BIN`, else the one that cargo built beside the tests.
pub fn baton_binary() -> Command {
    binary("baton")
}

/// [`baton_binary`] with the example service, from the same folder.
pub fn example_binary() -> Command {
    binary("baton-example")
}

fn binary(name: &str) -> Command {
    let baton = std::env::var_os("BATON_BIN").map(PathBuf::from).unwrap_or_else(|| {
        let tests = std::env::current_exe().expect("the path of the tests");
        tests.ancestors().nth(2).expect("target/debug/deps/it-…").join("baton")
    });
    let program = if name == "baton" { baton } else { baton.with_file_name(name) };
    assert!(program.is_file(), "{} is not there; run cargo build -p {name}, or set BATON_BIN", program.display());
    let mut command = Command::new(program);
    // Only the locations of the server programs come from the environment.
    let kept = ["BATON_POSTGRES_BIN", "BATON_REDIS_SERVER"];
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("BATON_") && !kept.contains(&name_text.as_ref()) {
            command.env_remove(name);
        }
    }
    command
}

/// A free address. The port is below the ephemeral range, so that no outgoing connection takes it first.
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
