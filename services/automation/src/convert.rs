//! Conversions between the domain and the contract.

pub(crate) mod event;
pub(crate) mod execution;
pub(crate) mod history;
pub(crate) mod rule;
pub(crate) mod task;
