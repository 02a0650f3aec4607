//! The events that the service publishes, and keeps in timelines.

pub(crate) mod attachment;
pub(crate) mod comment;
pub(crate) mod schedule;
pub(crate) mod structure;
pub(crate) mod view;

use baton_proto::baton::{
    task::v1::{TaskEvent, TaskEventKind, TimeCorrectionAction, TimeEntryEvent},
    tenancy::v1::{Quota, UsageChanged},
};
use baton_store::Event;
use uuid::Uuid;

use crate::{
    convert::{time_entry::to_action, to_status},
    task::{
        Task,
        time_entry::{Action, TimeEntry},
    },
};

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
    Archived "archived";
    Canceled "canceled";
    Reopened "reopened";
    Restored "restored";
    Moved "moved";
    TimeCorrected "time_corrected";
}

impl Kind {
    /// Whether it opens work that was none: its people may have left meanwhile.
    pub(crate) fn opens_again(self) -> bool {
        matches!(self, Self::Reopened | Self::Restored)
    }

    /// Whether those who watch the task are told.
    pub(crate) fn tells_watchers(self) -> bool {
        matches!(self, Self::Canceled | Self::Reopened | Self::Restored)
    }
}

/// `kind` happened to a task, which made `before` into `after`; `watchers` are told. A new task has no before.
pub(crate) fn task(
    kind: Kind,
    before: Option<&Task>,
    after: &Task,
    changed_fields: Vec<String>,
    watchers: &[Uuid],
) -> Event {
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
        late: false,
        watcher_ids: watchers.iter().map(Uuid::to_string).collect(),
    };
    Event::new(kind.event_type(), after.account_id, after.id, &event)
}

/// A member has made this many tasks that are open.
pub(crate) fn usage_changed(account_id: Uuid, user_id: Uuid, used: i32) -> Event {
    let payload = UsageChanged { quota: Quota::OpenTasksPerUser.into(), user_id: user_id.to_string(), used };
    Event::new("usage.changed", account_id, user_id, &payload)
}

/// Something was done by hand to an interval of a task; `None` when only its note changed.
pub(crate) fn time_entry(task: &Task, entry: &TimeEntry, action: Option<Action>) -> Event {
    let payload = TimeEntryEvent {
        time_entry_id: entry.id.to_string(),
        task_id: entry.task_id.to_string(),
        user_id: entry.user_id.to_string(),
        action: action.map_or(TimeCorrectionAction::Unspecified, to_action).into(),
        version: entry.version,
    };
    let kind = match action {
        Some(Action::Created) => "time_entry.created",
        Some(Action::Updated) | None => "time_entry.updated",
        Some(Action::Deleted) => "time_entry.deleted",
    };
    Event::new(kind, task.account_id, entry.id, &payload)
}
