//! Through whose hands a task goes: what a change of it means for the record of them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{events::Kind, task::Task};

macro_rules! how {
    ($($variant:ident $name:literal $proto:ident;)*) => {
        /// How a task came into somebody's hands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum How { $($variant,)* }

        impl How {
            /// As it is stored.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The one with this name.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// In the contract.
            pub(crate) fn to_proto(self) -> baton_proto::baton::task::v1::AssignmentHow {
                match self { $(Self::$variant => baton_proto::baton::task::v1::AssignmentHow::$proto,)* }
            }
        }
    };
}

how! {
    Assigned "assigned" Assigned;
    Reassigned "reassigned" Reassigned;
    Delegated "delegated" Delegated;
    HandedOver "handed_over" HandedOver;
    Oneself "self" Self_;
    Returned "returned" Returned;
}

/// What a change means for the record of hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passing {
    pub(crate) task_id: Uuid,
    /// The version of the task after it.
    pub(crate) version: i32,
    pub(crate) at: DateTime<Utc>,
    /// What becomes of the time in the hands that had it; `None` when nobody had.
    pub(crate) was: Option<Was>,
    /// The time in the hands that have it now, if those are others.
    pub(crate) begun: Option<Begun>,
}

/// What becomes of a time in somebody's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Was {
    /// They agree to have it.
    Accepted(DateTime<Utc>),
    /// It is over.
    Ended,
    /// They gave it back, and may have said why.
    Rejected(Option<String>),
}

/// A time in somebody's hands, as it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) assigned_to: Uuid,
    pub(crate) assigned_by: Uuid,
    pub(crate) how: How,
    pub(crate) accepted_at: Option<DateTime<Utc>>,
}

impl Passing {
    /// What it means that `actor` made `before` into `after`; a new task has no before. `None` when hands have
    /// nothing to do with it.
    pub(crate) fn of(
        before: Option<&Task>,
        after: &Task,
        kind: Kind,
        actor: Uuid,
        reason: Option<&str>,
    ) -> Option<Self> {
        let had = before.and_then(|task| task.assigned_to);
        let was = match (had, before.and_then(|task| task.accepted_at), after.accepted_at) {
            (None, ..) => None,
            (Some(_), ..) if had != after.assigned_to && kind == Kind::Rejected => {
                Some(Was::Rejected(reason.map(str::to_owned)))
            }
            (Some(_), ..) if had != after.assigned_to => Some(Was::Ended),
            (Some(_), None, Some(at)) => Some(Was::Accepted(at)),
            _ => None,
        };
        let begun = after.assigned_to.filter(|_| had != after.assigned_to).map(|holder| Begun {
            assigned_to: holder,
            assigned_by: actor,
            how: match (kind, had) {
                (Kind::Rejected, _) => How::Returned,
                (Kind::Reassigned, _) => How::Reassigned,
                (_, Some(had)) if had == actor => How::Delegated,
                (_, Some(_)) => How::Reassigned,
                (_, None) if holder == actor => How::Oneself,
                (_, None) => How::Assigned,
            },
            accepted_at: after.accepted_at,
        });
        let changes = was.is_some() || begun.is_some();
        changes.then_some(Self { task_id: after.id, version: after.version, at: after.updated_at, was, begun })
    }

    /// The same, where `how` says what the change itself does not tell.
    pub(crate) fn by(mut self, how: Option<How>) -> Self {
        if let (Some(begun), Some(how)) = (&mut self.begun, how) {
            begun.how = how;
        }
        self
    }
}

#[cfg(test)]
mod tests;
