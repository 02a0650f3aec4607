//! Relation policies: which members a permission applies to, by role and relation, as data.
//!
//! [`crate::matrix`] states that a manager may assign tasks to users; this module states to which.

use crate::Role::{self, Manager, Owner, SuperManager, User};

/// How the caller relates to another member, closest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// The caller themselves.
    Own,
    /// A direct or indirect report of the caller.
    Report,
    /// Any other member of the account.
    Other,
}

/// An entry of a policy. Roles from `least` on may act on members of the roles `of` whose relation is `widest` or
/// closer.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// The lowest role that has the grant; every higher role has it too.
    pub least: Role,
    /// Roles of the members to act on.
    pub of: &'static [Role],
    /// The widest relation.
    pub widest: Relation,
}

/// Members to whom one may assign tasks.
pub const TASKS: &[Grant] = &[
    Grant { least: User, of: &Role::ALL, widest: Relation::Own },
    Grant { least: Manager, of: &[User], widest: Relation::Report },
    Grant { least: SuperManager, of: &[User, Manager], widest: Relation::Other },
    Grant { least: Owner, of: &Role::ALL, widest: Relation::Other },
];

/// Members whose boards one may see.
pub const BOARDS: &[Grant] = &[
    Grant { least: User, of: &Role::ALL, widest: Relation::Own },
    Grant { least: Manager, of: &Role::ALL, widest: Relation::Report },
    Grant { least: SuperManager, of: &[User, Manager], widest: Relation::Other },
    Grant { least: Owner, of: &Role::ALL, widest: Relation::Other },
];

/// Members whose membership one may have described and explained.
pub const MEMBERSHIPS: &[Grant] = &[
    Grant { least: User, of: &Role::ALL, widest: Relation::Own },
    Grant { least: Manager, of: &Role::ALL, widest: Relation::Report },
    Grant { least: SuperManager, of: &[User, Manager, SuperManager], widest: Relation::Other },
    Grant { least: Owner, of: &Role::ALL, widest: Relation::Other },
];

/// Members whose activity log one may read.
pub const ACTIVITY: &[Grant] = &[
    Grant { least: User, of: &Role::ALL, widest: Relation::Own },
    Grant { least: Manager, of: &Role::ALL, widest: Relation::Report },
    Grant { least: SuperManager, of: &Role::ALL, widest: Relation::Other },
];

/// Whether a policy allows `role` to act on a member of role `of` with this relation.
pub fn allows(table: &[Grant], role: Role, of: Role, relation: Relation) -> bool {
    table.iter().any(|grant| role >= grant.least && grant.of.contains(&of) && relation <= grant.widest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decisions for users, managers, super managers and owners.
    fn row(table: &[Grant], role: Role, relation: Relation) -> [bool; 4] {
        Role::ALL.map(|of| allows(table, role, of, relation))
    }

    #[test]
    fn policies_allow_exactly_these_roles() {
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
    fn closer_relation_or_higher_role_never_loses_access() {
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
