//! Periodic work: expiry, the end of grace periods, and the activity log's partitions.

pub(crate) mod activity_log;
pub(crate) mod checkpoints;
pub(crate) mod expiry;
pub(crate) mod payment_grace;
