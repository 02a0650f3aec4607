//! The notification service on a real Postgres and Redis, with the real auth and tenancy services. An outbox and a
//! relay in schema `task` stand in for the task service: they publish the events that it would publish.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod fixture;

mod account_deletion;
mod conversation_updates;
mod dead_letters;
mod duplicate_events;
mod isolation;
mod messages;
mod notifications;
mod recipients;
mod redis_data_loss;
mod retention;
