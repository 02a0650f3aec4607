use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn member(id: u128, role: Role) -> Member {
    Member {
        id: Uuid::from_u128(id),
        account_id: Uuid::from_u128(999),
        user_id: Some(Uuid::from_u128(id)),
        email: format!("m{id}@example.org"),
        role,
        status: MemberStatus::Active,
        manager_id: None,
        can_reassign_tasks: false,
        invited_by: None,
        invited_at: DateTime::UNIX_EPOCH,
        joined_at: Some(DateTime::UNIX_EPOCH),
        left_at: None,
        handle: None,
        version: 1,
    }
}

fn reason<T: std::fmt::Debug>(result: Result<T>) -> Reason {
    result.unwrap_err().reason()
}

/// An account in memory, changed only by the rules.
#[derive(Debug)]
struct Team(Vec<Member>);

impl Team {
    fn role_of(&self, user_id: Option<Uuid>) -> Option<Role> {
        self.0.iter().find(|m| m.user_id == user_id && user_id.is_some()).map(|m| m.role)
    }

    fn owners(&self) -> i64 {
        self.0.iter().filter(|m| m.role == Role::Owner).count() as i64
    }

    fn change(&mut self, actor: usize, target: usize, change: &MemberChange) -> Result<()> {
        let (actor, before) = (self.0[actor].role, &self.0[target]);
        let after = before.apply(change);
        let context = HierarchyContext {
            manager: self.role_of(after.manager_id),
            reports: self.0.iter().filter(|m| m.manager_id == before.user_id).map(|m| m.role).collect(),
            owners: self.owners(),
        };
        check_change(actor, before, &after, &context)?;
        self.0[target] = after;
        Ok(())
    }

    fn remove(&mut self, actor: usize, target: usize) -> Result<()> {
        check_remove(self.0[actor].role, self.0[target].role, self.owners())?;
        self.end(target);
        Ok(())
    }

    fn leave(&mut self, target: usize) -> Result<()> {
        check_leave(self.0[target].role, self.owners())?;
        self.end(target);
        Ok(())
    }

    fn end(&mut self, target: usize) {
        let gone = self.0.remove(target);
        for member in self.0.iter_mut().filter(|m| m.manager_id == gone.user_id) {
            member.manager_id = gone.manager_id;
        }
    }

    /// Like `ownership.rs`: both sides, then the super managers under the old owner.
    fn transfer(&mut self, from: usize, to: usize) -> Result<()> {
        if from == to {
            return Err(Error::invalid("user_id", "must be another member"));
        }
        let (old, new) = swap_ownership(&self.0[from], &self.0[to])?;
        (self.0[from], self.0[to]) = (old, new);
        let (from, to) = (self.0[from].user_id, self.0[to].user_id);
        for member in self.0.iter_mut().filter(|m| m.manager_id == from && m.role == Role::SuperManager) {
            member.manager_id = to;
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Invite { actor: usize, role: Role, manager: Option<usize> },
    Change { actor: usize, target: usize, role: Option<Role>, manager: Option<Option<usize>> },
    Remove { actor: usize, target: usize },
    Leave { actor: usize },
    Transfer { actor: usize, target: usize },
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::ALL.to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    let index = || 0usize..64;
    prop_oneof![
        3 => (index(), role(), prop::option::of(index()))
            .prop_map(|(actor, role, manager)| Step::Invite { actor, role, manager }),
        3 => (index(), index(), prop::option::of(role()), prop::option::of(prop::option::of(index())))
            .prop_map(|(actor, target, role, manager)| Step::Change { actor, target, role, manager }),
        1 => (index(), index()).prop_map(|(actor, target)| Step::Remove { actor, target }),
        1 => index().prop_map(|actor| Step::Leave { actor }),
        1 => (index(), index()).prop_map(|(actor, target)| Step::Transfer { actor, target }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_sequence_of_changes_keeps_an_owner_and_an_acyclic_hierarchy(steps in prop::collection::vec(step(), 1..60)) {
        let mut team = Team(vec![member(0, Role::Owner)]);
        for (number, step) in steps.into_iter().enumerate() {
            let count = team.0.len();
            let user_id = |team: &Team, index: usize| team.0[index % count].user_id;
            let changed = match step {
                Step::Invite { actor, role, manager } => {
                    let actor = actor % count;
                    let manager_id = manager.and_then(|index| user_id(&team, index));
                    let allowed = check_invite(team.0[actor].role, role, manager_id, team.role_of(manager_id));
                    let by = team.0[actor].role;
                    allowed.is_ok().then(|| {
                        team.0.push(Member { manager_id, ..member(number as u128 + 1, role) });
                        (by, role)
                    })
                }
                Step::Change { actor, target, role, manager } => {
                    let (actor, target) = (actor % count, target % count);
                    let manager_id = manager.map(|index| index.and_then(|index| user_id(&team, index)));
                    let (by, before) = (team.0[actor].role, team.0[target].role);
                    let change = MemberChange { role, manager_id, can_reassign_tasks: None };
                    team.change(actor, target, &change).is_ok().then(|| (by, before.max(team.0[target].role)))
                }
                Step::Remove { actor, target } => {
                    let (actor, target) = (actor % count, target % count);
                    let (by, before) = (team.0[actor].role, team.0[target].role);
                    team.remove(actor, target).is_ok().then_some((by, before))
                }
                Step::Leave { actor } => {
                    let _ = team.leave(actor % count);
                    None
                }
                Step::Transfer { actor, target } => {
                    let (actor, target) = (actor % count, target % count);
                    let by = team.0[actor].role;
                    team.transfer(actor, target).is_ok().then_some((by, Role::Owner))
                }
            };
            if let Some((by, role)) = changed {
                prop_assert!(by >= Role::SuperManager, "{by:?} changed the account");
                prop_assert!(by >= role, "{by:?} changed {role:?}");
            }
            prop_assert!(team.owners() >= 1);
            for start in &team.0 {
                let (mut at, mut seen) = (start, HashSet::new());
                while let Some(manager_id) = at.manager_id {
                    prop_assert!(seen.insert(manager_id), "a cycle through {manager_id}");
                    let manager = team.0.iter().find(|m| m.user_id == Some(manager_id));
                    let manager = manager.expect("managers are members");
                    prop_assert!(manager.role > at.role);
                    at = manager;
                }
            }
        }
    }
}

#[test]
fn nobody_acts_above_their_own_role() {
    for actor in Role::ALL {
        for role in Role::ALL {
            let expected = match actor {
                Role::User | Role::Manager => Some(Reason::PermissionMissing),
                _ if role > actor => Some(Reason::RoleNotGrantable),
                _ => None,
            };
            assert_eq!(check_invite(actor, role, None, None).err().map(|e| e.reason()), expected, "{actor:?} {role:?}");
            assert_eq!(check_remove(actor, role, 2).err().map(|e| e.reason()), expected, "{actor:?} {role:?}");
            // Changing a member of this role, and changing a member to it.
            let low = member(1, Role::User);
            let high = Member { role, ..low.clone() };
            let context = HierarchyContext { owners: 2, ..HierarchyContext::default() };
            for (before, after) in [(&low, &high), (&high, &low)] {
                let refused = check_change(actor, before, after, &context).err().map(|e| e.reason());
                assert_eq!(refused, expected, "{actor:?} {role:?}");
            }
        }
    }
}

#[test]
fn the_last_owner_cannot_be_demoted_or_removed() {
    let mut team = Team(vec![member(0, Role::Owner), member(1, Role::Owner)]);
    let down = MemberChange { role: Some(Role::User), ..MemberChange::default() };
    team.change(0, 1, &down).unwrap();
    assert_eq!(reason(team.change(0, 0, &down)), Reason::LastOwner);
    assert_eq!(reason(team.remove(0, 0)), Reason::LastOwner);
}

#[test]
fn a_manager_outranks_their_reports() {
    let manager_id = Some(Uuid::from_u128(7));
    assert_eq!(
        reason(check_invite(Role::Owner, Role::Manager, manager_id, Some(Role::Manager))),
        Reason::ManagerInvalid
    );
    assert_eq!(reason(check_invite(Role::Owner, Role::Owner, manager_id, Some(Role::Owner))), Reason::ManagerInvalid);
    assert_eq!(reason(check_invite(Role::Owner, Role::User, manager_id, None)), Reason::ManagerInvalid);
    check_invite(Role::Owner, Role::User, manager_id, Some(Role::Manager)).unwrap();

    let mut team = Team(vec![member(0, Role::Owner), member(1, Role::SuperManager), member(2, Role::Manager)]);
    team.change(0, 2, &MemberChange { manager_id: Some(team.0[1].user_id), ..MemberChange::default() }).unwrap();
    let demote = MemberChange { role: Some(Role::Manager), ..MemberChange::default() };
    assert_eq!(reason(team.change(0, 1, &demote)), Reason::RoleHasReports);
    // A promotion past the own manager must name another, or none.
    let promote = MemberChange { role: Some(Role::SuperManager), ..MemberChange::default() };
    assert_eq!(reason(team.change(0, 2, &promote)), Reason::ManagerInvalid);
    team.change(0, 2, &MemberChange { manager_id: Some(None), ..promote }).unwrap();
    team.change(0, 1, &demote).unwrap();
}

#[test]
fn a_demotion_cannot_make_a_member_their_own_manager() {
    let mut team = Team(vec![member(0, Role::Owner), member(1, Role::Manager)]);
    let change =
        MemberChange { role: Some(Role::User), manager_id: Some(team.0[1].user_id), ..MemberChange::default() };
    assert_eq!(reason(team.change(0, 1, &change)), Reason::ManagerInvalid);
}

#[test]
fn reports_move_up_when_their_manager_is_removed() {
    let mut team = Team(vec![member(0, Role::Owner), member(1, Role::Manager), member(2, Role::User)]);
    team.0[1].manager_id = team.0[0].user_id;
    team.0[2].manager_id = team.0[1].user_id;
    team.remove(0, 1).unwrap();
    assert_eq!(team.0[1].manager_id, team.0[0].user_id);
}

#[test]
fn tasks_are_handed_over_to_the_manager_or_an_assignable_member() {
    let mut team =
        [Role::Owner, Role::SuperManager, Role::Manager, Role::User, Role::User].map(|role| member(role as u128, role));
    for (n, one) in team.iter_mut().enumerate() {
        one.user_id = Some(Uuid::from_u128(n as u128 + 1));
    }
    team[3].manager_id = team[2].user_id;
    let [owner, super_manager, manager, user, peer] = &team;
    for (actor, relation, leaving, to, allowed) in [
        (user, Relation::Other, user, manager, true),
        (user, Relation::Other, user, peer, false),
        (user, Relation::Own, user, user, false),
        (manager, Relation::Report, manager, peer, true),
        (manager, Relation::Other, manager, peer, false),
        (super_manager, Relation::Other, user, peer, true),
        (super_manager, Relation::Own, user, super_manager, true),
        (super_manager, Relation::Other, user, owner, false),
        (owner, Relation::Other, manager, super_manager, true),
        (owner, Relation::Other, manager, manager, false),
    ] {
        assert_eq!(check_hand_over(actor, relation, leaving, to).is_ok(), allowed, "{:?} to {:?}", actor.role, to.role);
    }
}

#[test]
fn only_an_owner_transfers_ownership() {
    let [owner, user] =
        [member(1, Role::Owner), Member { manager_id: Some(Uuid::from_u128(1)), ..member(2, Role::User) }];
    assert_eq!(reason(swap_ownership(&user, &owner)), Reason::PermissionMissing);
    let (old, new) = swap_ownership(&owner, &user).unwrap();
    assert_eq!((old.role, old.manager_id), (Role::SuperManager, new.user_id));
    assert_eq!((new.role, new.manager_id), (Role::Owner, None));
}

#[test]
fn reassignment_depends_on_role_permission_and_setting() {
    for (role, by_none, by_own, by_account) in [
        (Role::User, false, false, false),
        (Role::Manager, false, true, true),
        (Role::SuperManager, true, true, true),
        (Role::Owner, true, true, true),
    ] {
        assert_eq!(can_reassign(role, false, false), by_none);
        assert_eq!(can_reassign(role, true, false), by_own);
        assert_eq!(can_reassign(role, false, true), by_account);
    }
}

#[test]
fn an_invitation_is_accepted_by_its_address_once_within_fourteen_days() {
    let (ada, eve) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let invited = Member { user_id: None, status: MemberStatus::Invited, joined_at: None, ..member(1, Role::User) };
    let now = invited.invited_at + TimeDelta::days(13);
    assert_eq!(check_acceptance(&invited, ada, "M1@EXAMPLE.org", now).unwrap(), Acceptance::First);
    assert_eq!(reason(check_acceptance(&invited, eve, "eve@example.org", now)), Reason::InvitationForAnother);
    assert_eq!(reason(check_acceptance(&invited, ada, &invited.email, now + TimeDelta::days(1))), Reason::LinkInvalid);

    let joined = invited.joined(ada, None, now);
    assert_eq!(
        check_acceptance(&joined, ada, &invited.email, now + TimeDelta::days(99)).unwrap(),
        Acceptance::Repeated
    );
    assert_eq!(reason(check_acceptance(&joined, eve, &invited.email, now)), Reason::LinkInvalid);
    assert_eq!(reason(check_acceptance(&joined.removed(now), ada, &invited.email, now)), Reason::LinkInvalid);
}

#[test]
fn an_invalid_manager_is_dropped_at_acceptance() {
    let manager_id = Some(Uuid::from_u128(7));
    let invited = Member { user_id: None, status: MemberStatus::Invited, manager_id, ..member(1, Role::Manager) };
    for (manager, expected) in [(Some(Role::SuperManager), manager_id), (Some(Role::Manager), None), (None, None)] {
        let joined = invited.joined(Uuid::from_u128(1), manager, DateTime::UNIX_EPOCH);
        assert_eq!((joined.manager_id, joined.status), (expected, MemberStatus::Active));
    }
}
