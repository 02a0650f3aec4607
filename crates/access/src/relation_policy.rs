//! Whose things a role allows with a permission: sections 2.2 and 2.3 of the enterprise plan, as data.
//!
//! [`crate::matrix`] says that a manager may hand tasks to users; this says to which.

use crate::Role::{self, Manager, Owner, SuperManager, User};

/// How a member stands to a person, closest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// It is they themselves.
    Own,
    /// The person reports to them, directly or through others.
    Report,
    /// Anyone else in the account.
    Other,
}

/// A grant of a table: from `least` on, roles reach people of these roles who stand to them as closely as
/// `widest`, or closer.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// The least role that the grant is for; every higher role has it too.
    pub least: Role,
    /// The roles of those who are reached.
    pub of: &'static [Role],
    /// The widest relation.
    pub widest: Relation,
}

/// Whom one may hand tasks to.
pub const TASKS: &[Grant] = &[
    Grant { least: User, of: &Role::ALL, widest: Relation::Own },
    Grant { least: Manager, of: &[User], widest: Relation::Report },
    Grant { least: SuperManager, of: &[User, Manager], widest: Relation::Other },
    Grant { least: Owner, of: &Role::ALL, widest: Relation::Other },
];

/// Whose boards one may see.
pub const BOARDS: &[Grant] = &[
    Grant { least: User, of: &Role::ALL, widest: Relation::Own },
    Grant { least: Manager, of: &Role::ALL, widest: Relation::Report },
    Grant { least: SuperManager, of: &[User, Manager], widest: Relation::Other },
    Grant { least: Owner, of: &Role::ALL, widest: Relation::Other },
];

/// Whose memberships one may have described and explained.
pub const MEMBERSHIPS: &[Grant] = &[
    Grant { least: User, of: &Role::ALL, widest: Relation::Own },
    Grant { least: Manager, of: &Role::ALL, widest: Relation::Report },
    Grant { least: SuperManager, of: &[User, Manager, SuperManager], widest: Relation::Other },
    Grant { least: Owner, of: &Role::ALL, widest: Relation::Other },
];

/// Of whose doings one may read the log.
pub const ACTIVITY: &[Grant] = &[
    Grant { least: User, of: &Role::ALL, widest: Relation::Own },
    Grant { least: Manager, of: &Role::ALL, widest: Relation::Report },
    Grant { least: SuperManager, of: &Role::ALL, widest: Relation::Other },
];

/// Whether one of `role` allows a person of role `of` who stands to them like this.
pub fn allows(table: &[Grant], role: Role, of: Role, relation: Relation) -> bool {
    table.iter().any(|grant| role >= grant.least && grant.of.contains(&of) && relation <= grant.widest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each role allows of users, managers, super managers and owners.
    fn row(table: &[Grant], role: Role, relation: Relation) -> [bool; 4] {
        Role::ALL.map(|of| allows(table, role, of, relation))
    }

    #[test]
    fn the_tables_are_the_plans() {
        use Relation::{Other, Own, Report};
        for role in Role::ALL {
            for table in [TASKS, BOARDS, MEMBERSHIPS, ACTIVITY] {
                assert_eq!(row(table, role, Own), [true; 4], "{role:?}");
            }
        }
        let none = [false; 4];
        for relation in [Report, Other] {
            assert_eq!(row(TASKS, User, relation), none);
            assert_eq!(row(BOARDS, User, relation), none);
        }
        assert_eq!(row(TASKS, Manager, Report), [true, false, false, false]);
        assert_eq!(row(TASKS, Manager, Other), none);
        assert_eq!(row(TASKS, SuperManager, Other), [true, true, false, false]);
        assert_eq!(row(TASKS, Owner, Other), [true; 4]);
        assert_eq!(row(BOARDS, Manager, Report), [true; 4]);
        assert_eq!(row(BOARDS, Manager, Other), none);
        assert_eq!(row(BOARDS, SuperManager, Other), [true, true, false, false]);
        assert_eq!(row(MEMBERSHIPS, SuperManager, Other), [true, true, true, false]);
        assert_eq!(row(ACTIVITY, User, Report), none);
        assert_eq!(row(ACTIVITY, Manager, Report), [true; 4]);
        assert_eq!(row(ACTIVITY, Manager, Other), none);
        assert_eq!(row(ACTIVITY, SuperManager, Other), [true; 4]);
    }

    #[test]
    fn a_closer_relation_and_a_higher_role_reach_no_less() {
        for table in [TASKS, BOARDS, MEMBERSHIPS, ACTIVITY] {
            for of in Role::ALL {
                for roles in Role::ALL.windows(2) {
                    for relation in [Relation::Own, Relation::Report, Relation::Other] {
                        assert!(!allows(table, roles[0], of, relation) || allows(table, roles[1], of, relation));
                    }
                }
                for role in Role::ALL {
                    assert!(!allows(table, role, of, Relation::Other) || allows(table, role, of, Relation::Report));
                }
            }
        }
    }
}
