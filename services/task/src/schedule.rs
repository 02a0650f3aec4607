//! Work that a time triggers: due dates, reminders, and recurring tasks.

pub(crate) mod follow_ups;
pub(crate) mod series;
pub(crate) mod timer;
