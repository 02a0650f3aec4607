//! The environment of service tests.
//!
//! [`TestContext::start`] gives a test its own database and Redis, with the real auth and tenancy services
//! running on free ports. Tests share only the Postgres server, which `./test` starts once (`BATON_TEST_DATABASE_URL`);
//! without it each test process starts a private one.
//!
//! Helpers panic on failure, which fails the test.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic fails the test")]

pub mod database;
mod people;
mod test_context;

use std::time::{Duration, Instant};

use baton_catalog::Payload;
use baton_proto::baton::events::v1::Envelope;
use baton_store::Event;
use prost::Name;
use prost_types::Any;
use uuid::Uuid;

pub use baton_errors::reason_of as reason;
pub use people::{PASSWORD, Person, Team};
pub use test_context::TestContext;

/// The event with this type name and payload.
pub fn event(kind: &str, account_id: Uuid, subject_id: Uuid, payload: &impl Name) -> Event {
    let payload = Any::from_msg(payload).expect("a message of the contract");
    let envelope = Envelope { r#type: kind.to_owned(), payload: Some(payload), ..Envelope::default() };
    let payload = Payload::decode(&envelope).expect("the type's payload").expect("a type of the catalogue");
    Event::new(payload, account_id, subject_id)
}

/// Polls `probe` until it returns a value, for at most a minute: a busy machine is slow, and a test that passes does not wait.
pub async fn eventually<T, F, Fut>(mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen within a minute");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
