//! Explains a permission: the verdict of the role matrix and of the rules in `visibility.rs` and `assignment.rs`, and
//! the rule behind it. It evaluates those rules and decides nothing itself.

use baton_access::{Permission, matrix};
use baton_errors::{Error, Reason, Result};

use crate::{
    policy::{assignment, visibility::Actor},
    task::{Task, Visibility},
};

/// The rule behind a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessRule {
    Role,
    OwnTask,
    TaskOfReport,
    WholeAccount,
    VisibleToTeam,
    VisibleToAccount,
    TaskNotVisible,
    TaskOfAnother,
    NoReassigning,
    HeldByAnother,
    HeldByNobody,
}

/// The actor's relation to a task, the closest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessRelation {
    /// They created or hold it.
    Own,
    /// Its creator or holder reports to them.
    Report,
    /// They see it.
    Other,
    None,
}

/// A verdict and its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    pub(crate) rule: AccessRule,
}

/// The verdict on a permission, with or without a task.
///
/// # Errors
/// VALIDATION_FAILED when the permission does not concern tasks.
pub(crate) fn explain(actor: Actor<'_>, permission: Permission, task: Option<&Task>) -> Result<Verdict> {
    if !matrix::holds(actor.membership.role, permission) {
        return Ok(Verdict { allowed: false, rule: AccessRule::Role });
    }
    let Some(task) = task else {
        // The only permission whose use depends on the account's setting or an individual right.
        let bare = permission == Permission::ReassignTasks && !assignment::has_reassign_right(actor);
        let rule = if bare { AccessRule::NoReassigning } else { AccessRule::Role };
        return Ok(Verdict { allowed: !bare, rule });
    };
    let visibility = visibility_verdict(actor, task);
    let refusal = match permission {
        _ if !visibility.allowed => return Ok(visibility),
        Permission::WorkOnTasks => None,
        Permission::AssignToUsers | Permission::AssignToManagers => assignment::can_assign(task, actor).err(),
        Permission::ReassignTasks => assignment::can_reassign(task, actor).err(),
        _ => return Err(Error::invalid("task_id", "must be empty for a permission that does not concern tasks")),
    };
    let rule = match refusal.as_ref().map(Error::reason) {
        None => return Ok(visibility),
        Some(Reason::TaskAlreadyAssigned) => AccessRule::HeldByAnother,
        Some(Reason::TaskNotAssigned) => AccessRule::HeldByNobody,
        Some(_) if permission == Permission::ReassignTasks && !assignment::has_reassign_right(actor) => {
            AccessRule::NoReassigning
        }
        Some(_) => AccessRule::TaskOfAnother,
    };
    Ok(Verdict { allowed: false, rule })
}

/// Whether the actor sees the task, by the closest relation that holds.
fn visibility_verdict(actor: Actor<'_>, task: &Task) -> Verdict {
    let rule = match relation(actor, task) {
        AccessRelation::Own => AccessRule::OwnTask,
        AccessRelation::Report => AccessRule::TaskOfReport,
        _ if actor.is_account_admin() => AccessRule::WholeAccount,
        _ if !actor.can_see(task) => AccessRule::TaskNotVisible,
        _ if task.fields.visibility == Visibility::Team => AccessRule::VisibleToTeam,
        _ => AccessRule::VisibleToAccount,
    };
    Verdict { allowed: actor.can_see(task), rule }
}

/// The actor's relation to the task.
pub(crate) fn relation(actor: Actor<'_>, task: &Task) -> AccessRelation {
    let people = [Some(task.created_by), task.assigned_to].into_iter().flatten();
    if people.clone().any(|person| person == actor.id) {
        AccessRelation::Own
    } else if people.clone().any(|person| actor.manages(person)) {
        AccessRelation::Report
    } else if actor.can_see(task) {
        AccessRelation::Other
    } else {
        AccessRelation::None
    }
}

/// A description of the rule in one sentence.
pub(crate) fn description(rule: AccessRule) -> &'static str {
    match rule {
        AccessRule::Role => "The role matrix decides: least_role and every higher role hold the permission.",
        AccessRule::OwnTask => "They created or hold the task.",
        AccessRule::TaskOfReport => "Who created or holds the task reports to them.",
        AccessRule::WholeAccount => "Super managers and owners see and hand out every task of the account.",
        AccessRule::VisibleToTeam => "The task is visible to a team that they belong to.",
        AccessRule::VisibleToAccount => "The task is visible to everyone in the account.",
        AccessRule::TaskNotVisible => "They do not see the task.",
        AccessRule::TaskOfAnother => "They see the task, but it is neither theirs nor of anyone who reports to them.",
        AccessRule::NoReassigning => {
            "Managers need can_reassign_tasks, or the account's managers_may_reassign; they have neither."
        }
        AccessRule::HeldByAnother => "Somebody else holds the task: it is for reassigning, not for assigning.",
        AccessRule::HeldByNobody => "Nobody holds the task: it is for assigning, not for reassigning.",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{
        policy::{
            assignment::Assignee,
            visibility::tests::{
                ALL, MANAGER, OTHER_MANAGER, OWNER, STRANGER, SUPER, USER, any_task, anyone, membership,
            },
        },
        task::tests::{at, task},
    };

    fn ask(person: Uuid, permission: Permission, task: Option<&Task>) -> (bool, AccessRule) {
        let membership = membership(person);
        let verdict = explain(Actor { id: person, membership: &membership }, permission, task).unwrap();
        (verdict.allowed, verdict.rule)
    }

    proptest! {
        #[test]
        fn verdict_agrees_with_the_rules(task in any_task(), person in anyone()) {
            let membership = membership(person);
            let actor = Actor { id: person, membership: &membership };
            prop_assert_eq!(ask(person, Permission::WorkOnTasks, Some(&task)).0, actor.can_see(&task));
            // Assigning and reassigning are allowed if and only if some assignee is possible.
            let anyone_by = |rule: fn(&mut Task, Actor<'_>, Assignee, chrono::DateTime<chrono::Utc>) -> Result<()>| {
                ALL.into_iter().filter(|&to| Some(to) != task.assigned_to).any(|to| {
                    let role = crate::policy::visibility::tests::membership(to).role;
                    rule(&mut task.clone(), actor, Assignee { user_id: to, role }, at(1)).is_ok()
                })
            };
            if actor.can_see(&task) && matrix::holds(membership.role, Permission::AssignToUsers) {
                prop_assert_eq!(ask(person, Permission::AssignToUsers, Some(&task)).0, anyone_by(assignment::assign));
                prop_assert_eq!(ask(person, Permission::ReassignTasks, Some(&task)).0, anyone_by(assignment::reassign));
            }
        }

        #[test]
        fn allowing_and_refusing_rules_are_disjoint(task in any_task(), person in anyone()) {
            for permission in [Permission::WorkOnTasks, Permission::AssignToUsers, Permission::ReassignTasks] {
                let (allowed, rule) = ask(person, permission, Some(&task));
                let grants = matches!(
                    rule,
                    AccessRule::OwnTask | AccessRule::TaskOfReport | AccessRule::WholeAccount
                        | AccessRule::VisibleToTeam | AccessRule::VisibleToAccount
                );
                prop_assert_eq!(allowed, grants, "{:?}", rule);
                prop_assert!(!description(rule).is_empty());
            }
        }
    }

    #[test]
    fn explains_a_users_task_held_by_a_manager() {
        let mut task = task(USER);
        task.assigned_to = Some(MANAGER);
        for (person, permission, expected) in [
            (USER, Permission::WorkOnTasks, (true, AccessRule::OwnTask)),
            (USER, Permission::AssignToUsers, (false, AccessRule::Role)),
            (MANAGER, Permission::AssignToUsers, (true, AccessRule::OwnTask)),
            (MANAGER, Permission::ReassignTasks, (false, AccessRule::NoReassigning)),
            (SUPER, Permission::AssignToManagers, (false, AccessRule::HeldByAnother)),
            (SUPER, Permission::ReassignTasks, (true, AccessRule::WholeAccount)),
            (OTHER_MANAGER, Permission::WorkOnTasks, (false, AccessRule::TaskNotVisible)),
            (STRANGER, Permission::WorkOnTasks, (false, AccessRule::TaskNotVisible)),
        ] {
            assert_eq!(ask(person, permission, Some(&task)), expected, "{person} {permission:?}");
        }
        task.assigned_to = None;
        assert_eq!(ask(OWNER, Permission::ReassignTasks, Some(&task)), (false, AccessRule::HeldByNobody));
    }

    #[test]
    fn matrix_decides_without_a_task() {
        assert_eq!(ask(MANAGER, Permission::Billing, None), (false, AccessRule::Role));
        assert_eq!(ask(OWNER, Permission::Billing, None), (true, AccessRule::Role));
        assert_eq!(ask(MANAGER, Permission::ReassignTasks, None), (false, AccessRule::NoReassigning));
        let membership = membership(OWNER);
        let actor = Actor { id: OWNER, membership: &membership };
        assert!(explain(actor, Permission::Billing, Some(&task(OWNER))).is_err());
    }
}
