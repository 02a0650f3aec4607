//! Random people assign, reject and leave. The tests restate the rules independently, and check that nobody exceeds
//! them and that the history matches what happened.

use std::collections::HashSet;

use baton_access::{Membership, Role};
use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::{
    policy::{
        assignment::{self, Assignee},
        visibility::{
            Actor,
            tests::{ALL, COLLEAGUE, MANAGER, OTHER_MANAGER, OWNER, STRANGER, SUPER, USER, anyone, membership},
        },
    },
    task::tests::{at, task},
};

/// An account: its members, their managers, and its settings.
struct Account {
    members: Vec<(Uuid, Role, Option<Uuid>)>,
    /// Managers with an individual right to reassign.
    trusted: HashSet<Uuid>,
    managers_may_reassign: bool,
    rejection_enabled: bool,
}

impl Account {
    fn new(trusted: HashSet<Uuid>, managers_may_reassign: bool, rejection_enabled: bool) -> Self {
        let manager_of = |person| match person {
            OWNER => None,
            SUPER => Some(OWNER),
            MANAGER | OTHER_MANAGER => Some(SUPER),
            USER | COLLEAGUE => Some(MANAGER),
            _ => Some(OTHER_MANAGER),
        };
        let members = ALL.map(|person| (person, membership(person).role, manager_of(person))).into();
        Self { members, trusted, managers_may_reassign, rejection_enabled }
    }

    fn is_member(&self, person: Uuid) -> bool {
        self.members.iter().any(|&(id, ..)| id == person)
    }

    fn role(&self, person: Uuid) -> Role {
        self.members.iter().find(|&&(id, ..)| id == person).unwrap().1
    }

    fn is_above(&self, above: Uuid, person: Uuid) -> bool {
        let manager = self.members.iter().find(|&&(id, ..)| id == person).and_then(|&(.., manager)| manager);
        manager.is_some_and(|manager| manager == above || self.is_above(above, manager))
    }

    fn is_account_admin(&self, person: Uuid) -> bool {
        self.role(person) >= Role::SuperManager
    }

    /// The membership that tenancy would return.
    fn membership(&self, person: Uuid) -> Membership {
        let role = self.role(person);
        let reports = self.members.iter().map(|&(id, ..)| id).filter(|&id| self.is_above(person, id));
        let may = role == Role::Manager && (self.managers_may_reassign || self.trusted.contains(&person));
        let mut membership = Membership {
            role,
            may_reassign: self.is_account_admin(person) || may,
            reports: if self.is_account_admin(person) { HashSet::new() } else { reports.collect() },
            team: HashSet::new(),
            ..membership(person)
        };
        membership.settings.rejection_enabled = self.rejection_enabled;
        membership
    }

    /// Removes a member and returns their successor.
    fn leave(&mut self, person: Uuid) -> Uuid {
        let successor = self.members.iter().find(|&&(id, ..)| id == person).unwrap().2.unwrap();
        self.members.retain(|&(id, ..)| id != person);
        for (_, _, manager) in &mut self.members {
            if *manager == Some(person) {
                *manager = Some(successor);
            }
        }
        successor
    }

    /// Owners assign to anyone, super managers to managers and users, managers to the users below them, and everyone to
    /// themselves.
    fn can_give(&self, from: Uuid, to: Uuid) -> bool {
        from == to
            || match (self.role(from), self.role(to)) {
                (Role::Owner, _) | (Role::SuperManager, Role::Manager | Role::User) => true,
                (Role::Manager, Role::User) => self.is_above(from, to),
                _ => false,
            }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Assign(Uuid),
    Reassign(Uuid),
    Accept,
    Reject(Option<String>),
    Start,
    Pause,
    Complete,
    Leave,
}

fn any_step() -> impl Strategy<Value = Step> {
    use Step::{Accept, Assign, Complete, Leave, Pause, Reassign, Reject, Start};
    let reject = prop::option::of("[a-z ]{1,9}").prop_map(Reject);
    prop_oneof![
        6 => anyone().prop_map(Assign),
        4 => anyone().prop_map(Reassign),
        3 => Just(Accept),
        4 => reject,
        1 => Just(Start),
        1 => Just(Pause),
        1 => Just(Complete),
        1 => Just(Leave),
    ]
}

/// A row of the history.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    to: Uuid,
    by: Uuid,
    origin: AssignmentOrigin,
    accepted: Option<DateTime<Utc>>,
    rejected: Option<Option<String>>,
    ended: Option<DateTime<Utc>>,
}

/// Applies a change as `store::assignment_history::record` does.
fn record(rows: &mut Vec<Row>, change: Option<AssignmentChange>) {
    let Some(AssignmentChange { at, previous, new, .. }) = change else { return };
    if let Some(previous) = previous {
        let open = rows.last_mut().filter(|row| row.ended.is_none()).expect("somebody holds it");
        match previous {
            PreviousAssignment::Accepted(at) => _ = open.accepted.get_or_insert(at),
            PreviousAssignment::Ended => open.ended = Some(at),
            PreviousAssignment::Rejected(reason) => (open.rejected, open.ended) = (Some(reason), Some(at)),
        }
    }
    if let Some(NewAssignment { assigned_to, assigned_by, origin, accepted_at }) = new {
        assert!(rows.last().is_none_or(|row| row.ended.is_some()), "a task is in one pair of hands");
        let (rejected, ended) = (None, None);
        rows.push(Row { to: assigned_to, by: assigned_by, origin, accepted: accepted_at, rejected, ended });
    }
}

/// A task with its stored history and the history that the test observed.
struct Scenario {
    account: Account,
    task: Task,
    record: Vec<Row>,
    observed: Vec<Row>,
}

impl Scenario {
    fn begin(account: Account, creator: Uuid, to: Option<Uuid>) -> Self {
        let mut task = task(creator);
        let membership = account.membership(creator);
        let actor = Actor { id: creator, membership: &membership };
        let mut scenario = Self { account, task: task.clone(), record: Vec::new(), observed: Vec::new() };
        if let Some(to) = to {
            let given = assignment::assign_new(&mut task, actor, scenario.member(to), at(0));
            assert_eq!(given.is_ok(), scenario.account.can_give(creator, to));
            if given.is_ok() {
                scenario.observe_assignment(
                    to,
                    creator,
                    if to == creator { AssignmentOrigin::Oneself } else { AssignmentOrigin::Assigned },
                    at(0),
                );
                scenario.task = task;
            }
        }
        record(&mut scenario.record, AssignmentChange::of(None, &scenario.task, EventKind::Created, creator, None));
        scenario
    }

    fn member(&self, user_id: Uuid) -> Assignee {
        Assignee { user_id, role: self.account.role(user_id) }
    }

    /// Records an observed assignment.
    fn observe_assignment(&mut self, to: Uuid, by: Uuid, origin: AssignmentOrigin, now: DateTime<Utc>) {
        if let Some(row) = self.observed.last_mut() {
            row.ended = Some(now);
        }
        let at_once = to == by || matches!(origin, AssignmentOrigin::Returned | AssignmentOrigin::HandedOver);
        let accepted = at_once.then_some(now);
        self.observed.push(Row { to, by, origin, accepted, rejected: None, ended: None });
    }

    fn observe_acceptance(&mut self, now: DateTime<Utc>) {
        if let Some(row) = self.observed.last_mut().filter(|row| row.ended.is_none()) {
            row.accepted.get_or_insert(now);
        }
    }

    /// Whether the rules allow the step; `None` for a step that is no assignment.
    fn allowed(&self, person: Uuid, step: &Step) -> Option<bool> {
        let (task, account) = (&self.task, &self.account);
        let holder = task.assigned_to;
        let open = task.status.is_open();
        match step {
            Step::Assign(to) if holder == Some(*to) => Some(true),
            Step::Assign(to) => {
                let free_for_them = match holder {
                    Some(holder) => holder == person,
                    None => {
                        task.created_by == person
                            || account.is_account_admin(person)
                            || account.is_above(person, task.created_by)
                    }
                };
                Some(open && free_for_them && account.can_give(person, *to))
            }
            Step::Reassign(to) => {
                let role = account.role(person);
                let trusted = role == Role::Manager
                    && (account.managers_may_reassign || account.trusted.contains(&person))
                    && holder.is_some_and(|holder| holder == person || account.is_above(person, holder));
                let can_take = holder.is_some() && (account.is_account_admin(person) || trusted);
                Some(can_take && (holder == Some(*to) || (open && account.can_give(person, *to))))
            }
            Step::Accept => Some(holder == Some(person)),
            Step::Reject(_) => Some(holder == Some(person) && account.rejection_enabled && task.accepted_at.is_none()),
            Step::Start | Step::Pause | Step::Complete | Step::Leave => None,
        }
    }

    fn step(&mut self, person: Uuid, step: &Step, now: DateTime<Utc>) -> Result<(), TestCaseError> {
        if matches!(step, Step::Assign(to) | Step::Reassign(to) if !self.account.is_member(*to)) {
            // Tenancy finds no such member.
            return Ok(());
        }
        let allowed = self.allowed(person, step);
        let before = self.task.clone();
        let viewers_before = self.viewers();
        if matches!(step, Step::Leave) {
            return self.leave(person, now);
        }
        let membership = self.account.membership(person);
        let actor = Actor { id: person, membership: &membership };
        let mut after = before.clone();
        let work = |task: &Task| actor.can_work_on(task);
        let (kind, done) = match step {
            Step::Assign(to) => (EventKind::Assigned, assignment::assign(&mut after, actor, self.member(*to), now)),
            Step::Reassign(to) => {
                (EventKind::Reassigned, assignment::reassign(&mut after, actor, self.member(*to), now))
            }
            Step::Accept => (EventKind::Accepted, assignment::accept(&mut after, actor, now)),
            Step::Reject(_) => (EventKind::Rejected, assignment::reject(&mut after, actor, now)),
            Step::Start => (EventKind::Started, work(&before).and_then(|()| after.start(now))),
            Step::Pause => (EventKind::Paused, work(&before).and_then(|()| after.pause("lunch".to_owned(), now))),
            Step::Complete => (EventKind::Completed, work(&before).and_then(|()| after.complete(now))),
            Step::Leave => unreachable!(),
        };
        if let Some(allowed) = allowed {
            prop_assert_eq!(done.is_ok(), allowed, "{:?} by {}: {:?}", step, person, done);
        }
        if done.is_err() {
            prop_assert_eq!(&after, &before);
            return Ok(());
        }
        let reason = if let Step::Reject(reason) = step { reason.as_deref() } else { None };
        after.updated_at = now;
        record(&mut self.record, AssignmentChange::of(Some(&before), &after, kind, person, reason));
        self.task = after;
        match step {
            Step::Assign(to) if before.assigned_to != Some(*to) => {
                let origin = match before.assigned_to {
                    Some(_) => AssignmentOrigin::Delegated,
                    None if *to == person => AssignmentOrigin::Oneself,
                    None => AssignmentOrigin::Assigned,
                };
                self.observe_assignment(*to, person, origin, now);
            }
            Step::Reassign(to) if before.assigned_to != Some(*to) => {
                self.observe_assignment(*to, person, AssignmentOrigin::Reassigned, now);
                prop_assert_eq!(self.task.reassignment_count, before.reassignment_count + 1);
            }
            Step::Reject(reason) => {
                let back = before.assigned_by.unwrap();
                self.observed.last_mut().unwrap().rejected = Some(reason.clone());
                self.observe_assignment(back, person, AssignmentOrigin::Returned, now);
            }
            Step::Accept | Step::Start | Step::Complete => self.observe_acceptance(now),
            _ => {}
        }
        // An assignment makes the task visible to its new holder and the managers above them only.
        for gained in self.viewers().difference(&viewers_before) {
            let holder = self.task.assigned_to.unwrap();
            prop_assert!(*gained == holder || self.account.is_above(*gained, holder), "{} sees it now", gained);
        }
        Ok(())
    }

    fn leave(&mut self, person: Uuid, now: DateTime<Utc>) -> Result<(), TestCaseError> {
        // The last owner stays.
        if person == OWNER {
            return Ok(());
        }
        let successor = self.account.leave(person);
        let before = self.task.clone();
        let offered = before.assigned_by == Some(person) && before.accepted_at.is_none();
        if !before.status.is_open() || (before.worker() != person && !offered) {
            return Ok(());
        }
        let mut after = before.clone();
        let kind = assignment::take_over(&mut after, person, successor, now);
        after.updated_at = now;
        let change = AssignmentChange::of(Some(&before), &after, kind, person, None);
        record(&mut self.record, change.map(|change| change.with_origin(Some(AssignmentOrigin::HandedOver))));
        if before.worker() == person {
            self.observe_assignment(successor, person, AssignmentOrigin::HandedOver, now);
            let taken = i32::from(before.assigned_to.is_some());
            prop_assert_eq!(after.reassignment_count, before.reassignment_count + taken);
        } else if before.assigned_to == Some(successor) {
            self.observe_acceptance(now);
        }
        self.task = after;
        Ok(())
    }

    fn viewers(&self) -> HashSet<Uuid> {
        let sees = |&(id, ..): &(Uuid, Role, Option<Uuid>)| {
            Actor { id, membership: &self.account.membership(id) }.can_see(&self.task).then_some(id)
        };
        self.account.members.iter().filter_map(sees).collect()
    }

    /// Checks invariants after every step.
    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(&self.record, &self.observed);
        let open: Vec<&Row> = self.record.iter().filter(|row| row.ended.is_none()).collect();
        prop_assert_eq!(open.iter().map(|row| row.to).next(), self.task.assigned_to);
        prop_assert!(open.len() <= 1);
        if let [row] = open[..] {
            prop_assert_eq!(row.accepted.is_some(), self.task.accepted_at.is_some());
        }
        if self.task.status.is_open() {
            prop_assert!(self.account.is_member(self.task.worker()), "an open task is somebody's who is here");
            let giver = self.task.assigned_by.filter(|_| self.task.accepted_at.is_none());
            prop_assert!(
                giver.is_none_or(|giver| self.account.is_member(giver)),
                "there is somebody to give it back to"
            );
        }
        // The counter equals the number of reassignments in the history.
        let taken = self.record.iter().filter(|row| row.origin == AssignmentOrigin::Reassigned).count();
        let held = |pair: &&[Row]| pair[1].origin == AssignmentOrigin::HandedOver;
        let inherited = self.record.windows(2).filter(held).count();
        prop_assert_eq!(self.task.reassignment_count as usize, taken + inherited);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn rules_hold_and_history_matches_events(
        (creator, to) in (anyone(), prop::option::of(anyone())),
        (trusted, managers_may, rejection) in (prop::collection::hash_set(anyone(), 0..4), any::<bool>(), prop::bool::weighted(0.8)),
        steps in prop::collection::vec((anyone(), any_step()), 1..50),
    ) {
        let mut scenario = Scenario::begin(Account::new(trusted, managers_may, rejection), creator, to);
        scenario.check()?;
        let mut given = scenario.record.last().map(|row| (row.by, row.to));
        for (second, (person, step)) in (1..).zip(steps) {
            if !scenario.account.is_member(person) {
                continue;
            }
            let there: Vec<Uuid> = scenario.account.members.iter().map(|&(id, ..)| id).collect();
            let rows = scenario.record.len();
            // Permissions are those before the step.
            let reaches: Vec<Uuid> =
                there.iter().copied().filter(|&to| scenario.account.can_give(person, to)).collect();
            scenario.step(person, &step, at(second))?;
            scenario.check()?;
            if scenario.record.len() > rows {
                let row = scenario.record.last().unwrap();
                match row.origin {
                    AssignmentOrigin::Assigned | AssignmentOrigin::Reassigned | AssignmentOrigin::Delegated | AssignmentOrigin::Oneself => {
                        prop_assert!(row.by == person && reaches.contains(&row.to), "{:?}", row);
                    }
                    AssignmentOrigin::Returned => {
                        let (by, to) = given.unwrap();
                        // To its assigner, or to the assigner's successor.
                        prop_assert!(row.by == to && (row.to == by || !scenario.account.is_member(by)), "{:?}", row);
                    }
                    AssignmentOrigin::HandedOver => prop_assert!(scenario.account.is_member(row.to) && !scenario.account.is_member(person)),
                }
                given = Some((row.by, row.to));
            }
        }
    }
}

#[test]
fn assignment_chain_is_recorded() {
    let account = Account::new(HashSet::new(), false, true);
    let mut scenario = Scenario::begin(account, SUPER, Some(MANAGER));
    let steps = [
        (MANAGER, Step::Accept),
        (MANAGER, Step::Assign(USER)),
        (USER, Step::Reject(Some("no broom".to_owned()))),
        (MANAGER, Step::Assign(COLLEAGUE)),
        (COLLEAGUE, Step::Start),
        (SUPER, Step::Reassign(STRANGER)),
        (STRANGER, Step::Leave),
    ];
    for (second, (person, step)) in (1..).zip(steps) {
        scenario.step(person, &step, at(second)).unwrap();
    }
    let chain: Vec<_> = scenario.record.iter().map(|row| (row.by, row.to, row.origin)).collect();
    assert_eq!(
        chain,
        [
            (SUPER, MANAGER, AssignmentOrigin::Assigned),
            (MANAGER, USER, AssignmentOrigin::Delegated),
            (USER, MANAGER, AssignmentOrigin::Returned),
            (MANAGER, COLLEAGUE, AssignmentOrigin::Delegated),
            (SUPER, STRANGER, AssignmentOrigin::Reassigned),
            (STRANGER, OTHER_MANAGER, AssignmentOrigin::HandedOver),
        ]
    );
    let accepted: Vec<bool> = scenario.record.iter().map(|row| row.accepted.is_some()).collect();
    assert_eq!(accepted, [true, false, true, true, false, true]);
    assert_eq!(scenario.record[1].rejected, Some(Some("no broom".to_owned())));
    assert_eq!(scenario.task.reassignment_count, 2);
}
