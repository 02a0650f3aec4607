//! All SQL of the service, one file per noun.

pub(crate) mod notification;
