//! The automation service on a real Postgres and Redis, with the real auth, tenancy, task and notification services.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod fixture;
#[path = "../../../../tests/clients/standard_webhooks.rs"]
mod standard_webhooks;

mod actions;
mod backtests;
mod dry_runs;
mod for_seconds;
mod history;
mod interruptions;
mod limits;
mod rights;
mod rights_property;
mod rules;
mod schedules;
mod webhooks;
