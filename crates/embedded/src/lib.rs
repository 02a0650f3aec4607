//! A private Postgres and Redis from local binaries.
//!
//! `baton up` keeps its data with them, the tests throw theirs away. Neither ever touches a server that it
//! did not start.
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
//! # How it is kept safe
//!
//! - **Who may connect.** A server listens on a free port of 127.0.0.1 and asks for a password (SCRAM in
//!   Postgres), random, 256 bits, kept in a file of mode 0600. A unix socket inside a 0700 folder would need
//!   no password, but its path may have 107 bytes, which a clone a few folders deep or a macOS temp folder
//!   exceeds; and any client library, a container's too, can speak TCP.
//! - **Who runs it.** The caller; but as root an unprivileged user, as Postgres refuses root: the one that
//!   owns the data already, else `postgres`, else `nobody`. If that user cannot enter the folder (a clone
//!   below `/root`), the data is kept under `/var/lib/baton` and a link named `elsewhere` says where.
//! - **When it ends.** [`Postgres::stop`] and [`Redis::stop`] end it in order. However else the caller ends
//!   (`kill -9`, a panic, a drop), a pipe closes, and a small watcher beside the server (`watchdog.sh`) sees
//!   that and stops it. A Ctrl-C in the terminal does not reach the servers: they are no part of its process group.
//! - **One server per folder.** The log file is locked, and the server inherits the lock; so it is held exactly
//!   as long as a process of it lives, however that ends. A `postmaster.pid` that stayed behind a crash is
//!   removed only under that lock, and only if the process in it is not Postgres in that folder.

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

/// How a server treats its data, and how many clients it takes.
#[derive(Debug, Clone)]
pub struct Options {
    /// True: the data outlives the server, and what was committed outlives a crash. False: the server skips
    /// every precaution for speed, and its folder, which must be empty or absent at the start, is removed at
    /// the end, also when the caller is killed.
    pub durable: bool,
    /// Connections at a time.
    pub max_connections: u32,
}

impl Options {
    /// Data that is there again after the next start.
    pub fn kept() -> Self {
        Self { durable: true, max_connections: 200 }
    }

    /// Data for one run: a test's.
    pub fn throw_away() -> Self {
        Self { durable: false, max_connections: 200 }
    }
}
