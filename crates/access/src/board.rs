//! Boards: which tasks are on a board, and how an event changes it.
//!
//! The event itself contains creator and assignee, so following a board needs no look-up. Whoever may see a board may
//! see every task on it, whatever its visibility: a board is one's own, that of people below one, or that of the
//! account for its admins.

use baton_proto::baton::task::v1::{TaskEvent, TaskEventKind, TaskStatus};
use uuid::Uuid;

use crate::{Hierarchy, Role};

/// A board, relative to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BoardName {
    /// Their own.
    My,
    /// This user's.
    User(Uuid),
    /// Their team's.
    Team,
    /// The account's.
    Account,
}

/// The tasks of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Board {
    /// Tasks assigned to this person, and unassigned tasks that they created.
    Of(Uuid),
    /// Tasks that this manager or one of their direct and indirect reports is assigned to or created.
    Team(Uuid),
    /// All tasks.
    Account,
}

/// The effect of an event on a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoardChange {
    /// A task was added to it.
    Added,
    /// A task on it changed its column or position.
    Moved,
    /// A task was removed from it.
    Removed,
    /// A task on it changed otherwise.
    Updated,
}

impl Board {
    /// The board that a member means. A team's is that of the member and all their reports; for account admins, it has
    /// everyone's tasks.
    pub fn named(name: BoardName, user_id: Uuid, hierarchy: &Hierarchy) -> Self {
        match name {
            BoardName::My => Self::Of(user_id),
            BoardName::User(person) => Self::Of(person),
            BoardName::Team if hierarchy.role(user_id) >= Some(Role::SuperManager) => Self::Account,
            BoardName::Team => Self::Team(user_id),
            BoardName::Account => Self::Account,
        }
    }

    /// The effect of the event on the board; `None` if the task is not on it.
    pub fn change(self, event: &TaskEvent, hierarchy: &Hierarchy) -> Option<BoardChange> {
        let kind = event.kind();
        let is = self.has(&event.created_by, &event.assigned_to, hierarchy);
        let was = self.has(&event.created_by, &event.previously_assigned_to, hierarchy);
        let changed = |field: &str| event.changed_fields.iter().any(|changed| changed == field);
        // Boards hide archived tasks by default.
        let shown = event.status() != TaskStatus::Archived;
        match kind {
            TaskEventKind::Created | TaskEventKind::Restored => (is && shown).then_some(BoardChange::Added),
            TaskEventKind::Deleted => was.then_some(BoardChange::Removed),
            // The task was created with an assignee; the event of its creation already covers this.
            TaskEventKind::Assigned if event.version == 1 => None,
            _ => match (was, is) {
                (false, false) => None,
                (true, false) => Some(BoardChange::Removed),
                (false, true) => shown.then_some(BoardChange::Added),
                (true, true) if kind == TaskEventKind::Archived => Some(BoardChange::Removed),
                (true, true) if !shown => None,
                (true, true) if kind == TaskEventKind::Reopened && changed("archived_at") => Some(BoardChange::Added),
                (true, true) if changed("status") || changed("rank") => Some(BoardChange::Moved),
                (true, true) => Some(BoardChange::Updated),
            },
        }
    }

    /// Whether a task with this creator and assignee is on the board.
    fn has(self, created_by: &str, assigned_to: &str, hierarchy: &Hierarchy) -> bool {
        let id = |id: &str| id.parse::<Uuid>().ok();
        match self {
            Self::Of(person) if assigned_to.is_empty() => id(created_by) == Some(person),
            Self::Of(person) => id(assigned_to) == Some(person),
            Self::Team(manager) => {
                [created_by, assigned_to].into_iter().filter_map(id).any(|id| hierarchy.is_or_manages(manager, id))
            }
            Self::Account => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;

    const MANAGER: Uuid = Uuid::from_u128(4);
    const ANN: Uuid = Uuid::from_u128(1);
    const BEN: Uuid = Uuid::from_u128(2);
    const EVE: Uuid = Uuid::from_u128(3);

    fn event(kind: TaskEventKind, was: Option<Uuid>, is: Option<Uuid>, changed: &[&str]) -> TaskEvent {
        let text = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        TaskEvent {
            kind: kind.into(),
            version: 2,
            created_by: ANN.to_string(),
            assigned_to: text(is),
            previously_assigned_to: text(was),
            changed_fields: changed.iter().map(|&field| field.to_owned()).collect(),
            ..TaskEvent::default()
        }
    }

    #[test]
    fn assignee_and_creator_decide_the_board() {
        use BoardChange::{Added, Moved, Removed, Updated};
        let given = event(TaskEventKind::Assigned, None, Some(BEN), &["assigned_to"]);
        let taken = event(TaskEventKind::Reassigned, Some(BEN), Some(EVE), &["assigned_to", "status"]);
        let begun = event(TaskEventKind::Started, Some(BEN), Some(BEN), &["status"]);
        let renamed = event(TaskEventKind::Updated, None, None, &["title"]);
        // Ben and Ann report to the manager, Eve does not.
        let place = |manager_id| Place { role: Role::User, manager_id };
        let members = [(ANN, place(Some(MANAGER))), (BEN, place(Some(MANAGER))), (EVE, place(None))];
        let hierarchy = Hierarchy { members: members.into(), ..Hierarchy::default() };
        for (event, expected) in [
            (&given, [Some(Removed), Some(Added), None, Some(Updated), Some(Updated)]),
            (&taken, [None, Some(Removed), Some(Added), Some(Moved), Some(Moved)]),
            (&begun, [None, Some(Moved), None, Some(Moved), Some(Moved)]),
            (&renamed, [Some(Updated), None, None, Some(Updated), Some(Updated)]),
        ] {
            let boards = [Board::Of(ANN), Board::Of(BEN), Board::Of(EVE), Board::Team(MANAGER), Board::Account];
            assert_eq!(boards.map(|board| board.change(event, &hierarchy)), expected, "{event:?}");
        }
        // A task of a report is on the team board, whoever created it.
        let hierarchy = Hierarchy { members: [(BEN, place(Some(MANAGER)))].into(), ..Hierarchy::default() };
        assert_eq!(Board::Team(MANAGER).change(&given, &hierarchy), Some(Added));
        assert_eq!(Board::Team(MANAGER).change(&taken, &hierarchy), Some(Removed));
        assert_eq!(Board::Team(EVE).change(&begun, &hierarchy), None);
    }

    #[test]
    fn deleted_and_archived_tasks_are_on_no_board() {
        use BoardChange::{Added, Moved, Removed};
        for (kind, changed, expected) in [
            (TaskEventKind::Created, &["title"][..], Added),
            (TaskEventKind::Deleted, &[], Removed),
            (TaskEventKind::Restored, &["deleted_at"], Added),
            (TaskEventKind::Archived, &["status", "archived_at"], Removed),
            (TaskEventKind::Reopened, &["status", "archived_at"], Added),
            (TaskEventKind::Reopened, &["status", "completed_at"], Moved),
            (TaskEventKind::Moved, &["rank"], Moved),
        ] {
            let event = event(kind, Some(BEN), Some(BEN), changed);
            assert_eq!(Board::Of(BEN).change(&event, &Hierarchy::default()), Some(expected), "{kind:?}");
            assert_eq!(Board::Of(ANN).change(&event, &Hierarchy::default()), None, "{kind:?}");
        }
        let archived = |kind| TaskEvent {
            status: TaskStatus::Archived.into(),
            ..event(kind, Some(BEN), Some(BEN), &["title", "deleted_at"])
        };
        for kind in [TaskEventKind::Updated, TaskEventKind::Restored] {
            assert_eq!(Board::Of(BEN).change(&archived(kind), &Hierarchy::default()), None, "{kind:?}");
        }
        assert_eq!(Board::Of(BEN).change(&archived(TaskEventKind::Archived), &Hierarchy::default()), Some(Removed));
        let mut first = event(TaskEventKind::Assigned, None, Some(BEN), &["assigned_to"]);
        first.version = 1;
        assert_eq!(Board::Account.change(&first, &Hierarchy::default()), None, "covered by the creation");
    }
}
