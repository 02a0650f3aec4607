//! Calls to other services.

pub(crate) mod limits;
pub(crate) mod task;
