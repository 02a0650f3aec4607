//! Periodic work: retention, and the rotation of signing keys.

pub(crate) mod retention;
pub(crate) mod signing_keys;
