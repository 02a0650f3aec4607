//! The notification service on a real Postgres and Redis, with the real auth and tenancy. The task service
//! is played by an outbox and a relay of schema `task`: what it publishes is what it would.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod stage;

mod being_told;
mod deleted_accounts;
mod lost_streams;
mod once;
mod poison;
mod strangers;
mod tidying;
