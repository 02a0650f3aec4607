//! A platform to test from outside: the real `baton` binary as a process of its own.
//!
//! [`Platform::start`] gives a test a whole platform with its own database and Redis. The Postgres server is
//! the one that `./test` started (`BATON_TEST_DATABASE_URL`); without it each test process starts a private one.
//! The tests know of Baton what a client knows: addresses, the contract, and the dev mailbox.
//!
//! A helper that fails panics: it is the test that failed.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::print_stderr,
    reason = "a panic fails the test, and tells why"
)]

pub mod files;
pub mod grpc;
pub mod grpc_web;
mod meter;
mod node;
mod people;
mod platform;
mod rest;
mod servers;
mod services;

use std::time::{Duration, Instant};

pub use grpc_web::GrpcWeb;
pub use meter::Meter;
pub use node::{Node, run_node};
pub use people::{PASSWORD, Person, Team};
pub use platform::{Platform, baton_binary, free_address};
pub use rest::{Call, Rest, RestResponse};
pub use services::Services;

/// What does not happen by then counts as not happening.
const PATIENCE: Duration = Duration::from_secs(45);

/// Polls until `look` finds something, for at most 45 seconds: a machine that runs many tests at once takes its time.
pub async fn eventually<T, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
