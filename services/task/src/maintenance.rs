//! Maintenance: periodic clean-up, and the operator's checks of logs and counters (`baton task`, `baton quota`).

pub mod attachment_gc;
pub mod log_check;
pub mod quota_counters;
pub(crate) mod trash_purge;
