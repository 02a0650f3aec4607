//! Timers: what they trigger, and when.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The purpose of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimerKind {
    DueSoon,
    Overdue,
    Reminder,
    NextInstance,
}

impl TimerKind {
    const ALL: [Self; 4] = [Self::DueSoon, Self::Overdue, Self::Reminder, Self::NextInstance];

    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DueSoon => "due_soon",
            Self::Overdue => "overdue",
            Self::Reminder => "reminder",
            Self::NextInstance => "next_instance",
        }
    }

    /// The kind with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A timer to set.
#[derive(Debug, Clone)]
pub(crate) struct Timer {
    pub(crate) task_id: Uuid,
    pub(crate) kind: TimerKind,
    /// The due time that it refers to.
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// The time to fire.
    pub(crate) at: DateTime<Utc>,
}
