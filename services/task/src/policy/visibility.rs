//! Visibility and change rules of tasks.

use baton_access::{Membership, Principal, Role, TaskAudience, relation_policy::Relation};
use baton_errors::{Reason, Result};
use uuid::Uuid;

use crate::task::{Task, Visibility};

/// The caller, as the rules see them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Actor<'a> {
    pub(crate) id: Uuid,
    pub(crate) membership: &'a Membership,
}

impl<'a> Actor<'a> {
    /// The caller of an RPC.
    pub(crate) fn of(principal: &'a Principal) -> Self {
        Self { id: principal.user_id(), membership: &principal.membership }
    }

    /// Whether the actor is a super manager or owner: sees every task and ranks above everyone in it.
    pub(crate) fn is_account_admin(self) -> bool {
        self.membership.role >= Role::SuperManager
    }

    /// Whether this person reports to the actor, directly or indirectly.
    pub(crate) fn manages(self, person: Uuid) -> bool {
        self.membership.reports.contains(&person)
    }

    /// The actor's relation to this person.
    pub(crate) fn relation(self, person: Uuid) -> Relation {
        match person {
            person if person == self.id => Relation::Own,
            person if self.manages(person) => Relation::Report,
            _ => Relation::Other,
        }
    }

    /// Whether the actor sees the task.
    pub(crate) fn can_see(self, task: &Task) -> bool {
        self.can_see_task_of(task.created_by, task.assigned_to, task.fields.visibility)
    }

    /// [`Self::can_see`] for a task of which only these fields are known.
    pub(crate) fn can_see_task_of(self, created_by: Uuid, assigned_to: Option<Uuid>, visibility: Visibility) -> bool {
        TaskAudience { created_by, assigned_to, visibility }.includes(self.id, self.membership)
    }

    /// Checks that the actor may update, cancel and archive the task: its creator, and managers above its creator or
    /// holder.
    ///
    /// # Errors
    /// TASK_CHANGE_NOT_ALLOWED, as for the methods below.
    pub(crate) fn can_change(self, task: &Task) -> Result<()> {
        allowed(
            task.created_by == self.id
                || self.is_account_admin()
                || self.manages(task.created_by)
                || task.assigned_to.is_some_and(|holder| self.manages(holder)),
        )
    }

    /// Checks that the actor may delete and restore the task: its creator, and account administrators.
    pub(crate) fn can_delete(self, task: &Task) -> Result<()> {
        allowed(task.created_by == self.id || self.is_account_admin())
    }

    /// Checks that the actor may reopen the task: its worker, and everyone who may change it.
    pub(crate) fn can_reopen(self, task: &Task) -> Result<()> {
        self.can_work_on(task).or_else(|_| self.can_change(task))
    }

    /// Checks that the actor may start, pause, resume and complete the task: its worker.
    pub(crate) fn can_work_on(self, task: &Task) -> Result<()> {
        allowed(task.worker() == self.id)
    }
}

fn allowed(yes: bool) -> Result<()> {
    if yes { Ok(()) } else { Err(Reason::TaskChangeNotAllowed.into()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::task::tests::task;

    /// One account: an owner and a super manager; managers 3 and 4; users 5 and 6 under 3, user 7 under 4.
    pub(crate) const OWNER: Uuid = Uuid::from_u128(1);
    pub(crate) const SUPER: Uuid = Uuid::from_u128(2);
    pub(crate) const MANAGER: Uuid = Uuid::from_u128(3);
    pub(crate) const OTHER_MANAGER: Uuid = Uuid::from_u128(4);
    pub(crate) const USER: Uuid = Uuid::from_u128(5);
    pub(crate) const COLLEAGUE: Uuid = Uuid::from_u128(6);
    pub(crate) const STRANGER: Uuid = Uuid::from_u128(7);
    pub(crate) const ALL: [Uuid; 7] = [OWNER, SUPER, MANAGER, OTHER_MANAGER, USER, COLLEAGUE, STRANGER];

    pub(crate) fn membership(person: Uuid) -> Membership {
        let (role, reports, team): (_, &[Uuid], &[Uuid]) = match person {
            OWNER => (Role::Owner, &[], &[]),
            SUPER => (Role::SuperManager, &[], &[OWNER]),
            MANAGER => (Role::Manager, &[USER, COLLEAGUE], &[SUPER, OTHER_MANAGER]),
            OTHER_MANAGER => (Role::Manager, &[STRANGER], &[SUPER, MANAGER]),
            USER => (Role::User, &[], &[MANAGER, COLLEAGUE]),
            COLLEAGUE => (Role::User, &[], &[MANAGER, USER]),
            _ => (Role::User, &[], &[OTHER_MANAGER]),
        };
        let set = |ids: &[Uuid]| ids.iter().copied().collect::<HashSet<_>>();
        let may_reassign = role >= Role::SuperManager;
        Membership {
            account_id: Uuid::nil(),
            role,
            may_reassign,
            reports: set(reports),
            team: set(team),
            suspended: false,
            settings: Default::default(),
            limits: Default::default(),
        }
    }

    pub(crate) fn anyone() -> impl Strategy<Value = Uuid> {
        prop::sample::select(ALL.to_vec())
    }

    pub(crate) fn any_task() -> impl Strategy<Value = Task> {
        (anyone(), prop::option::of(anyone()), prop::sample::select(Visibility::ALL.to_vec())).prop_map(
            |(creator, holder, visibility)| {
                let mut task = task(creator);
                task.assigned_to = holder;
                task.accepted_at = holder.map(|_| task.created_at);
                task.fields.visibility = visibility;
                task
            },
        )
    }

    proptest! {
        #[test]
        fn invisible_task_cannot_be_changed(task in any_task(), person in anyone()) {
            let membership = membership(person);
            let actor = Actor { id: person, membership: &membership };
            if !actor.can_see(&task) {
                prop_assert!(actor.can_change(&task).is_err());
                prop_assert!(actor.can_delete(&task).is_err());
                prop_assert!(actor.can_work_on(&task).is_err());
            }
        }

        #[test]
        fn wider_visibility_hides_the_task_from_nobody(mut task in any_task(), person in anyone()) {
            let membership = membership(person);
            let actor = Actor { id: person, membership: &membership };
            let mut visible = Vec::new();
            for visibility in Visibility::ALL {
                task.fields.visibility = visibility;
                visible.push(actor.can_see(&task));
            }
            prop_assert!(visible.is_sorted() && visible[2]);
        }

        #[test]
        fn exactly_one_person_works_on_a_task(task in any_task()) {
            let workers = ALL.into_iter().filter(|&id| {
                let membership = membership(id);
                Actor { id, membership: &membership }.can_work_on(&task).is_ok()
            });
            prop_assert_eq!(workers.count(), 1);
        }
    }

    #[test]
    fn visibility_of_a_users_task() {
        let mut task = task(USER);
        for (visibility, expected) in [
            (Visibility::Private, [true, true, true, false, true, false, false]),
            (Visibility::Team, [true, true, true, false, true, true, false]),
            (Visibility::Account, [true; 7]),
        ] {
            task.fields.visibility = visibility;
            let visible = ALL.map(|id| Actor { id, membership: &membership(id) }.can_see(&task));
            assert_eq!(visible, expected, "{visibility:?}");
        }
    }

    #[test]
    fn permissions_on_a_users_task_held_by_a_colleague() {
        let mut task = task(USER);
        task.assigned_to = Some(COLLEAGUE);
        let may = |rule: fn(Actor<'_>, &Task) -> Result<()>| {
            ALL.map(|id| rule(Actor { id, membership: &membership(id) }, &task).is_ok())
        };
        assert_eq!(may(|actor, task| actor.can_change(task)), [true, true, true, false, true, false, false]);
        assert_eq!(may(|actor, task| actor.can_delete(task)), [true, true, false, false, true, false, false]);
        assert_eq!(may(|actor, task| actor.can_work_on(task)), [false, false, false, false, false, true, false]);
    }
}
