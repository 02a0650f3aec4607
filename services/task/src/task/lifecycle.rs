//! The states of a task, and all transitions between them.

use baton_errors::{Error, Reason, Result};
use serde::{Deserialize, Serialize};

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Pending,
    InProgress,
    Paused,
    Completed,
    Canceled,
    Archived,
}

impl Status {
    /// All states, in lifecycle order.
    pub(crate) const ALL: [Self; 6] =
        [Self::Pending, Self::InProgress, Self::Paused, Self::Completed, Self::Canceled, Self::Archived];

    /// The stored name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Canceled => "canceled",
            Self::Archived => "archived",
        }
    }

    /// The state with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether work remains. In SQL: `status in ('pending', 'in_progress', 'paused')`.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::InProgress | Self::Paused)
    }

    /// TASK_WRONG_STATE for a transition to `to`.
    pub(crate) fn transition_error(self, to: Self) -> Error {
        Error::from(Reason::TaskWrongState).with("from", self.name()).with("to", to.name())
    }
}

/// A transition from some states to another.
#[derive(Debug)]
pub(crate) struct Transition {
    pub(crate) from: &'static [Status],
    pub(crate) to: Status,
}

/// All transitions.
impl Transition {
    pub(crate) const START: Self = Self { from: &[Status::Pending], to: Status::InProgress };
    pub(crate) const PAUSE: Self = Self { from: &[Status::InProgress], to: Status::Paused };
    pub(crate) const RESUME: Self = Self { from: &[Status::Paused], to: Status::InProgress };
    pub(crate) const COMPLETE: Self = Self { from: &[Status::InProgress, Status::Paused], to: Status::Completed };
    pub(crate) const CANCEL: Self =
        Self { from: &[Status::Pending, Status::InProgress, Status::Paused], to: Status::Canceled };
    pub(crate) const ARCHIVE: Self = Self { from: &[Status::Completed, Status::Canceled], to: Status::Archived };
    pub(crate) const REOPEN: Self =
        Self { from: &[Status::Completed, Status::Canceled, Status::Archived], to: Status::Pending };

    /// The state after the transition.
    ///
    /// # Errors
    /// TASK_WRONG_STATE, with both states.
    pub(crate) fn apply(&self, status: Status) -> Result<Status> {
        if self.from.contains(&status) { Ok(self.to) } else { Err(status.transition_error(self.to)) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// All transitions, by the names of their RPCs.
    pub(crate) const TRANSITIONS: [(&str, &Transition); 7] = [
        ("start", &Transition::START),
        ("pause", &Transition::PAUSE),
        ("resume", &Transition::RESUME),
        ("complete", &Transition::COMPLETE),
        ("cancel", &Transition::CANCEL),
        ("archive", &Transition::ARCHIVE),
        ("reopen", &Transition::REOPEN),
    ];

    #[test]
    fn readme_contains_every_transition() {
        for (name, Transition { from, to }) in TRANSITIONS {
            let from: Vec<_> = from.iter().map(|status| status.name()).collect();
            let row = format!("| {name} | {} | {} |", from.join(", "), to.name());
            assert!(include_str!("../../README.md").contains(&row), "the README lacks: {row}");
        }
    }

    #[test]
    fn every_state_can_be_reached_and_left() {
        for status in Status::ALL {
            assert!(TRANSITIONS.iter().any(|(_, way)| way.from.contains(&status)), "{status:?} is a dead end");
            assert!(TRANSITIONS.iter().any(|(_, way)| way.to == status), "{status:?} is out of reach");
            assert_eq!(Status::from_name(status.name()), Some(status));
        }
    }
}
