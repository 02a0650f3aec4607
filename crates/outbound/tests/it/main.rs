//! Tests with real sockets, of what the client calls and within which bounds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

mod bounds;
mod guard;
mod http;
mod properties;
mod proxy;
mod receiver;
mod redirects;
mod registry;
mod resolution;
mod signing;
#[path = "../../../../tests/clients/standard_webhooks.rs"]
mod standard_webhooks;
mod tls;
