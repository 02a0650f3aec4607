//! What happens at a time: due dates, reminders, and tasks that come again.

pub(crate) mod ahead;
pub(crate) mod recurrence;
pub(crate) mod scheduler;
pub(crate) mod series;
