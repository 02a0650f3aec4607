//! SQL. Every query names the person, or runs for the service itself.

pub(crate) mod breach;
pub(crate) mod budget;
pub(crate) mod consent;
pub(crate) mod erasure;
pub(crate) mod export;
pub(crate) mod legal_hold;
pub(crate) mod policy;
pub(crate) mod receipt;
pub(crate) mod request;
pub(crate) mod reveal;
pub(crate) mod transparency;
