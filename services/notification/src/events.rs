//! Events in and out: the handler of other services' events, and the events of this service.

mod consume;
pub(crate) mod publish;

pub(crate) use consume::Handler;
