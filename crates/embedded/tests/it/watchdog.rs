//! The watchdog stops the servers when the process that started them dies.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use baton_embedded::Options;

use crate::{Scratch, am_root, start_postgres, start_redis, until};

const DIR: &str = "BATON_EMBEDDED_TEST_DIR";
const KEPT: &str = "BATON_EMBEDDED_TEST_KEPT";

/// Not a test: the process that the tests below start and kill. It starts both servers, prints their pids, and
/// waits.
#[tokio::test]
#[ignore = "the helper process of other tests"]
async fn helper() {
    let Some(dir) = env::var_os(DIR).map(PathBuf::from) else { return };
    let options = if env::var_os(KEPT).is_some() { Options::kept() } else { Options::throw_away() };
    let postgres = start_postgres(&dir.join("postgres"), options.clone()).await;
    let redis = start_redis(&dir.join("redis"), options).await;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\npids {} {}", postgres.pid().unwrap(), redis.pid().unwrap()).unwrap();
    out.flush().unwrap();
    std::future::pending::<()>().await;
}

/// Starts the helper in a process group of its own, and returns it with the pids of its servers.
fn start_helper(dir: &Path, kept: bool) -> (Child, Vec<u32>) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "watchdog::helper", "--ignored", "--nocapture"]).env(DIR, dir).process_group(0);
    if kept {
        command.env(KEPT, "1");
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with("pids ")).expect("the servers' pids");
    let pids = line.split(' ').skip(1).map(|pid| pid.parse().unwrap()).collect();
    (child, pids)
}

fn pid(pid: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(pid.cast_signed()).unwrap()
}

fn is_alive(process: u32) -> bool {
    rustix::process::test_kill_process(pid(process)).is_ok()
}

#[tokio::test]
async fn servers_stop_when_their_parent_is_killed() {
    let scratch = Scratch::new();
    let (mut helper, pids) = start_helper(&scratch.join("servers"), false);
    for server in &pids {
        // A Ctrl-C goes to the process group in the foreground, so it does not reach the server.
        assert_eq!(rustix::process::getpgid(Some(pid(*server))).unwrap(), pid(*server));
    }
    rustix::process::kill_process_group(pid(helper.id()), rustix::process::Signal::KILL).unwrap();
    helper.wait().unwrap();
    until("the servers end", || !pids.iter().any(|pid| is_alive(*pid))).await;

    // The watchdog of a root process does not run as root, and cannot remove some small files.
    let left = |server: &str| match am_root() {
        true => scratch.join("servers").join(server).join("data"),
        false => scratch.join("servers").join(server),
    };
    for server in ["postgres", "redis"] {
        until("throw-away data is gone", || std::fs::read_dir(left(server)).map_or(0, Iterator::count) == 0).await;
    }
}

#[tokio::test]
async fn next_start_waits_for_servers_of_a_killed_parent() {
    let scratch = Scratch::new();
    let dir = scratch.join("servers");
    let (mut helper, _) = start_helper(&dir, true);
    helper.kill().unwrap();
    helper.wait().unwrap();
    let postgres = start_postgres(&dir.join("postgres"), Options::kept()).await;
    let redis = start_redis(&dir.join("redis"), Options::kept()).await;
    redis.stop().await;
    postgres.stop().await;
}

#[tokio::test]
async fn dropped_server_is_stopped() {
    let scratch = Scratch::new();
    let redis = start_redis(&scratch.join("redis"), Options::kept()).await;
    let pid = redis.pid().unwrap();
    drop(redis);
    until("the server ends", || !is_alive(pid)).await;
}
