//! Events between services, over Redis Streams.
//!
//! ```text
//! transaction ──▶ outbox ──relay──▶ stream of the account's partition ──▶ consumer group ──▶ inbox
//!                                                                    └──▶ live tail (gateways)
//! ```
//!
//! The outbox is the truth; Redis only carries. A stream server that lost its data is noticed by the
//! missing mark of the [`relay`] and filled again; the inbox keeps effects single.

pub mod consumer;
pub mod relay;
mod streams;
pub mod tail;

pub use consumer::{Delivery, Handler};
pub use streams::Streams;
