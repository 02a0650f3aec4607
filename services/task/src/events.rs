//! Events that the service publishes, and events that it consumes.

pub(crate) mod consume;
pub(crate) mod publish;
