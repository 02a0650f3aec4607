//! All SQL of the service, a file per noun.

pub(crate) mod session;
pub(crate) mod user;
