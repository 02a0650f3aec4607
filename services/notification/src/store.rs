//! All SQL of the service, a file per noun.

pub(crate) mod deletion;
pub(crate) mod notification;
