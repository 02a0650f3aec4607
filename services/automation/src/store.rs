//! SQL. Every query is limited to the transaction's account.

pub(crate) mod account;
pub(crate) mod execution;
pub(crate) mod rule;
pub(crate) mod timer;
pub(crate) mod webhook;
