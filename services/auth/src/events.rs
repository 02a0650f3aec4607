//! Events out. The service consumes none.

pub(crate) mod publish;
