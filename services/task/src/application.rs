//! Use cases: operations that combine rules of the domain with stores and events in one transaction, for RPCs, consumed
//! events and periodic work. They decide nothing that a rule of the domain could decide, and know neither requests nor
//! responses.

pub(crate) mod action;
pub(crate) mod erasure;
pub(crate) mod offboarding;
pub(crate) mod reindex;
pub(crate) mod scheduler;
pub(crate) mod writer;
