//! The role matrix: which role has which permission.

use baton_proto::baton::access::v1::Permission;

use crate::Role::{self, Manager, Owner, SuperManager, User};

/// The matrix. The first column is the lowest role that has the permission; every higher role has it too.
pub const MATRIX: &[(Role, Permission)] = &[
    (User, Permission::CreateOwnTasks),
    (User, Permission::WorkOnTasks),
    (User, Permission::ViewOwnBoard),
    (User, Permission::ViewMembers),
    (User, Permission::OwnNotifications),
    (User, Permission::ViewOwnActivity),
    (User, Permission::OwnMembership),
    (User, Permission::OwnAutomations),
    (Manager, Permission::AssignToUsers),
    (Manager, Permission::ReassignTasks),
    (Manager, Permission::ViewUserBoards),
    (Manager, Permission::ViewAnalytics),
    (SuperManager, Permission::AssignToManagers),
    (SuperManager, Permission::ViewManagerBoards),
    (SuperManager, Permission::ManageRoles),
    (SuperManager, Permission::AccountSettings),
    (SuperManager, Permission::ViewActivity),
    (SuperManager, Permission::ManageAutomations),
    (Owner, Permission::Billing),
    (Owner, Permission::AccountLifecycle),
];

/// The least role that holds `permission`; `None` for one that is not in the matrix.
pub fn least(permission: Permission) -> Option<Role> {
    MATRIX.iter().find(|(_, listed)| *listed == permission).map(|&(role, _)| role)
}

/// Whether `role` holds `permission`. One that is not in the matrix is held by nobody.
pub fn holds(role: Role, permission: Permission) -> bool {
    least(permission).is_some_and(|least| role >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan's table, row by row: user, manager, super manager, owner.
    #[test]
    fn the_matrix_is_the_plans() {
        use Permission as P;
        for (permission, expected) in [
            (P::CreateOwnTasks, [true, true, true, true]),
            (P::AssignToUsers, [false, true, true, true]),
            (P::AssignToManagers, [false, false, true, true]),
            (P::ViewOwnBoard, [true, true, true, true]),
            (P::ViewUserBoards, [false, true, true, true]),
            (P::ViewManagerBoards, [false, false, true, true]),
            (P::ManageRoles, [false, false, true, true]),
            (P::AccountSettings, [false, false, true, true]),
            (P::Billing, [false, false, false, true]),
            // "Cannot delete account": super managers.
            (P::AccountLifecycle, [false, false, false, true]),
            (P::OwnMembership, [true, true, true, true]),
            (P::OwnAutomations, [true, true, true, true]),
            (P::ManageAutomations, [false, false, true, true]),
        ] {
            let held = [User, Manager, SuperManager, Owner].map(|role| holds(role, permission));
            assert_eq!(held, expected, "{permission:?}");
        }
    }

    #[test]
    fn every_permission_is_in_the_matrix_once() {
        for number in 1.. {
            let Ok(permission) = Permission::try_from(number) else { break };
            assert_eq!(MATRIX.iter().filter(|(_, listed)| *listed == permission).count(), 1, "{permission:?}");
        }
        assert!(!holds(Owner, Permission::Unspecified));
    }
}
