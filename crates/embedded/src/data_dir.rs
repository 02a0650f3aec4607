//! The data folder of a server:
//!
//! ```text
//! <folder>/           0700; as root 0711 and owned by root, which must not follow links that another user made
//!   log               output of the server since its last start; locked while it runs
//!   starter           pid of the process that started it
//!   password          0600
//!   data/             0700, owned by the user that the server runs as
//!   elsewhere         in place of data/: a link to the fallback folder
//! ```

use baton_runtime::random;
use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{Error, Options, run_as::RunAs};

/// Files of which at least one exists in every folder of ours.
const KNOWN_FILES: [&str; 4] = ["log", "password", "data", "elsewhere"];

/// Parent of the fallback folders, for data that the server's user cannot reach in the requested folder.
const FALLBACK: &str = "/var/lib/baton";

/// Longest time that a watchdog needs to stop its server: three signals of five seconds.
const WATCHDOG_TIMEOUT: Duration = Duration::from_secs(16);

/// A data folder, locked for as long as `log` stays open, here or in a server.
#[derive(Debug)]
pub(crate) struct DataDir {
    pub(crate) server: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) run_as: RunAs,
    pub(crate) durable: bool,
    /// The folder itself, or the target of `elsewhere`.
    pub(crate) root: PathBuf,
    /// Log file of the server, which inherits the lock on it.
    pub(crate) log: File,
}

impl DataDir {
    /// Opens or creates the folder, and locks it. `users` are the candidates to run as if the caller is root.
    pub(crate) async fn open(
        server: &'static str,
        path: &Path,
        users: &[&str],
        options: &Options,
    ) -> Result<Self, Error> {
        let durable = options.durable;
        prepare(path, durable)?;
        let path = path.canonicalize().map_err(Error::io("open", path))?;
        let log = lock(server, &path).await?;

        let link = path.join("elsewhere");
        let linked = fs::read_link(&link).ok();
        let run_as = RunAs::choose(server, &linked.as_deref().unwrap_or(&path).join("data"), users)?;
        let root = match linked {
            Some(root) if root.is_dir() => root,
            Some(root) => {
                let problem = format!("{}, to which {} leads, is gone", root.display(), link.display());
                return Err(Error::Broken { server, problem, folder: path });
            }
            None if run_as.can_enter(&path).await => path.clone(),
            None => {
                let root = create_fallback(&run_as, &path).await?;
                symlink(&root, &link).map_err(Error::io("create", &link))?;
                tracing::info!(
                    "user {} cannot enter {}, so the data of {server} is kept in {}",
                    run_as.name(),
                    path.display(),
                    root.display()
                );
                root
            }
        };
        Ok(Self { server, path, run_as, durable, root, log })
    }

    /// The path of the server's files.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Creates an empty folder owned by the server's user, next to the data.
    pub(crate) fn create(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.root.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
        fs::create_dir(&path).map_err(Error::io("create", &path))?;
        fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(Error::io("protect", &path))?;
        self.run_as.chown(&path)?;
        Ok(path)
    }

    /// Writes a file of mode 0600 owned by the server's user, next to the data.
    pub(crate) fn write_secret(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.root.join(name);
        write_secret(&path, text)?;
        self.run_as.chown(&path)?;
        Ok(path)
    }

    /// The password from an earlier start.
    pub(crate) fn old_password(&self) -> Option<String> {
        let password = fs::read_to_string(self.path.join("password")).ok()?;
        Some(password.trim().to_owned()).filter(|password| !password.is_empty())
    }

    /// The password; generated if there is none.
    pub(crate) fn password(&self) -> Result<String, Error> {
        if let Some(password) = self.old_password() {
            return Ok(password);
        }
        let password: String = random::bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
        write_secret(&self.path.join("password"), &password)?;
        Ok(password)
    }

    /// Empties the log, which covers one start.
    pub(crate) fn clear_log(&self) -> Result<(), Error> {
        self.log.set_len(0).map_err(Error::io("empty", self.log_path()))
    }

    /// Reads the log.
    pub(crate) fn read_log(&self) -> String {
        fs::read(self.log_path()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Paths to remove after a throw-away server has stopped.
    pub(crate) fn cleanup_paths(&self) -> Vec<PathBuf> {
        if self.durable { Vec::new() } else { vec![self.root.clone(), self.path.clone()] }
    }

    /// Paths that the watchdog removes. It runs as the server's user.
    pub(crate) fn watchdog_cleanup_paths(&self) -> Vec<PathBuf> {
        match (self.durable, &self.run_as) {
            (true, _) => Vec::new(),
            (false, RunAs::Caller) => vec![self.path.clone()],
            (false, RunAs::User { .. }) => vec![self.data()],
        }
    }

    pub(crate) fn broken(&self, problem: impl Into<String>) -> Error {
        Error::Broken { server: self.server, problem: problem.into(), folder: self.path.clone() }
    }
}

/// Creates the folder, or checks that it is one of ours.
fn prepare(path: &Path, durable: bool) -> Result<(), Error> {
    if let Ok(metadata) = fs::metadata(path) {
        let me = rustix::process::geteuid();
        if !me.is_root() && metadata.uid() != me.as_raw() {
            return Err(Error::NotYours { folder: path.to_owned(), uid: metadata.uid() });
        }
        let mut entries = fs::read_dir(path).map_err(Error::io("read", path))?;
        if entries.next().is_some() {
            if !durable {
                return Err(Error::NotEmpty { folder: path.to_owned() });
            }
            if !KNOWN_FILES.iter().any(|name| path.join(name).symlink_metadata().is_ok()) {
                return Err(Error::Foreign { folder: path.to_owned() });
            }
        }
    }
    fs::create_dir_all(path).map_err(Error::io("create", path))?;
    protect(path)
}

/// Closes a folder to other users. As root, another user must be able to pass through it.
fn protect(path: &Path) -> Result<(), Error> {
    let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io("protect", path))
}

/// Opens and locks the log. If the previous starter died, its watchdog may still be stopping the server, so this waits.
async fn lock(server: &'static str, folder: &Path) -> Result<File, Error> {
    let path = folder.join("log");
    let log =
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(Error::io("write", &path))?;
    let starter_file = folder.join("starter");
    let deadline = Instant::now() + WATCHDOG_TIMEOUT;
    loop {
        match log.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
            Err(TryLockError::WouldBlock) => {
                let starter = fs::read_to_string(&starter_file).ok().and_then(|pid| pid.trim().parse().ok());
                if starter.is_some_and(is_alive) || Instant::now() > deadline {
                    let process = in_use(folder, starter);
                    return Err(Error::InUse { server, folder: folder.to_owned(), process });
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    fs::write(&starter_file, std::process::id().to_string()).map_err(Error::io("write", &starter_file))?;
    Ok(log)
}

fn in_use(folder: &Path, starter: Option<u32>) -> String {
    let root = fs::read_link(folder.join("elsewhere")).unwrap_or_else(|_| folder.to_owned());
    let server =
        ["postmaster.pid", "redis.pid"].into_iter().find_map(|name| first_line_pid(&root.join("data").join(name)));
    let mut parts = Vec::new();
    parts.extend(server.map(|pid| format!("process {pid}")));
    parts.extend(starter.filter(|pid| is_alive(*pid)).map(|pid| format!("started by process {pid}")));
    if parts.is_empty() { "another process holds its log".to_owned() } else { parts.join(", ") }
}

/// The pid in the first line of a pid file.
pub(crate) fn first_line_pid(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()
}

/// Whether a process with this pid exists, of any user.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// Creates a new folder for the user below [`FALLBACK`], named after `wanted`.
async fn create_fallback(run_as: &RunAs, wanted: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(FALLBACK).map_err(Error::io("create", FALLBACK))?;
    let slug = wanted.to_string_lossy().replace('/', "-");
    // The path alone is not enough: removing the folder to start anew must not bring the old data back.
    let root =
        Path::new(FALLBACK).join(format!("{}-{:08x}", slug.trim_matches('-'), u32::from_be_bytes(random::bytes())));
    fs::create_dir(&root).map_err(Error::io("create", &root))?;
    protect(&root)?;
    if run_as.can_enter(&root).await {
        return Ok(root);
    }
    // The folder is empty, so no data is lost. If it cannot be removed, it does no harm.
    fs::remove_dir(&root).ok();
    Err(Error::Unreachable { user: run_as.name().to_owned(), folder: wanted.to_owned(), fallback: root })
}

/// Writes the file atomically: a password that exists is complete.
fn write_secret(path: &Path, text: &str) -> Result<(), Error> {
    let part = path.with_extension("part");
    let write = || -> io::Result<()> {
        fs::remove_file(&part).or_else(|error| (error.kind() == io::ErrorKind::NotFound).then_some(()).ok_or(error))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(Error::io("write", path))
}
