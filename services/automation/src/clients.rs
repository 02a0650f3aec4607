//! Calls to other services.

pub(crate) mod memberships;
pub(crate) mod task;
