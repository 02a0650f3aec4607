//! Events between services, over Redis Streams.
//!
//! ```text
//! transaction ──▶ outbox ──relay──▶ stream of the account's partition ──▶ consumer group ──▶ inbox
//!                                                                    └──▶ live tail (gateways)
//! ```
//!
//! The outbox is the source of truth; Redis only transports. The [`relay`] detects a stream server that lost its data
//! by its missing marker, and publishes the events again; the inbox deduplicates them.

pub mod consumer;
pub mod relay;
mod streams;
pub mod tail;

pub use consumer::{Delivery, Handler};
pub use streams::{CONVERSATIONS_CHANNEL, PARTITIONS, Streams, partition};
