//! Harness of the black-box tests: the real `baton` binary as a process.
//!
//! [`Platform::start`] gives a test a platform with its own database and Redis. `./test` starts the Postgres server
//! (`BATON_TEST_DATABASE_URL`); without it each test process starts a private one. The tests use only what a client
//! knows: addresses, the contract, and the dev mailbox.
//!
//! Helpers panic on failure, which fails the test.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
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
pub use platform::{Platform, baton_binary, example_binary, free_address};
pub use rest::{Call, Rest, RestResponse};
pub use services::Services;

/// Timeout of [`eventually`]; generous, because a machine that runs many tests at once is slow.
const POLL_TIMEOUT: Duration = Duration::from_secs(90);

/// Polls `probe` until it returns a value, for at most 90 seconds: a busy machine is slow, and a test that passes does not wait.
pub async fn eventually<T, F, Fut>(description: &str, mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + POLL_TIMEOUT;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {POLL_TIMEOUT:?}: {description}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
