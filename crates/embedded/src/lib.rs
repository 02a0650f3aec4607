//! A private Postgres and Redis from local binaries.
//!
//! `baton up` keeps its data in them; tests discard theirs. This crate never touches a server that it did not start.
//!
//! ```no_run
//! # async fn example() -> Result<(), baton_embedded::Error> {
//! use baton_embedded::{Options, Postgres, PostgresBinaries};
//!
//! let binaries = PostgresBinaries::find()?;
//! let postgres = Postgres::start(&binaries, ".baton/postgres".as_ref(), Options::kept()).await?;
//! println!("{}", postgres.url("postgres", "postgres"));
//! postgres.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Safety of data and processes
//!
//! - **Authentication.** A server listens on a free port of 127.0.0.1 and requires a password (SCRAM in Postgres): 256
//!   random bits, stored in a file of mode 0600. A unix socket inside a 0700 folder would need no password, but its path
//!   is limited to 107 bytes, which a clone in nested folders or a macOS temp folder exceeds. Any client library can
//!   speak TCP, also from a container.
//! - **User.** The server runs as the caller. Postgres refuses to run as root, so as root it runs as an unprivileged
//!   user: the owner of existing data, else `postgres`, else `nobody`. If that user cannot enter the folder (a clone
//!   below `/root`), the data is stored under `/var/lib/baton`, and a link named `elsewhere` points there.
//! - **Shutdown.** [`Postgres::stop`] and [`Redis::stop`] shut a server down in order. If the caller ends otherwise
//!   (`kill -9`, a panic, a drop), a pipe closes, and a watchdog process next to the server (`watchdog.sh`) stops it. A
//!   Ctrl-C in the terminal does not reach the servers, because they are in a process group of their own.
//! - **One server per folder.** The log file is locked, and the server inherits the lock. So the lock is held exactly
//!   as long as a process of the server lives, however it ends. A `postmaster.pid` that a crash left behind is removed
//!   only under that lock, and only if its process is not Postgres in that folder.

mod binaries;
mod data_dir;
mod error;
mod postgres;
mod redis;
mod run_as;
mod scram;
mod server;

pub use crate::{
    binaries::{PostgresBinaries, RedisBinary},
    error::Error,
    postgres::Postgres,
    redis::Redis,
};

/// Durability of a server's data, and its connection limit.
#[derive(Debug, Clone)]
pub struct Options {
    /// True: the data outlives the server, and commits survive a crash. False: the server trades all durability for
    /// speed, and its folder, which must be empty or absent at the start, is removed at the end, even if the caller is
    /// killed.
    pub durable: bool,
    /// Maximum number of connections.
    pub max_connections: u32,
}

impl Options {
    /// Durable data, kept for the next start.
    pub fn kept() -> Self {
        Self { durable: true, max_connections: 200 }
    }

    /// Data for one run, such as a test.
    pub fn throw_away() -> Self {
        Self { durable: false, max_connections: 200 }
    }
}
