//! All SQL of the service, a file per noun.

pub(crate) mod deletion;
pub(crate) mod hand_over;
pub(crate) mod list;
pub(crate) mod task;
pub(crate) mod timeline;
pub(crate) mod usage;
