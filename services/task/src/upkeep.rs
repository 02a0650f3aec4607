//! What keeps the service's house in order: what is gone for good, and what an operator can have counted anew.

pub(crate) mod deletion;
pub mod rebuild;
pub mod storage;
pub(crate) mod trash;
pub mod usage;
