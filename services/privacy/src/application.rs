//! The use cases that are more than a call.

pub(crate) mod consents;
pub(crate) mod erasure;
pub(crate) mod export;
pub(crate) mod members;
pub(crate) mod profiles;
pub(crate) mod pseudonyms;
pub(crate) mod replay;
pub(crate) mod transparency;
pub(crate) mod withdrawals;
