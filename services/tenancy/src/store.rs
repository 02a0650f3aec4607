//! All SQL of the service, a file per noun.

pub(crate) mod account;
pub(crate) mod member;
