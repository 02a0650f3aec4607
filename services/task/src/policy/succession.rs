//! Succession: the tasks of departed members that their successors take over.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    policy::assignment,
    task::{Task, change::AppliedChange},
};

/// Hands a task of the departed member `from` over to `to`.
pub(crate) fn hand_over(before: Task, from: Uuid, to: Uuid, now: DateTime<Utc>) -> AppliedChange {
    let mut after = before.clone();
    let kind = assignment::take_over(&mut after, from, to, now);
    AppliedChange { before, after, kind, reason: None }
}

/// Hands the tasks of departed members over to their successors. Tasks of present members do not change.
pub(crate) fn hand_over_all(
    tasks: &[Task],
    successors: &HashMap<Uuid, Uuid>,
    now: DateTime<Utc>,
) -> Vec<AppliedChange> {
    let change = |task: &Task| {
        let (from, to) = required_people(task).find_map(|from| Some((from, *successors.get(&from)?)))?;
        Some(hand_over(task.clone(), from, to, now))
    };
    tasks.iter().filter_map(change).collect()
}

/// People that an open task depends on: its worker, and the assigner to whom an unaccepted task can return.
pub(crate) fn required_people(task: &Task) -> impl Iterator<Item = Uuid> + use<> {
    let offered_by = task.assigned_by.filter(|_| task.accepted_at.is_none());
    let people = if task.is_open() { [Some(task.worker()), offered_by] } else { [None, None] };
    people.into_iter().flatten()
}
