//! The hierarchy of an account, for whoever decides about many of its members at once: the gateway.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::{BoardName, Permission, Role, matrix, relation_policy, relation_policy::Relation};

/// Managers above one member that are looked at; tenancy admits no cycle.
const MAX_DEPTH: usize = 256;

/// The active members of an account and who manages whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchy {
    /// Whether the account is suspended or scheduled for deletion: then nobody may act in it.
    pub is_suspended: bool,
    /// Whether the account requires a second factor.
    pub second_factor_required: bool,
    /// The active members, by user id.
    pub members: HashMap<Uuid, Place>,
}

/// A member's place in the hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Their role.
    pub role: Role,
    /// User id of their manager.
    pub manager_id: Option<Uuid>,
}

impl Hierarchy {
    /// The role of an active member.
    pub fn role(&self, user_id: Uuid) -> Option<Role> {
        self.members.get(&user_id).map(|place| place.role)
    }

    /// The managers above a person, nearest first. Empty for a person who is no member.
    pub fn managers_of(&self, user_id: Uuid) -> impl Iterator<Item = Uuid> {
        let manager_of = |user_id: &Uuid| self.members.get(user_id)?.manager_id;
        std::iter::successors(manager_of(&user_id), manager_of).take(MAX_DEPTH)
    }

    /// Whether the person is this one, or a direct or indirect report of `user_id`.
    pub fn is_or_manages(&self, user_id: Uuid, person: Uuid) -> bool {
        person == user_id || self.managers_of(person).any(|manager| manager == user_id)
    }

    /// Whether the person is the manager of `user_id`, or reports to the same manager.
    pub fn has_in_team(&self, user_id: Uuid, person: Uuid) -> bool {
        let Some(manager) = self.members.get(&user_id).and_then(|place| place.manager_id) else { return false };
        let place = self.members.get(&person);
        place.is_some_and(|place| person == manager || place.manager_id == Some(manager))
    }

    /// Whether a member may see a board: their own, those of their reports, and those that their role opens.
    pub fn may_see_board(&self, user_id: Uuid, board: BoardName) -> bool {
        let Some(role) = self.role(user_id) else { return false };
        let holds = |permission| matrix::holds(role, permission);
        match board {
            BoardName::My => true,
            BoardName::User(person) if person == user_id => true,
            BoardName::User(_) if !holds(Permission::ViewUserBoards) => false,
            BoardName::User(person) => {
                let is_report = self.is_or_manages(user_id, person);
                let relation = if is_report { Relation::Report } else { Relation::Other };
                self.role(person).is_some_and(|of| relation_policy::allows(relation_policy::BOARDS, role, of, relation))
            }
            BoardName::Team => holds(Permission::ViewUserBoards),
            BoardName::Account => holds(Permission::ViewManagerBoards),
        }
    }

    /// The people whose reports are others than in `before`: those above whoever has joined, left, or moved.
    pub fn changed_teams(&self, before: &Self) -> HashSet<Uuid> {
        let moved = |user_id: &Uuid| {
            let manager = |hierarchy: &Self| hierarchy.members.get(user_id).map(|place| place.manager_id);
            manager(self) != manager(before)
        };
        let people: HashSet<Uuid> = self.members.keys().chain(before.members.keys()).copied().filter(moved).collect();
        let above = |user_id: Uuid| self.managers_of(user_id).chain(before.managers_of(user_id));
        people.into_iter().flat_map(above).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Uuid = Uuid::from_u128(1);
    const SUPER: Uuid = Uuid::from_u128(2);
    const MANAGER: Uuid = Uuid::from_u128(3);
    const LEAD: Uuid = Uuid::from_u128(4);
    const ANN: Uuid = Uuid::from_u128(5);
    const BEN: Uuid = Uuid::from_u128(6);
    const STRANGER: Uuid = Uuid::from_u128(9);

    fn hierarchy() -> Hierarchy {
        let place = |role, manager_id| Place { role, manager_id };
        let members = [
            (OWNER, place(Role::Owner, None)),
            (SUPER, place(Role::SuperManager, Some(OWNER))),
            (MANAGER, place(Role::Manager, Some(SUPER))),
            (LEAD, place(Role::Manager, Some(MANAGER))),
            (ANN, place(Role::User, Some(LEAD))),
            (BEN, place(Role::User, Some(MANAGER))),
        ];
        Hierarchy { members: members.into(), ..Hierarchy::default() }
    }

    #[test]
    fn reports_are_direct_and_indirect_and_the_team_is_the_manager_and_their_direct_reports() {
        let hierarchy = hierarchy();
        for (manager, person, expected) in
            [(LEAD, ANN, true), (MANAGER, ANN, true), (ANN, ANN, true), (LEAD, BEN, false), (STRANGER, ANN, false)]
        {
            assert_eq!(hierarchy.is_or_manages(manager, person), expected, "{manager} {person}");
        }
        for (member, person, expected) in
            [(ANN, LEAD, true), (BEN, LEAD, true), (BEN, MANAGER, true), (ANN, BEN, false), (OWNER, SUPER, false)]
        {
            assert_eq!(hierarchy.has_in_team(member, person), expected, "{member} {person}");
        }
    }

    #[test]
    fn boards_open_by_role_and_relation() {
        use BoardName::{Account, My, Team, User};
        let hierarchy = hierarchy();
        let seen = |user| {
            [My, User(ANN), User(BEN), User(SUPER), User(STRANGER), Team, Account]
                .map(|board| hierarchy.may_see_board(user, board))
        };
        assert_eq!(seen(ANN), [true, true, false, false, false, false, false]);
        assert_eq!(seen(LEAD), [true, true, false, false, false, true, false]);
        assert_eq!(seen(MANAGER), [true, true, true, false, false, true, false]);
        assert_eq!(seen(SUPER), [true, true, true, true, false, true, true]);
        assert_eq!(seen(OWNER), [true, true, true, true, false, true, true]);
        assert_eq!(seen(STRANGER), [false; 7]);
    }

    #[test]
    fn a_move_changes_the_teams_above_both_managers() {
        let before = hierarchy();
        let mut after = before.clone();
        assert!(after.changed_teams(&before).is_empty());
        after.members.get_mut(&ANN).unwrap().role = Role::Manager;
        assert!(after.changed_teams(&before).is_empty(), "a role moves nobody");
        after.members.get_mut(&ANN).unwrap().manager_id = Some(SUPER);
        assert_eq!(after.changed_teams(&before), [LEAD, MANAGER, SUPER, OWNER].into());
        after = before.clone();
        after.members.remove(&BEN);
        assert_eq!(after.changed_teams(&before), [MANAGER, SUPER, OWNER].into());
    }
}
