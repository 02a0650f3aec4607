//! Assignment rules: who may assign, reassign, accept and reject a task.

use baton_access::{Role, relation_policy};
use baton_errors::{Reason, Result};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    policy::visibility::Actor,
    task::{Status, Task, event_kind::EventKind},
};

/// Pause reason of a running task that changed hands.
const REASSIGNED_REASON: &str = "handed over";

/// An active member of the account to assign a task to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assignee {
    pub(crate) user_id: Uuid,
    pub(crate) role: Role,
}

/// Assigns a new task.
///
/// # Errors
/// ASSIGNMENT_NOT_ALLOWED.
pub(crate) fn assign_new(task: &mut Task, actor: Actor<'_>, to: Assignee, now: DateTime<Utc>) -> Result<()> {
    can_assign_to(actor, to)?;
    set_holder(task, actor.id, to.user_id, now);
    Ok(())
}

/// Assigns a task that is unassigned or held by the caller. Repeating it has no effect.
///
/// # Errors
/// TASK_CHANGE_NOT_ALLOWED, TASK_ALREADY_ASSIGNED, TASK_WRONG_STATE, ASSIGNMENT_NOT_ALLOWED.
pub(crate) fn assign(task: &mut Task, actor: Actor<'_>, to: Assignee, now: DateTime<Utc>) -> Result<()> {
    if task.assigned_to == Some(to.user_id) {
        return Ok(());
    }
    can_assign(task, actor)?;
    check_open(task)?;
    can_assign_to(actor, to)?;
    set_holder(task, actor.id, to.user_id, now);
    Ok(())
}

/// Takes a task from its holder and assigns it to another. Repeating it has no effect.
///
/// # Errors
/// REASSIGNMENT_NOT_ALLOWED, TASK_NOT_ASSIGNED, TASK_WRONG_STATE, ASSIGNMENT_NOT_ALLOWED.
pub(crate) fn reassign(task: &mut Task, actor: Actor<'_>, to: Assignee, now: DateTime<Utc>) -> Result<()> {
    can_reassign(task, actor)?;
    if task.assigned_to == Some(to.user_id) {
        return Ok(());
    }
    check_open(task)?;
    can_assign_to(actor, to)?;
    set_holder(task, actor.id, to.user_id, now);
    task.reassignment_count += 1;
    Ok(())
}

/// Checks that the actor may assign the task: they are responsible for it, and nobody else holds it.
///
/// # Errors
/// TASK_CHANGE_NOT_ALLOWED, TASK_ALREADY_ASSIGNED.
pub(crate) fn can_assign(task: &Task, actor: Actor<'_>) -> Result<()> {
    let is_responsible = task.assigned_to == Some(actor.id) || task.created_by == actor.id;
    if !is_responsible && !actor.is_account_admin() && !actor.manages(task.created_by) {
        return Err(Reason::TaskChangeNotAllowed.into());
    }
    if task.assigned_to.is_some_and(|holder| holder != actor.id) {
        return Err(Reason::TaskAlreadyAssigned.into());
    }
    Ok(())
}

/// Checks that the actor may transfer the task, by [`assign`] or by [`reassign`].
///
/// # Errors
/// TASK_CHANGE_NOT_ALLOWED, REASSIGNMENT_NOT_ALLOWED, TASK_WRONG_STATE.
pub(crate) fn can_transfer(task: &Task, actor: Actor<'_>) -> Result<()> {
    if task.assigned_to.is_some_and(|holder| holder != actor.id) {
        can_reassign(task, actor)?;
    } else {
        can_assign(task, actor)?;
    }
    check_open(task)
}

/// Whether the actor may reassign tasks at all: by role, by an individual right, or by the account's setting.
pub(crate) fn has_reassign_right(actor: Actor<'_>) -> bool {
    actor.is_account_admin() || actor.membership.may_reassign
}

/// Checks that the actor may take the task from its holder.
///
/// # Errors
/// REASSIGNMENT_NOT_ALLOWED, TASK_NOT_ASSIGNED.
pub(crate) fn can_reassign(task: &Task, actor: Actor<'_>) -> Result<()> {
    if !has_reassign_right(actor) {
        return Err(Reason::ReassignmentNotAllowed.into());
    }
    let holder = task.assigned_to.ok_or(Reason::TaskNotAssigned)?;
    if !actor.is_account_admin() && holder != actor.id && !actor.manages(holder) {
        return Err(Reason::ReassignmentNotAllowed.into());
    }
    Ok(())
}

/// Accepts the task for its holder. Repeating it has no effect.
///
/// # Errors
/// TASK_CHANGE_NOT_ALLOWED.
pub(crate) fn accept(task: &mut Task, actor: Actor<'_>, now: DateTime<Utc>) -> Result<()> {
    check_holder(task, actor)?;
    task.accepted_at.get_or_insert(now);
    Ok(())
}

/// Returns the task to its assigner, for whom it counts as accepted: they could assign it, so it was theirs.
///
/// # Errors
/// TASK_CHANGE_NOT_ALLOWED, REJECTION_DISABLED, ASSIGNMENT_ALREADY_ACCEPTED.
pub(crate) fn reject(task: &mut Task, actor: Actor<'_>, now: DateTime<Utc>) -> Result<()> {
    check_holder(task, actor)?;
    if !actor.membership.settings.rejection_enabled {
        return Err(Reason::RejectionDisabled.into());
    }
    // Working accepts, so a task that is not accepted is pending, or paused since it changed hands.
    let back_to = task.assigned_by.filter(|_| task.accepted_at.is_none());
    let back_to = back_to.ok_or(Reason::AssignmentAlreadyAccepted)?;
    set_holder(task, back_to, back_to, now);
    Ok(())
}

/// Reassigns an open task of a departed member and returns the kind of event.
///
/// For the new holder it counts as accepted: there is nobody to return it to. A task that the departed member had
/// offered to another remains theirs to accept; rejecting it returns it to the successor.
pub(crate) fn take_over(task: &mut Task, from: Uuid, to: Uuid, now: DateTime<Utc>) -> EventKind {
    if task.worker() == from {
        let kind = if task.assigned_to.is_some() { EventKind::Reassigned } else { EventKind::Assigned };
        task.reassignment_count += i32::from(kind == EventKind::Reassigned);
        set_holder(task, to, to, now);
        kind
    } else {
        if task.assigned_to == Some(to) {
            (task.assigned_by, task.accepted_at) = (None, Some(now));
        } else {
            task.assigned_by = Some(to);
        }
        EventKind::Updated
    }
}

fn check_holder(task: &Task, actor: Actor<'_>) -> Result<()> {
    if task.assigned_to == Some(actor.id) { Ok(()) } else { Err(Reason::TaskChangeNotAllowed.into()) }
}

/// Closed tasks cannot be assigned.
fn check_open(task: &Task) -> Result<()> {
    if task.status.is_open() { Ok(()) } else { Err(task.wrong_state_error(Status::Pending)) }
}

/// Checks [`relation_policy::TASKS`].
fn can_assign_to(actor: Actor<'_>, to: Assignee) -> Result<()> {
    let allowed =
        relation_policy::allows(relation_policy::TASKS, actor.membership.role, to.role, actor.relation(to.user_id));
    if allowed { Ok(()) } else { Err(Reason::AssignmentNotAllowed.into()) }
}

fn set_holder(task: &mut Task, by: Uuid, to: Uuid, now: DateTime<Utc>) {
    // The old worker has stopped and the new one has not started, so no time may run.
    if task.status == Status::InProgress && task.worker() != to {
        task.pause_work(REASSIGNED_REASON.to_owned(), now);
    }
    task.assigned_to = Some(to);
    (task.assigned_by, task.accepted_at) = if by == to { (None, Some(now)) } else { (Some(by), None) };
}

#[cfg(test)]
mod tests {
    use baton_access::Membership;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        policy::visibility::tests::{
            ALL, COLLEAGUE, MANAGER, OTHER_MANAGER, OWNER, STRANGER, SUPER, USER, anyone, membership,
        },
        task::tests::{at, task},
    };

    fn assignee(user_id: Uuid) -> Assignee {
        Assignee { user_id, role: membership(user_id).role }
    }

    fn with<T>(id: Uuid, work: impl FnOnce(Actor<'_>) -> T) -> T {
        work(Actor { id, membership: &membership(id) })
    }

    fn trusted(id: Uuid) -> Membership {
        Membership { may_reassign: true, ..membership(id) }
    }

    #[test]
    fn assignees_follow_the_relation_policy() {
        for (from, expected) in [
            (OWNER, [true; 7]),
            (SUPER, [false, true, true, true, true, true, true]),
            (MANAGER, [false, false, true, false, true, true, false]),
            (OTHER_MANAGER, [false, false, false, true, false, false, true]),
            (USER, [false, false, false, false, true, false, false]),
        ] {
            let allowed = ALL.map(|to| with(from, |actor| can_assign_to(actor, assignee(to)).is_ok()));
            assert_eq!(allowed, expected, "{from}");
        }
    }

    #[test]
    fn rejected_task_returns_to_its_assigner() {
        let mut task = task(OWNER);
        with(OWNER, |actor| assign(&mut task, actor, assignee(MANAGER), at(1))).unwrap();
        assert_eq!((task.assigned_by, task.accepted_at), (Some(OWNER), None));
        with(MANAGER, |actor| accept(&mut task, actor, at(2))).unwrap();
        with(MANAGER, |actor| assign(&mut task, actor, assignee(USER), at(3))).unwrap();
        let once = task.clone();
        with(MANAGER, |actor| assign(&mut task, actor, assignee(USER), at(4))).unwrap();
        assert_eq!(task, once);
        with(USER, |actor| reject(&mut task, actor, at(5))).unwrap();
        assert_eq!((task.assigned_to, task.assigned_by, task.accepted_at), (Some(MANAGER), None, Some(at(5))));
        let again = with(MANAGER, |actor| reject(&mut task, actor, at(6))).unwrap_err();
        assert_eq!(again.reason(), Reason::AssignmentAlreadyAccepted);
    }

    #[test]
    fn assigning_is_refused_to_others_than_the_holder() {
        let mut held = task(OWNER);
        held.assigned_to = Some(MANAGER);
        held.fields.visibility = crate::task::Visibility::Account;
        for (from, expected) in [
            (OWNER, Reason::TaskAlreadyAssigned),
            (OTHER_MANAGER, Reason::TaskChangeNotAllowed),
            (USER, Reason::TaskChangeNotAllowed),
        ] {
            let error = with(from, |actor| assign(&mut held.clone(), actor, assignee(STRANGER), at(1))).unwrap_err();
            assert_eq!(error.reason(), expected, "{from}");
        }
        let error = with(MANAGER, |actor| assign(&mut held, actor, assignee(STRANGER), at(1))).unwrap_err();
        assert_eq!(error.reason(), Reason::AssignmentNotAllowed);
    }

    #[test]
    fn reassigning_requires_right_and_relation() {
        let mut held = task(USER);
        held.assigned_to = Some(USER);
        let by = |id: Uuid, membership: Membership, mut task: Task, to: Uuid| {
            reassign(&mut task, Actor { id, membership: &membership }, assignee(to), at(1)).map_err(|e| e.reason())
        };
        let refused = Err(Reason::ReassignmentNotAllowed);
        assert_eq!(by(MANAGER, membership(MANAGER), held.clone(), COLLEAGUE), refused);
        assert_eq!(by(MANAGER, trusted(MANAGER), held.clone(), COLLEAGUE), Ok(()));
        assert_eq!(by(MANAGER, trusted(MANAGER), held.clone(), STRANGER), Err(Reason::AssignmentNotAllowed));
        assert_eq!(by(OTHER_MANAGER, trusted(OTHER_MANAGER), held.clone(), STRANGER), refused);
        assert_eq!(by(SUPER, membership(SUPER), held.clone(), STRANGER), Ok(()));
        assert_eq!(by(SUPER, membership(SUPER), held.clone(), OWNER), Err(Reason::AssignmentNotAllowed));
        assert_eq!(by(SUPER, membership(SUPER), task(USER), STRANGER), Err(Reason::TaskNotAssigned));
        held.start(at(0)).unwrap();
        held.complete(at(0)).unwrap();
        assert_eq!(by(OWNER, membership(OWNER), held, STRANGER), Err(Reason::TaskWrongState));
    }

    #[test]
    fn running_task_is_paused_on_reassignment() {
        let mut task = task(MANAGER);
        task.start(at(0)).unwrap();
        with(MANAGER, |actor| assign(&mut task, actor, assignee(MANAGER), at(5))).unwrap();
        assert_eq!(task.status, Status::InProgress, "it is the same person's work");
        with(MANAGER, |actor| assign(&mut task, actor, assignee(USER), at(10))).unwrap();
        assert_eq!((task.status, task.worked_seconds(at(100))), (Status::Paused, 10));
        task.resume(at(100)).unwrap();
        assert_eq!((task.pause_reason.as_deref(), task.accepted_at), (None, Some(at(100))));
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Assign(Uuid),
        Reassign(Uuid),
        Accept,
        Reject,
        Start,
        Pause,
        Resume,
        Complete,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        use Step::{Accept, Assign, Complete, Pause, Reassign, Reject, Resume, Start};
        let plain = prop::sample::select(vec![Accept, Reject, Start, Pause, Resume, Complete]);
        prop_oneof![2 => anyone().prop_map(Assign), 2 => anyone().prop_map(Reassign), 6 => plain]
    }

    proptest! {
        #[test]
        fn assignment_state_is_consistent_after_any_steps(steps in prop::collection::vec((anyone(), any_step()), 1..40)) {
            let mut task = task(OWNER);
            for (second, (person, step)) in (1..).zip(steps) {
                let (now, before, membership) = (at(second), task.clone(), trusted(person));
                let actor = Actor { id: person, membership: &membership };
                let work = |rule: &dyn Fn(&mut Task) -> Result<()>, task: &mut Task| {
                    actor.can_work_on(task).and_then(|()| rule(task))
                };
                let done = match step {
                    Step::Assign(to) => assign(&mut task, actor, assignee(to), now),
                    Step::Reassign(to) => reassign(&mut task, actor, assignee(to), now),
                    Step::Accept => accept(&mut task, actor, now),
                    Step::Reject => reject(&mut task, actor, now),
                    Step::Start => work(&|task| task.start(now), &mut task),
                    Step::Pause => work(&|task| task.pause("lunch".to_owned(), now), &mut task),
                    Step::Resume => work(&|task| task.resume(now), &mut task),
                    Step::Complete => work(&|task| task.complete(now), &mut task),
                };
                if done.is_err() {
                    prop_assert_eq!(&task, &before);
                }
                // The database checks these as well.
                match task.assigned_to {
                    None => prop_assert!(task.assigned_by.is_none() && task.accepted_at.is_none()),
                    Some(_) => prop_assert!(task.assigned_by.is_some() || task.accepted_at.is_some()),
                }
                prop_assert_eq!(task.status == Status::InProgress, task.running_since.is_some());
                // A task that was worked on or completed is accepted.
                if task.assigned_to.is_some() && task.accepted_at.is_none() {
                    prop_assert!(matches!(task.status, Status::Pending | Status::Paused));
                }
                // A completed task keeps its holder.
                if before.status == Status::Completed {
                    prop_assert_eq!(task.assigned_to, before.assigned_to);
                }
            }
        }
    }
}
