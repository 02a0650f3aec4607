//! A world for service tests.
//!
//! [`TestContext::start`] gives a test its own database and Redis, with the real auth and tenancy services
//! running on free ports. Nothing is shared between worlds but the Postgres server, which `./test` starts
//! once (`BATON_TEST_DATABASE_URL`); without it each test process starts a private one.
//!
//! A helper that fails panics: it is the test that failed.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic fails the test")]

pub mod database;
mod people;
mod test_context;

use std::time::{Duration, Instant};

pub use baton_errors::reason_of as reason;
pub use people::{PASSWORD, Person, Team};
pub use test_context::TestContext;

/// Polls until `look` finds something, for at most ten seconds.
pub async fn eventually<T, F, Fut>(mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen within ten seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
