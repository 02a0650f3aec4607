//! A server process with a watchdog, in a process group of its own.

use std::{
    ffi::OsString,
    fs,
    io::{self, PipeWriter, Write},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::ExitStatus,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{Error, data_dir::DataDir};

/// Longer than crash recovery of a development database takes.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Attempts to find a free port: another process may take it before the server listens on it.
const MAX_PORT_ATTEMPTS: usize = 5;
/// Signals to send one after the other, each with the time to wait: well within the 10 seconds that a Ctrl-C allows.
const STOP_SIGNALS: [(Signal, Duration); 3] = [
    (Signal::INT, Duration::from_secs(6)),
    (Signal::QUIT, Duration::from_secs(2)),
    (Signal::KILL, Duration::from_secs(1)),
];

/// The command line of a server.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

/// A running server. If it is dropped without [`Server::stop`], the watchdog stops it.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    /// A line written here releases the watchdog: the server has ended. See `watchdog.sh`.
    watchdog: Option<PipeWriter>,
    cleanup_paths: Vec<PathBuf>,
}

impl Server {
    /// Starts the server on a free port of 127.0.0.1, and waits until `is_ready(pid, port)`.
    pub(crate) async fn start(
        folder: &DataDir,
        launch: impl Fn(u16) -> Result<Launch, Error>,
        is_ready: impl AsyncFn(u32, u16) -> bool,
    ) -> Result<(Self, u16), Error> {
        for attempt in 1.. {
            let port = free_port()?;
            folder.clear_log()?;
            let mut server = Self::spawn(folder, launch(port)?)?;
            let Err(reason) = server.wait_until_ready(async |pid| is_ready(pid, port).await).await else {
                return Ok((server, port));
            };
            let log = folder.read_log();
            if attempt == MAX_PORT_ATTEMPTS || !log.contains("Address already in use") {
                let reason = failure_reason(&log).map_or(reason, str::to_owned);
                let (log, path) = (folder.log_path(), folder.path.clone());
                return Err(Error::DidNotStart { server: folder.server, reason, log, folder: path });
            }
        }
        unreachable!("the last attempt returns")
    }

    fn spawn(folder: &DataDir, launch: Launch) -> Result<Self, Error> {
        let cannot = |source| Error::Io { doing: "start", path: launch.program.clone(), source };
        let (watched, watchdog) = io::pipe().map_err(cannot)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", include_str!("watchdog.sh"), "baton-watchdog"])
            .args(folder.watchdog_cleanup_paths())
            .arg("--")
            .arg(&launch.program)
            .args(&launch.arguments)
            .stdin(watched)
            .stdout(folder.log.try_clone().map_err(cannot)?)
            .stderr(folder.log.try_clone().map_err(cannot)?)
            .process_group(0);
        let child = prepare_command(folder, &mut command).spawn().map_err(cannot)?;
        Ok(Self { name: folder.server, child, watchdog: Some(watchdog), cleanup_paths: folder.cleanup_paths() })
    }

    async fn wait_until_ready(&mut self, is_ready: impl AsyncFn(u32) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    self.release_watchdog();
                    return Err(format!("it ended at once ({status})"));
                }
                Err(error) => return Err(error.to_string()),
            }
            if let Some(pid) = self.child.id()
                && is_ready(pid).await
            {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.end().await;
        Err(format!("it was not ready after {} seconds", START_TIMEOUT.as_secs()))
    }

    /// Resolves when the server has ended on its own.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.release_watchdog();
        Ok(status)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Stops the server in order, and removes throw-away data.
    pub(crate) async fn stop(mut self) {
        self.end().await;
        for path in &self.cleanup_paths {
            if let Err(error) = fs::remove_dir_all(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "cannot remove {}", path.display());
            }
        }
    }

    async fn end(&mut self) {
        for (signal, grace) in STOP_SIGNALS {
            // The pid cannot be reused before we have waited for the process.
            let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) else { break };
            if let Err(error) = kill_process(pid, signal) {
                tracing::warn!(%error, "cannot signal {}", self.name);
            }
            match timeout(grace, self.child.wait()).await {
                Ok(_) => break,
                Err(_) => tracing::warn!("{} did not stop after signal {}", self.name, signal.as_raw()),
            }
        }
        if self.child.id().is_none() {
            self.release_watchdog();
        }
    }

    fn release_watchdog(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            // A watchdog that is gone does not need the release.
            watchdog.write_all(b"\n").ok();
        }
    }
}

/// Prepares a command of a server: sets its user and a working directory that the user can enter, and removes
/// environment variables that change its behaviour.
pub(crate) fn prepare_command<'c>(folder: &DataDir, command: &'c mut Command) -> &'c mut Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    // English messages, because this crate parses some.
    command.current_dir("/").env("LC_ALL", "C");
    folder.run_as.run(command)
}

/// Why a server gave up: the text after the last severe mark in its log, or else the last line.
pub(crate) fn failure_reason(log: &str) -> Option<&str> {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let severe = |line| ["FATAL:", "PANIC:", "error:", " # "].iter().find_map(|mark| str::split_once(line, mark));
    lines().rev().find_map(severe).map(|(_, reason)| reason.trim()).or_else(|| lines().next_back())
}

fn free_port() -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::io("find a free port on", "127.0.0.1"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::Options;

    #[tokio::test]
    async fn taken_port_is_retried() {
        let folder = tempfile::tempdir_in("/tmp").expect("a folder");
        let folder =
            DataDir::open("Test", &folder.path().join("it"), &["nobody"], &Options::kept()).await.expect("ours");
        let launch = |script: &str| Launch { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] };
        let (attempts, taken) = (Cell::new(0), "echo 'bind: Address already in use'; exit 1");

        let attempt = |_| {
            attempts.set(attempts.get() + 1);
            Ok(launch(if attempts.get() < 3 { taken } else { "exec sleep 60" }))
        };
        let (server, _) = Server::start(&folder, attempt, async |_, _| attempts.get() == 3).await.expect("a server");
        server.stop().await;
        assert_eq!(attempts.get(), 3);

        let error = Server::start(&folder, |_| Ok(launch(taken)), async |_, _| false).await.expect_err("no port");
        assert!(error.to_string().contains("Test did not start: bind: Address already in use"), "{error}");
    }

    #[test]
    fn failure_reason_is_the_last_severe_line() {
        let log = "LOG:  starting\nFATAL:  could not open file\nLOG:  database system is shut down\n\n";
        assert_eq!(failure_reason(log), Some("could not open file"));
        assert_eq!(failure_reason("7:M 21 Nov 2026 # Bad file format\n"), Some("Bad file format"));
        assert_eq!(failure_reason("sh: 1: exec: /bin/none: not found\n"), Some("sh: 1: exec: /bin/none: not found"));
        assert_eq!(failure_reason(" \n"), None);
    }
}
