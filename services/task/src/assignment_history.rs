//! Assignment history: which row a change closes and which it opens.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::task::{Task, event_kind::EventKind};

macro_rules! origins {
    ($($variant:ident $name:literal;)*) => {
        /// How a task came to its holder.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum AssignmentOrigin { $($variant,)* }

        impl AssignmentOrigin {
            /// The stored name.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The origin with this name.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

origins! {
    Assigned "assigned";
    Reassigned "reassigned";
    Delegated "delegated";
    HandedOver "handed_over";
    Oneself "self";
    Returned "returned";
}

/// An assignment of the history: a task and one of its holders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) id: Uuid,
    /// The task's version at the assignment.
    pub(crate) version: i32,
    pub(crate) assigned_to: Uuid,
    pub(crate) assigned_by: Uuid,
    /// `None` for an origin that this release does not know.
    pub(crate) origin: Option<AssignmentOrigin>,
    pub(crate) assigned_at: DateTime<Utc>,
    pub(crate) accepted_at: Option<DateTime<Utc>>,
    pub(crate) rejected_at: Option<DateTime<Utc>>,
    pub(crate) rejection_reason: Option<String>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

/// Effect of a task change on its assignment history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AssignmentChange {
    pub(crate) task_id: Uuid,
    /// The task's version after the change.
    pub(crate) version: i32,
    pub(crate) at: DateTime<Utc>,
    /// Effect on the open row; `None` without one, or without an effect.
    pub(crate) previous: Option<PreviousAssignment>,
    /// The row to open, when the holder changes.
    pub(crate) new: Option<NewAssignment>,
}

/// Effect on the row of the previous holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PreviousAssignment {
    /// The holder accepts the task; the row stays open.
    Accepted(DateTime<Utc>),
    /// The row is closed.
    Ended,
    /// The row is closed by a rejection, with an optional reason.
    Rejected(Option<String>),
}

/// A row to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewAssignment {
    pub(crate) assigned_to: Uuid,
    pub(crate) assigned_by: Uuid,
    pub(crate) origin: AssignmentOrigin,
    pub(crate) accepted_at: Option<DateTime<Utc>>,
}

impl AssignmentChange {
    /// Effect of the change from `before` to `after` by `actor`; a new task has no `before`. `None` when the assignment
    /// is unaffected.
    pub(crate) fn of(
        before: Option<&Task>,
        after: &Task,
        kind: EventKind,
        actor: Uuid,
        reason: Option<&str>,
    ) -> Option<Self> {
        let had = before.and_then(|task| task.assigned_to);
        let previous = match (had, before.and_then(|task| task.accepted_at), after.accepted_at) {
            (None, ..) => None,
            (Some(_), ..) if had != after.assigned_to && kind == EventKind::Rejected => {
                Some(PreviousAssignment::Rejected(reason.map(str::to_owned)))
            }
            (Some(_), ..) if had != after.assigned_to => Some(PreviousAssignment::Ended),
            (Some(_), None, Some(at)) => Some(PreviousAssignment::Accepted(at)),
            _ => None,
        };
        let new = after.assigned_to.filter(|_| had != after.assigned_to).map(|holder| NewAssignment {
            assigned_to: holder,
            assigned_by: actor,
            origin: match (kind, had) {
                (EventKind::Rejected, _) => AssignmentOrigin::Returned,
                (EventKind::Reassigned, _) => AssignmentOrigin::Reassigned,
                (_, Some(had)) if had == actor => AssignmentOrigin::Delegated,
                (_, Some(_)) => AssignmentOrigin::Reassigned,
                (_, None) if holder == actor => AssignmentOrigin::Oneself,
                (_, None) => AssignmentOrigin::Assigned,
            },
            accepted_at: after.accepted_at,
        });
        let changes = previous.is_some() || new.is_some();
        changes.then_some(Self { task_id: after.id, version: after.version, at: after.updated_at, previous, new })
    }

    /// Replaces the origin of the new row.
    pub(crate) fn with_origin(mut self, origin: Option<AssignmentOrigin>) -> Self {
        if let (Some(new), Some(origin)) = (&mut self.new, origin) {
            new.origin = origin;
        }
        self
    }
}

#[cfg(test)]
mod tests;
