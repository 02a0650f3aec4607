//! Through whose hands a task goes: what a change of it means for the record of them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::task::{Task, event_kind::EventKind};

macro_rules! origins {
    ($($variant:ident $name:literal $proto:ident;)*) => {
        /// How a task came into somebody's hands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum AssignmentOrigin { $($variant,)* }

        impl AssignmentOrigin {
            /// As it is stored.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The one with this name.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// In the contract.
            pub(crate) fn to_proto(self) -> baton_proto::baton::task::v1::AssignmentOrigin {
                match self { $(Self::$variant => baton_proto::baton::task::v1::AssignmentOrigin::$proto,)* }
            }
        }
    };
}

origins! {
    Assigned "assigned" Assigned;
    Reassigned "reassigned" Reassigned;
    Delegated "delegated" Delegated;
    HandedOver "handed_over" HandedOver;
    Oneself "self" Self_;
    Returned "returned" Returned;
}

/// What a change means for the record of hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AssignmentChange {
    pub(crate) task_id: Uuid,
    /// The version of the task after it.
    pub(crate) version: i32,
    pub(crate) at: DateTime<Utc>,
    /// What becomes of the time in the hands that had it; `None` when nobody had.
    pub(crate) previous: Option<PreviousAssignment>,
    /// The time in the hands that have it now, if those are others.
    pub(crate) new: Option<NewAssignment>,
}

/// What becomes of a time in somebody's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PreviousAssignment {
    /// They agree to have it.
    Accepted(DateTime<Utc>),
    /// It is over.
    Ended,
    /// They gave it back, and may have said why.
    Rejected(Option<String>),
}

/// A time in somebody's hands, as it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewAssignment {
    pub(crate) assigned_to: Uuid,
    pub(crate) assigned_by: Uuid,
    pub(crate) origin: AssignmentOrigin,
    pub(crate) accepted_at: Option<DateTime<Utc>>,
}

impl AssignmentChange {
    /// What it means that `actor` made `before` into `after`; a new task has no before. `None` when hands have
    /// nothing to do with it.
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

    /// The same, where `origin` says what the change itself does not tell.
    pub(crate) fn with_origin(mut self, origin: Option<AssignmentOrigin>) -> Self {
        if let (Some(new), Some(origin)) = (&mut self.new, origin) {
            new.origin = origin;
        }
        self
    }
}

#[cfg(test)]
mod tests;
