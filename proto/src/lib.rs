//! The contract of Baton: generated messages, clients and servers, and their descriptors.
//!
//! The descriptors are the source of access rules, REST routes, the OpenAPI document and gRPC reflection. prost drops
//! custom options, so they are read with `prost-reflect`: [`pool`].

#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated code; the protos carry the documentation"
)]

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub mod codec;
pub mod convert;
mod item_limits;
pub mod text;

include!(concat!(env!("OUT_DIR"), "/packages.rs"));
include!(concat!(env!("OUT_DIR"), "/validate_impl.rs"));
include!(concat!(env!("OUT_DIR"), "/text_rules.rs"));

/// The encoded `FileDescriptorSet` of all protos, imports and comments included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The descriptors of all protos, with their options.
pub fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("built with this crate"));
    &POOL
}
