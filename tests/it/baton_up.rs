//! `baton up` from the command line: printed URLs work, data survives a restart, and errors are one line.

use std::{
    fs::{self, File, Permissions},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use baton_tests::{baton_binary, free_address};
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Generous, because it creates a database cluster and a demo account with eight users.
const START_TIMEOUT: Duration = Duration::from_secs(300);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn printed_urls_work_and_data_survives_a_restart() {
    let folder = Folder::new();
    let address = free_address();
    let mut up = Up::start(&folder, address);
    let printed = up.wait_until_started().await;
    for step in ["Postgres", "Redis", "migrations", "demo account"] {
        assert!(printed.contains(step), "{step} is missing: {printed}");
    }

    // The printed addresses.
    let root = format!("http://{address}");
    let client = reqwest::Client::new();
    for (what, path) in [("docs", "/docs"), ("OpenAPI", "/openapi.json"), ("mailbox", "/dev/mailbox")] {
        let line = printed.lines().find(|line| line.trim_start().starts_with(what)).unwrap();
        assert_eq!(line.split_whitespace().last(), Some(format!("{root}{path}").as_str()));
        assert_eq!(client.get(format!("{root}{path}")).send().await.unwrap().status(), 200, "{line}");
    }
    assert!(
        printed.contains(&format!("{root}/v1\n")) && printed.contains(&format!("ws://{address}/cable\n")),
        "{printed}"
    );

    // The printed login.
    let login = printed.lines().find_map(|line| line.strip_prefix("Sign in as ")).unwrap();
    let (email, password) = login.split_once(" with the password: ").unwrap();
    let sign_in = async || {
        let body = json!({"email": email, "password": password}).to_string();
        let request =
            client.post(format!("{root}/v1/auth/login")).header("content-type", "application/json").body(body);
        let session: Value = request.send().await.unwrap().json().await.unwrap();
        session["access_token"].as_str().unwrap_or_else(|| panic!("{session}")).to_owned()
    };
    let tasks = async || -> Value {
        let request = client.get(format!("{root}/v1/tasks?per_page=100")).bearer_auth(sign_in().await);
        request.send().await.unwrap().json().await.unwrap()
    };
    let demo = tasks().await;
    let demo = demo["tasks"].as_array().unwrap();
    assert!((25..=35).contains(&demo.len()), "about thirty tasks: {}", demo.len());
    for status in ["pending", "in_progress", "paused", "completed"] {
        assert!(demo.iter().any(|task| task["status"] == status), "no task is {status}");
    }

    // The three printed commands, pasted into a shell.
    let lines: Vec<_> = printed.split_once("Try:\n\n").unwrap().1.trim().lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("curl ")), "{lines:?}");
    let pasted = Command::new("sh").arg("-c").arg(lines.join("\n")).output().unwrap();
    assert!(pasted.status.success(), "{pasted:?}");
    let responses: Vec<Value> =
        serde_json::Deserializer::from_slice(&pasted.stdout).into_iter().map(Result::unwrap).collect();
    let [list, created] = &responses[..] else { panic!("{responses:?}") };
    assert!(list["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty()), "{list}");
    assert!(created["id"].is_string(), "{created}");

    // All child processes exit with it.
    let servers = servers(&folder);
    assert!(servers.iter().all(|pid| is_alive(*pid)), "{servers:?}");
    assert!(up.stop(Signal::TERM).await.success(), "{}", up.errors());
    assert!(!servers.iter().any(|pid| is_alive(*pid)), "{servers:?} are still running");
    assert_eq!(up.errors(), "");

    // After a restart everything exists once.
    let mut up = Up::start(&folder, address);
    let printed = up.wait_until_started().await;
    assert!(!printed.contains("demo account "), "the demo account was created again: {printed}");
    let kept = tasks().await;
    assert_eq!(kept["meta"]["total_count"], demo.len() + 1);
    assert!(kept["tasks"].as_array().unwrap().iter().any(|task| task["id"] == created["id"]));

    // A second process on the same data is refused.
    let second = Up::start(&folder, free_address()).wait_for_failure().await;
    assert_one_line(&second, &["already running"]);

    assert!(up.stop(Signal::INT).await.success(), "{}", up.errors());
    assert_eq!(up.errors(), "");

    // Corrupt data is reported and left unchanged.
    let version = folder.data().join("postgres/data/PG_VERSION");
    fs::rename(&version, folder.path().join("PG_VERSION")).unwrap();
    let broken = Up::start(&folder, address).wait_for_failure().await;
    assert_one_line(&broken, &["broken", "PG_VERSION", "remove"]);
    fs::rename(folder.path().join("PG_VERSION"), &version).unwrap();
    let mut up = Up::start(&folder, address);
    up.wait_until_started().await;
    assert_eq!(tasks().await["meta"]["total_count"], kept["meta"]["total_count"]);
    assert!(up.stop(Signal::TERM).await.success(), "{}", up.errors());

    let keys = folder.data().join("keys.env");
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o077, 0, "others may read the keys");
    fs::write(&keys, "nonsense\n").unwrap();
    assert_one_line(&Up::start(&folder, address).wait_for_failure().await, &["keys.env", "damaged"]);
}

#[tokio::test]
async fn public_address_has_neither_mailbox_nor_demo_account() {
    let folder = Folder::new();
    let address = free_address();
    let everywhere = SocketAddr::from(([0, 0, 0, 0], address.port()));
    let client = reqwest::Client::new();
    let mailbox = async || client.get(format!("http://{address}/dev/mailbox")).send().await.unwrap().status();
    let sign_in = async || {
        let body = json!({"email": "owner@demo.baton.example", "password": "relay-lantern-tide-42"}).to_string();
        let login = client.post(format!("http://{address}/v1/auth/login")).header("content-type", "application/json");
        login.body(body).send().await.unwrap()
    };

    // No demo account is created in an empty database.
    let mut up = Up::start(&folder, everywhere);
    let printed = up.wait_for_output("Set BATON_SMTP_URL to send mail.").await;
    assert!(!printed.contains("/dev/mailbox") && !printed.contains("Sign in as"), "{printed}");
    assert_eq!((mailbox().await, sign_in().await.status()), (StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED));
    assert!(up.stop(Signal::TERM).await.success(), "{}", up.errors());

    // On a public address the demo users of a local run cannot sign in, and their sessions end.
    let mut up = Up::start(&folder, address);
    up.wait_until_started().await;
    let session: Value = sign_in().await.json().await.unwrap();
    let token = session["access_token"].as_str().unwrap().to_owned();
    let rebound = client.get(format!("http://{address}/dev/mailbox")).header("host", "evil.example");
    assert_eq!(rebound.send().await.unwrap().status(), StatusCode::MISDIRECTED_REQUEST);
    let rebound =
        client.get(format!("http://{address}/v1/users/me")).header("host", "evil.example").bearer_auth(&token);
    assert_eq!(rebound.send().await.unwrap().status(), StatusCode::MISDIRECTED_REQUEST);
    assert!(up.stop(Signal::TERM).await.success(), "{}", up.errors());
    let mut up = Up::start(&folder, everywhere);
    up.wait_for_output("Set BATON_SMTP_URL to send mail.").await;
    assert_eq!((mailbox().await, sign_in().await.status()), (StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED));
    let me = client.get(format!("http://{address}/v1/users/me")).bearer_auth(token).send().await.unwrap();
    assert_eq!(me.status(), StatusCode::UNAUTHORIZED);
    assert!(up.stop(Signal::TERM).await.success(), "{}", up.errors());
    let mut up = Up::start(&folder, address);
    up.wait_until_started().await;
    assert_eq!((mailbox().await, sign_in().await.status()), (StatusCode::OK, StatusCode::OK));
    assert!(up.stop(Signal::TERM).await.success(), "{}", up.errors());
}

#[tokio::test]
async fn port_in_use_is_reported_in_one_line() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let failed = Up::start(&folder, address).wait_for_failure().await;
    assert_one_line(&failed, &[&address.to_string(), "BATON_GATEWAY_LISTEN"]);
    assert!(!folder.data().join("postgres").exists(), "it started a server before it checked the port");
}

#[tokio::test]
async fn unwritable_folder_is_reported_in_one_line() {
    let folder = Folder::new();
    // Root ignores permissions, so a kernel file system is used.
    let locked = if rustix::process::geteuid().is_root() {
        PathBuf::from("/sys/baton")
    } else {
        let locked = folder.path().join("locked");
        fs::create_dir(&locked).unwrap();
        fs::set_permissions(&locked, Permissions::from_mode(0o555)).unwrap();
        locked.join("baton")
    };
    let mut up = Up::start_with(&folder, free_address(), |command| {
        command.arg("--data").arg(&locked);
    });
    assert_one_line(&up.wait_for_failure().await, &[&locked.display().to_string()]);

    // A file in place of the folder.
    fs::write(folder.path().join("file"), "").unwrap();
    let mut up = Up::start_with(&folder, free_address(), |command| {
        command.args(["--data", "file"]);
    });
    assert_one_line(&up.wait_for_failure().await, &["file"]);
}

#[tokio::test]
async fn invalid_settings_are_reported_in_one_line() {
    let folder = Folder::new();
    let unused = free_address();
    for (variable, value, words) in [
        ("BATON_GATEWAY_LISTEN", "nonsense".to_owned(), &["BATON_GATEWAY_LISTEN"][..]),
        ("BATON_POSTGRES_BIN", "/nowhere".to_owned(), &["BATON_POSTGRES_BIN", "/nowhere"]),
        ("BATON_REDIS_SERVER", "/nowhere".to_owned(), &["BATON_REDIS_SERVER", "/nowhere"]),
        ("BATON_DATABASE_URL", format!("postgres://a:secret@{unused}/b"), &["BATON_DATABASE_URL"]),
        ("BATON_DATABASE_URL", "nonsense".to_owned(), &["BATON_DATABASE_URL"]),
        ("BATON_REDIS_URL", format!("redis://:secret@{unused}/0"), &["BATON_REDIS_URL"]),
        ("BATON_REDIS_URL", "nonsense".to_owned(), &["BATON_REDIS_URL"]),
    ] {
        let mut up = Up::start_with(&folder, free_address(), |command| {
            command.env(variable, &value);
        });
        let failed = up.wait_for_failure().await;
        assert_one_line(&failed, words);
        assert!(!String::from_utf8_lossy(&failed.stderr).contains("secret"), "{failed:?}");
    }
}

/// A folder that the servers' user may traverse, like a usual working directory.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn data(&self) -> PathBuf {
        self.0.path().join(".baton")
    }
}

/// `baton up` in a folder with its own servers. It is killed on drop.
struct Up {
    child: Child,
    logs: TempDir,
}

impl Up {
    fn start(folder: &Folder, address: SocketAddr) -> Self {
        Self::start_with(folder, address, |_| {})
    }

    fn start_with(folder: &Folder, address: SocketAddr, change: impl FnOnce(&mut Command)) -> Self {
        let logs = tempfile::tempdir().unwrap();
        let log = |name: &str| File::create(logs.path().join(name)).unwrap();
        let mut command = baton_binary();
        command.arg("up").current_dir(folder.path()).env("BATON_GATEWAY_LISTEN", address.to_string());
        command.stdin(Stdio::null()).stdout(log("stdout")).stderr(log("stderr"));
        change(&mut command);
        Self { child: command.spawn().unwrap(), logs }
    }

    /// Waits until the start-up output is complete, and returns it.
    async fn wait_until_started(&mut self) -> String {
        self.wait_until_printed(|printed| {
            printed.split_once("Try:\n\n").is_some_and(|(_, lines)| lines.ends_with("\n\n"))
        })
        .await
    }

    /// Waits until the output contains these words, and returns it.
    async fn wait_for_output(&mut self, words: &str) -> String {
        self.wait_until_printed(|printed| printed.contains(words)).await
    }

    async fn wait_until_printed(&mut self, enough: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let printed = self.printed();
            if enough(&printed) {
                return printed;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it exited: {status}\n{printed}\n{}", self.errors());
            }
            assert!(
                Instant::now() < deadline,
                "no such output within {START_TIMEOUT:?}:\n{printed}\n{}",
                self.errors()
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    async fn stop(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.wait_for_exit(STOP_TIMEOUT).await
    }

    /// Waits for an exit without a signal and returns the output.
    async fn wait_for_failure(&mut self) -> Output {
        let status = self.wait_for_exit(START_TIMEOUT).await;
        Output { status, stdout: self.printed().into(), stderr: self.errors().into() }
    }

    async fn wait_for_exit(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not exit within {within:?}\n{}", self.printed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn printed(&self) -> String {
        fs::read_to_string(self.logs.path().join("stdout")).unwrap()
    }

    /// What it wrote to standard error, without the warnings about a slow machine.
    fn errors(&self) -> String {
        let errors = fs::read_to_string(self.logs.path().join("stderr")).unwrap();
        let is_slow = |line: &&str| line.contains("slow statement") || line.contains("slow threshold");
        errors.lines().filter(|line| !is_slow(line)).map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Both fail if it has already exited, which is fine. The servers notice its exit and stop.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Process ids of Postgres and Redis.
fn servers(folder: &Folder) -> [Pid; 2] {
    ["postgres/data/postmaster.pid", "redis/data/redis.pid"].map(|file| {
        let text = fs::read_to_string(folder.data().join(file)).unwrap();
        Pid::from_raw(text.lines().next().unwrap().trim().parse().unwrap()).unwrap()
    })
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

/// Asserts a readable failure: one line with these words, and a non-zero exit code.
fn assert_one_line(failed: &Output, words: &[&str]) {
    let errors = String::from_utf8_lossy(&failed.stderr);
    assert!(failed.status.code().is_some_and(|code| code != 0), "{}: {errors}", failed.status);
    assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
    assert!(errors.starts_with("baton: "), "{errors}");
    for word in words {
        assert!(errors.contains(word), "{word} is missing: {errors}");
    }
}
