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

use std::sync::{
    LazyLock,
    atomic::{AtomicBool, Ordering},
};

use prost_reflect::DescriptorPool;

pub mod codec;
pub mod convert;
mod item_limits;
pub mod text;

include!(concat!(env!("OUT_DIR"), "/packages.rs"));
include!(concat!(env!("OUT_DIR"), "/validate_impl.rs"));
include!(concat!(env!("OUT_DIR"), "/text_rules.rs"));

/// The encoded `FileDescriptorSet` of the product's protos, imports and comments included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Those of the example service.
const EXAMPLE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/example.bin"));

static INCLUDES_EXAMPLE: AtomicBool = AtomicBool::new(false);

/// Adds the contract of the example service (`tests/example`) to [`pool`]. It has an effect before the first use of the
/// pool only.
pub fn include_example() {
    INCLUDES_EXAMPLE.store(true, Ordering::Relaxed);
}

/// The descriptors of all protos, with their options.
pub fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        let mut pool = DescriptorPool::decode(DESCRIPTORS).expect("built with this crate");
        if INCLUDES_EXAMPLE.load(Ordering::Relaxed) {
            pool.decode_file_descriptor_set(EXAMPLE_DESCRIPTORS).expect("built with this crate");
        }
        pool
    });
    &POOL
}
