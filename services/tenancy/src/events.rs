//! Events in and out: the consumer of all services' events, and the events of this service.

pub(crate) mod consume;
pub(crate) mod publish;
