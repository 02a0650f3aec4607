//! SQL. Every query names the person, or runs for the service itself.

pub(crate) mod consent;
pub(crate) mod export;
pub(crate) mod request;
