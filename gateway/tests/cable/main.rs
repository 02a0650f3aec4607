//! The WebSocket of the real gateway, with the real auth and tenancy behind it. The task service is played:
//! its events come from an outbox and a relay of schema `task`, and who sees which task is up to the test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod stage;

mod connecting;
mod following_tasks;
mod hearing_notifications;
mod losing_access;
mod too_much;
