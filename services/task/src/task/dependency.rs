//! Dependencies. They state an order of work and prevent nothing; conflicts are reported.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::task::{Status, Visibility};

/// Maximum number of tasks that a task depends on, and that depend on a task.
pub(crate) const MAX_LINKS: i64 = 100;
/// Maximum number of direct and indirect blockers that cycle detection visits.
pub(crate) const MAX_ANCESTORS: i64 = 10_000;

/// The task on the other side of a dependency.
#[derive(Debug, Clone)]
pub(crate) struct LinkedTask {
    /// Whether the other task is the blocked one; otherwise it is the blocker.
    pub(crate) waits: bool,
    pub(crate) linked_at: DateTime<Utc>,
    pub(crate) id: Uuid,
    pub(crate) title: String,
    pub(crate) status: Status,
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) created_by: Uuid,
    pub(crate) assigned_to: Option<Uuid>,
    pub(crate) visibility: Visibility,
}

/// A conflict of due times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The task is due before its blocker.
    DueBeforeBlocker,
    /// The blocker is overdue.
    BlockerOverdue,
}

/// State and due time of a task.
pub(crate) type Side = (Status, Option<DateTime<Utc>>);

/// Conflicts between the due times of a task and its blocker. Closed tasks have none.
pub(crate) fn conflicts(task: Side, blocker: Side, now: DateTime<Utc>) -> Vec<Conflict> {
    let ((status, due_at), (blocker_status, blocker_due_at)) = (task, blocker);
    let Some(blocker_due_at) = blocker_due_at.filter(|_| status.is_open() && blocker_status.is_open()) else {
        return Vec::new();
    };
    let before = due_at.is_some_and(|due_at| due_at < blocker_due_at).then_some(Conflict::DueBeforeBlocker);
    let late = (blocker_due_at < now).then_some(Conflict::BlockerOverdue);
    before.into_iter().chain(late).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::at;

    #[test]
    fn due_times_conflict_when_the_blocker_is_later_or_overdue() {
        use Conflict::{BlockerOverdue, DueBeforeBlocker};
        use Status::{Completed, Paused, Pending};
        for (task, blocker, expected) in [
            ((Pending, Some(at(20))), (Pending, Some(at(15))), &[][..]),
            ((Pending, Some(at(20))), (Pending, Some(at(20))), &[]),
            ((Pending, Some(at(15))), (Paused, Some(at(20))), &[DueBeforeBlocker]),
            ((Pending, None), (Pending, Some(at(5))), &[BlockerOverdue]),
            ((Pending, Some(at(4))), (Pending, Some(at(5))), &[DueBeforeBlocker, BlockerOverdue]),
            ((Pending, Some(at(1))), (Pending, None), &[]),
            ((Pending, Some(at(1))), (Completed, Some(at(5))), &[]),
            ((Completed, Some(at(1))), (Pending, Some(at(5))), &[]),
        ] {
            assert_eq!(conflicts(task, blocker, at(10)), expected, "{task:?} waits for {blocker:?}");
        }
    }
}
