//! Use cases: what combines rules of the domain with stores and events in one transaction, and is called from more than
//! one entry (RPCs, consumed events, periodic work). It decides nothing that a rule of the domain could decide, and
//! knows neither requests nor responses.

pub(crate) mod action;
pub(crate) mod offboarding;
pub(crate) mod reindex;
pub(crate) mod scheduler;
pub(crate) mod writer;
