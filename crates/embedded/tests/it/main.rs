//! Tests with real servers from the binaries of this machine. As root the servers run as an unprivileged user; the
//! tests support both.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod postgres;
mod redis;
mod watchdog;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use baton_embedded::{Options, Postgres, PostgresBinaries, Redis, RedisBinary};
use tokio::time::{Instant, sleep};

/// A folder that any user can pass through. Not in TMPDIR, which may be private to a user.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

async fn start_postgres(dir: &Path, options: Options) -> Postgres {
    Postgres::start(&PostgresBinaries::find().unwrap(), dir, options).await.unwrap()
}

async fn postgres_error(dir: &Path, options: Options) -> String {
    let error = Postgres::start(&PostgresBinaries::find().unwrap(), dir, options).await.unwrap_err().to_string();
    assert!(!error.contains('\n'), "not one line: {error}");
    error
}

async fn start_redis(dir: &Path, options: Options) -> Redis {
    Redis::start(&RedisBinary::find().unwrap(), dir, options).await.unwrap()
}

fn am_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Waits until the condition is true, for at most 20 seconds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "timeout: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
