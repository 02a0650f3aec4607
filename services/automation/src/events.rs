//! Events: those that the service publishes, and those that it consumes.

pub(crate) mod consume;
pub(crate) mod publish;
