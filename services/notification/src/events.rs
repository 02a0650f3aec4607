//! Events in and out: the handler of other services' events, and the events of this service.

mod consume;
mod publish;

pub(crate) use consume::Handler;
pub(crate) use publish::{notification_created, notification_deleted, notification_read, notifications_read};
