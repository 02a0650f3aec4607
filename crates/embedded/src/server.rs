//! A server process: on a watchdog, in a process group of its own.

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

use crate::{Error, data_dir::Folder};

/// Longer than recovery from a crash takes with the data that development on one machine makes.
const START_TIME: Duration = Duration::from_secs(120);
/// Between finding a free port and listening on it, somebody else may take it.
const PORTS_TRIED: usize = 5;
/// Signals in the order of their insistence, and how long each gets: well inside the 10 seconds of a Ctrl-C.
const STOP_SIGNALS: [(Signal, Duration); 3] = [
    (Signal::INT, Duration::from_secs(6)),
    (Signal::QUIT, Duration::from_secs(2)),
    (Signal::KILL, Duration::from_secs(1)),
];

/// What to run.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

/// A running server. If it is dropped without [`Server::stop`], the watchdog stops it.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    /// A line written here tells the watcher that nothing is left to stop; see `watchdog.sh`.
    watchdog: Option<PipeWriter>,
    trash: Vec<PathBuf>,
}

impl Server {
    /// Starts the server on a free port of 127.0.0.1 and waits until `is_ready(pid, port)`.
    pub(crate) async fn start(
        folder: &Folder,
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
            if attempt == PORTS_TRIED || !log.contains("Address already in use") {
                let reason = telling_line(&log).map_or(reason, str::to_owned);
                let (log, path) = (folder.log_path(), folder.path.clone());
                return Err(Error::DidNotStart { server: folder.server, reason, log, folder: path });
            }
        }
        unreachable!("the last attempt returns")
    }

    fn spawn(folder: &Folder, launch: Launch) -> Result<Self, Error> {
        let cannot = |source| Error::Io { doing: "start", path: launch.program.clone(), source };
        let (watched, watchdog) = io::pipe().map_err(cannot)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", include_str!("watchdog.sh"), "baton-watchdog"])
            .args(folder.watchers_trash())
            .arg("--")
            .arg(&launch.program)
            .args(&launch.arguments)
            .stdin(watched)
            .stdout(folder.log.try_clone().map_err(cannot)?)
            .stderr(folder.log.try_clone().map_err(cannot)?)
            .process_group(0);
        let child = as_server(folder, &mut command).spawn().map_err(cannot)?;
        Ok(Self { name: folder.server, child, watchdog: Some(watchdog), trash: folder.trash() })
    }

    async fn wait_until_ready(&mut self, is_ready: impl AsyncFn(u32) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + START_TIME;
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
        Err(format!("it was not ready after {} seconds", START_TIME.as_secs()))
    }

    /// Resolves when the server has ended by itself.
    pub(crate) async fn exited(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.release_watchdog();
        Ok(status)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Stops the server in order, and removes what was to be thrown away.
    pub(crate) async fn stop(mut self) {
        self.end().await;
        for path in &self.trash {
            if let Err(error) = fs::remove_dir_all(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "cannot remove {}", path.display());
            }
        }
    }

    async fn end(&mut self) {
        for (signal, patience) in STOP_SIGNALS {
            // Until we have waited for it, its pid cannot become another's.
            let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) else { break };
            if let Err(error) = kill_process(pid, signal) {
                tracing::warn!(%error, "cannot signal {}", self.name);
            }
            match timeout(patience, self.child.wait()).await {
                Ok(_) => break,
                Err(_) => tracing::warn!("{} did not heed signal {}", self.name, signal.as_raw()),
            }
        }
        if self.child.id().is_none() {
            self.release_watchdog();
        }
    }

    fn release_watchdog(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            // A watcher that is gone needs no word.
            watchdog.write_all(b"\n").ok();
        }
    }
}

/// What all programs of a server share: its user, a working directory that this user can enter, and no
/// environment that changes what they do.
pub(crate) fn as_server<'c>(folder: &Folder, command: &'c mut Command) -> &'c mut Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    // Messages in English, as this crate reads some.
    command.current_dir("/").env("LC_ALL", "C");
    folder.owner.run(command)
}

/// Why a server gave up: what its log says after the last mark of gravity, or else its last line.
pub(crate) fn telling_line(log: &str) -> Option<&str> {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let grave = |line| ["FATAL:", "PANIC:", "error:", " # "].iter().find_map(|mark| str::split_once(line, mark));
    lines().rev().find_map(grave).map(|(_, reason)| reason.trim()).or_else(|| lines().next_back())
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
    async fn a_port_that_was_taken_meanwhile_is_not_the_end() {
        let folder = tempfile::tempdir_in("/tmp").expect("a folder");
        let folder =
            Folder::open("Test", &folder.path().join("it"), &["nobody"], &Options::kept()).await.expect("ours");
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
    fn the_gravest_line_of_a_log_is_shown() {
        let log = "LOG:  starting\nFATAL:  could not open file\nLOG:  database system is shut down\n\n";
        assert_eq!(telling_line(log), Some("could not open file"));
        assert_eq!(telling_line("7:M 21 Nov 2026 # Bad file format\n"), Some("Bad file format"));
        assert_eq!(telling_line("sh: 1: exec: /bin/none: not found\n"), Some("sh: 1: exec: /bin/none: not found"));
        assert_eq!(telling_line(" \n"), None);
    }
}
