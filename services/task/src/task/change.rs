//! A change of a task, and what restricts it.

use baton_access::Membership;

use crate::task::{Task, event_kind::EventKind};

/// Settings and limits that restrict members.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AccountPolicy {
    /// Maximum number of open tasks that a member has created; `None` for no limit.
    pub(crate) open_tasks: Option<i32>,
    /// Whether a worker has at most one running task.
    pub(crate) one_running_timer: bool,
}

impl AccountPolicy {
    /// The policy of this member.
    pub(crate) fn of(membership: &Membership) -> Self {
        Self {
            open_tasks: membership.limits.open_tasks_per_user,
            one_running_timer: membership.settings.one_running_timer,
        }
    }
}

/// A change of a locked task.
#[derive(Debug, Clone)]
pub(crate) struct AppliedChange {
    pub(crate) before: Task,
    pub(crate) after: Task,
    pub(crate) kind: EventKind,
    pub(crate) reason: Option<String>,
}
