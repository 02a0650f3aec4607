//! Facts about members and users that other services own.

pub(crate) mod internal;
pub(crate) mod tenancy;
