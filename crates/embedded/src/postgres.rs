//! A private Postgres.

use baton_runtime::random;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use tokio::process::Command;

use crate::{
    Error, Options, PostgresBinaries,
    data_dir::{DataDir, first_line_pid, is_alive},
    scram::verifier,
    server::{Launch, Server, failure_reason, prepare_command},
};

/// Line of `postmaster.pid` with the server's status, from 0 (`LOCK_FILE_LINE_PM_STATUS` in Postgres' source).
const STATUS_LINE: usize = 7;

/// A private Postgres on 127.0.0.1.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    port: u16,
    password: String,
    data_dir: PathBuf,
}

impl Postgres {
    /// The superuser role. It exists from the start, like the database of the same name.
    pub const SUPERUSER: &str = "postgres";

    /// Starts a server with its data in `dir`, which is created if it is missing, and waits until it accepts
    /// connections.
    pub async fn start(binaries: &PostgresBinaries, dir: &Path, options: Options) -> Result<Self, Error> {
        let folder = DataDir::open("Postgres", dir, &["postgres", "_postgres", "nobody"], &options).await?;
        let data = folder.data();
        let password = if data.exists() {
            check_data(&folder, binaries)?;
            remove_stale_pid_file(&folder)?;
            folder.old_password().ok_or_else(|| folder.broken("its file named password is missing or empty"))?
        } else {
            let password = folder.password()?;
            initialize(&folder, binaries, &password).await?;
            password
        };
        let launch = |port| {
            let mut arguments = vec!["-D".into(), data.clone().into()];
            for (name, value) in settings(port, &options) {
                arguments.extend(["-c".into(), format!("{name}={value}").into()]);
            }
            Ok(Launch { program: binaries.bin_dir.join("postgres"), arguments })
        };
        let (server, port) = Server::start(&folder, launch, async |pid, _| is_ready(&data, pid)).await?;
        Ok(Self { server, port, password, data_dir: data })
    }

    /// The URL of a database for a role; both are plain identifiers. It is valid for the superuser, and for roles that
    /// were created with [`Postgres::role_password`].
    pub fn url(&self, database: &str, user: &str) -> String {
        format!("postgres://{user}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The password in every URL.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The text to quote after `PASSWORD` in `CREATE ROLE` or `ALTER ROLE`, so that [`Postgres::url`] is valid for the
    /// role: the SCRAM verifier of the password, with one iteration so that logins are fast.
    pub fn role_password(&self) -> String {
        verifier(&self.password, random::bytes())
    }

    /// The port on 127.0.0.1; a different one at each start.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The pid, until the server has ended.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// The data folder: in the folder given to [`Postgres::start`], or in the fallback folder if its user cannot enter
    /// that.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Resolves when the server has ended on its own. Cancel-safe.
    pub async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.server.exited().await
    }

    /// Performs a fast shutdown: rolls back transactions, disconnects clients, writes data. Takes at most 9 seconds.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

fn settings(port: u16, options: &Options) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("unix_socket_directories", String::new()),
        ("max_connections", options.max_connections.to_string()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
        // The readiness check and error messages read our log, so the server must log to it.
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        // The details of an error quote values: `Key (email_key)=(ada@example.com) already exists`.
        ("log_error_verbosity", "terse".to_owned()),
    ];
    if !options.durable {
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            settings.push((name, "off".to_owned()));
        }
        settings.push(("wal_level", "minimal".to_owned()));
        settings.push(("max_wal_senders", "0".to_owned()));
    }
    settings
}

/// Creates a new cluster next to its final path, and moves it there when it is complete. So an interrupted `initdb`
/// leaves nothing that looks like data.
async fn initialize(folder: &DataDir, binaries: &PostgresBinaries, password: &str) -> Result<(), Error> {
    let program = binaries.bin_dir.join("initdb");
    let new = folder.create("data.new")?;
    let password_file = folder.write_secret("initdb-password", &verifier(password, random::bytes()))?;
    folder.clear_log()?;
    let cannot = |source| Error::Io { doing: "run", path: program.clone(), source };
    let mut command = Command::new(&program);
    command
        .arg("--pgdata")
        .arg(&new)
        .arg("--pwfile")
        .arg(&password_file)
        .args(["--username", Postgres::SUPERUSER, "--auth", "scram-sha-256", "--encoding", "UTF8"])
        // macOS has no C.UTF-8; plain C does not know the upper case of é.
        .args(["--locale", if cfg!(target_os = "linux") { "C.UTF-8" } else { "en_US.UTF-8" }])
        .args(if folder.durable { &[][..] } else { &["--no-sync"] })
        .stdin(std::process::Stdio::null())
        .stdout(folder.log.try_clone().map_err(cannot)?)
        .stderr(folder.log.try_clone().map_err(cannot)?)
        .process_group(0)
        .kill_on_drop(true);
    let outcome = prepare_command(folder, &mut command).status().await;
    fs::remove_file(&password_file).map_err(Error::io("remove", &password_file))?;
    if !outcome.map_err(cannot)?.success() {
        let log = folder.read_log();
        let reason = failure_reason(&log).unwrap_or("initdb failed").to_owned();
        let (log, folder, server) = (folder.log_path(), folder.path.clone(), folder.server);
        return Err(Error::DidNotStart { server, reason, log, folder });
    }
    let data = folder.data();
    fs::rename(&new, &data).map_err(Error::io("create", data))
}

/// Checks for problems that Postgres itself would report less clearly.
fn check_data(folder: &DataDir, binaries: &PostgresBinaries) -> Result<(), Error> {
    let data = folder.data();
    let version_file = data.join("PG_VERSION");
    let found = match fs::read_to_string(&version_file) {
        Ok(found) => found.trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(folder.broken(format!("{} is missing", version_file.display())));
        }
        Err(error) => return Err(Error::io("read", version_file)(error)),
    };
    if found != binaries.major.to_string() {
        let (folder, bin_dir) = (folder.path.clone(), binaries.bin_dir.clone());
        return Err(Error::WrongVersion { folder, found, bin_dir, have: binaries.major });
    }
    let control_file = data.join("global/pg_control");
    if !control_file.exists() {
        return Err(folder.broken(format!("{} is missing", control_file.display())));
    }
    Ok(())
}

/// Removes the pid file of a crashed server. The lock on the log proves that no server of ours lives. But someone may
/// have started one by hand, which is refused. And the pid may belong to another program now (in a container that
/// happens at once), for which Postgres would refuse to start.
fn remove_stale_pid_file(folder: &DataDir) -> Result<(), Error> {
    let data = folder.data();
    let pid_file = data.join("postmaster.pid");
    if !pid_file.exists() {
        return Ok(());
    }
    if let Some(pid) = first_line_pid(&pid_file)
        && is_alive(pid)
        && is_postgres_in(pid, &data)
    {
        let process = format!("process {pid}");
        return Err(Error::InUse { server: folder.server, folder: folder.path.clone(), process });
    }
    fs::remove_file(&pid_file).map_err(Error::io("remove", &pid_file))
}

/// Whether the process is a Postgres in this data folder, which is its working directory. If that cannot be read, the
/// process name decides, and in doubt the result is true.
fn is_postgres_in(pid: u32, data: &Path) -> bool {
    if let Ok(working_dir) = fs::read_link(format!("/proc/{pid}/cwd")) {
        return working_dir == data;
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).or_else(|_| {
        let output = std::process::Command::new("ps").args(["-o", "comm=", "-p", &pid.to_string()]).output()?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&output.stdout).into_owned())
    });
    name.map_or(true, |name| name.contains("postgres") || name.contains("postmaster"))
}

fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let is_ours = text.lines().next().is_some_and(|line| line.trim() == pid.to_string());
    is_ours && text.lines().nth(STATUS_LINE).is_some_and(|line| line.trim() == "ready")
}
