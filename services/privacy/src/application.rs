//! The use cases that are more than a call.

pub(crate) mod consents;
pub(crate) mod export;
