//! The events that the service publishes, and keeps in timelines.

use baton_proto::baton::{
    task::v1::{TaskEvent, TaskEventKind},
    tenancy::v1::{Quota, UsageChanged},
};
use baton_store::Event;
use uuid::Uuid;

use crate::{convert::to_status, task::Task};

macro_rules! kinds {
    ($($variant:ident $name:literal;)*) => {
        /// What can happen to a task.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind { $($variant,)* }

        impl Kind {
            /// The kind as timelines keep it.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The kind with this name.
            pub(crate) fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// The type of the event: `task.created`.
            pub(crate) fn event_type(self) -> &'static str {
                match self { $(Self::$variant => concat!("task.", $name),)* }
            }

            /// The kind in the contract.
            pub(crate) fn to_proto(self) -> TaskEventKind {
                match self { $(Self::$variant => TaskEventKind::$variant,)* }
            }
        }
    };
}

kinds! {
    Created "created";
    Updated "updated";
    Deleted "deleted";
    Started "started";
    Paused "paused";
    Resumed "resumed";
    Completed "completed";
    Assigned "assigned";
    Reassigned "reassigned";
    Accepted "accepted";
    Rejected "rejected";
}

/// `kind` happened to a task, which made `before` into `after`. A new task has no before.
pub(crate) fn task(kind: Kind, before: Option<&Task>, after: &Task, changed_fields: Vec<String>) -> Event {
    let or_empty = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let event = TaskEvent {
        task_id: after.id.to_string(),
        kind: kind.to_proto().into(),
        version: after.version,
        status: to_status(after.status).into(),
        created_by: after.created_by.to_string(),
        assigned_to: or_empty(after.assigned_to),
        previously_assigned_to: or_empty(before.and_then(|task| task.assigned_to)),
        assigned_by: or_empty(before.and_then(|task| task.assigned_by)),
        changed_fields,
    };
    Event::new(kind.event_type(), after.account_id, after.id, &event)
}

/// A member has made this many tasks that are open.
pub(crate) fn usage_changed(account_id: Uuid, user_id: Uuid, used: i32) -> Event {
    let payload = UsageChanged { quota: Quota::OpenTasksPerUser.into(), user_id: user_id.to_string(), used };
    Event::new("usage.changed", account_id, user_id, &payload)
}
