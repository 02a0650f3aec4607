//! Tests of live updates, with real auth and tenancy. The task service is fake: its events come from an outbox and a
//! relay in schema `task`, and the test decides who may see which task.

#![allow(clippy::disallowed_methods, reason = "tests use the machine's clock and clients of their own")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod fixture;

mod access_changes;
mod boards;
mod connection;
mod conversation_channel;
mod limits;
mod notification_channel;
mod outage;
mod presence;
mod resume;
mod task_channel;
mod watch;
