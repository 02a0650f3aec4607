//! Who sees a task: one rule for the task service, which reads rows, and for the gateway, which reads events.
//!
//! `services/task/src/store/visibility.rs` has the same rule in SQL.

use baton_proto::baton::task::v1::{self as proto, TaskEvent};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Membership, Role};

/// Who sees a task besides its creator, its assignee and the managers above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskVisibility {
    /// Nobody.
    Private,
    /// The teams of creator and assignee.
    Team,
    /// Every member of the account.
    Account,
}

impl TaskVisibility {
    /// All of them, from the fewest people to the most.
    pub const ALL: [Self; 3] = [Self::Private, Self::Team, Self::Account];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Team => "team",
            Self::Account => "account",
        }
    }

    /// The visibility with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|visibility| visibility.name() == name)
    }
}

/// The fields of a task that decide who sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskAudience {
    /// Its creator.
    pub created_by: Uuid,
    /// Its assignee.
    pub assigned_to: Option<Uuid>,
    /// Who else sees it.
    pub visibility: TaskVisibility,
}

impl TaskAudience {
    /// Those of the task after an event; `None` for an event of a version that did not send them.
    pub fn after(event: &TaskEvent) -> Option<Self> {
        Self::of(event.visibility(), &event.created_by, &event.assigned_to)
    }

    /// Those of the contract's fields, of which `assigned_to` may be empty; `None` if one is missing or malformed.
    pub fn of(visibility: proto::TaskVisibility, created_by: &str, assigned_to: &str) -> Option<Self> {
        let visibility = match visibility {
            proto::TaskVisibility::Unspecified => return None,
            proto::TaskVisibility::Private => TaskVisibility::Private,
            proto::TaskVisibility::Team => TaskVisibility::Team,
            proto::TaskVisibility::Account => TaskVisibility::Account,
        };
        let assigned_to = match assigned_to {
            "" => None,
            id => Some(id.parse().ok()?),
        };
        Some(Self { created_by: created_by.parse().ok()?, assigned_to, visibility })
    }

    /// Whether a member of the task's account sees the task.
    pub fn includes(&self, user_id: Uuid, membership: &Membership) -> bool {
        let is_or_manages = |person| person == user_id || membership.reports.contains(&person);
        self.includes_by(membership.role, is_or_manages, |person| membership.team.contains(&person))
    }

    /// The same for a member with this role, for callers that know the hierarchy in another form: whether the member is
    /// this person or manages them, and whether this person is in the member's team.
    pub fn includes_by(
        &self,
        role: Role,
        is_or_manages: impl Fn(Uuid) -> bool,
        has_in_team: impl Fn(Uuid) -> bool,
    ) -> bool {
        let mut people = [Some(self.created_by), self.assigned_to].into_iter().flatten();
        role >= Role::SuperManager
            || people.clone().any(is_or_manages)
            || match self.visibility {
                TaskVisibility::Private => false,
                TaskVisibility::Team => people.any(has_in_team),
                TaskVisibility::Account => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_without_visibility_or_with_malformed_ids_decide_nothing() {
        let (creator, assignee) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let event = TaskEvent {
            created_by: creator.to_string(),
            assigned_to: assignee.to_string(),
            visibility: proto::TaskVisibility::Team.into(),
            ..TaskEvent::default()
        };
        let audience =
            TaskAudience { created_by: creator, assigned_to: Some(assignee), visibility: TaskVisibility::Team };
        assert_eq!(TaskAudience::after(&event), Some(audience));
        let unassigned = TaskEvent { assigned_to: String::new(), ..event.clone() };
        assert_eq!(TaskAudience::after(&unassigned), Some(TaskAudience { assigned_to: None, ..audience }));
        for unknown in [
            TaskEvent { visibility: 0, ..event.clone() },
            TaskEvent { visibility: 99, ..event.clone() },
            TaskEvent { created_by: String::new(), ..event.clone() },
            TaskEvent { assigned_to: "ada".to_owned(), ..event },
        ] {
            assert_eq!(TaskAudience::after(&unknown), None, "{unknown:?}");
        }
    }
}
