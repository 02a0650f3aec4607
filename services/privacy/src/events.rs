//! Events that the service consumes.

pub(crate) mod consume;
