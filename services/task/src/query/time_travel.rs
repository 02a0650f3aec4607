//! Boards in the past: the filters and orders of lists for replayed tasks. Unchanged tasks come from the list query; a
//! test checks that both agree.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use crate::{
    policy::visibility::Actor,
    query::{
        date_range::Range,
        filter::{Filter, Scope, Sort},
    },
    task::{Status, Task},
};

/// Whether a board with this scope and filter contained the task at `then`.
pub(crate) fn shows(actor: Actor<'_>, scope: Scope, filter: &Filter, task: &Task, then: DateTime<Utc>) -> bool {
    let fields = &task.fields;
    let in_state =
        if filter.status.is_empty() { task.status != Status::Archived } else { filter.status.contains(&task.status) };
    in_state
        && in_scope(actor, scope, task)
        && (filter.priority.is_empty() || filter.priority.contains(&fields.priority))
        && filter.assigned_to.is_none_or(|person| task.assigned_to == Some(person))
        && filter.created_by.is_none_or(|person| task.created_by == person)
        && filter.due_from.is_none_or(|from| fields.due_at.is_some_and(|due| due >= from))
        && filter.due_to.is_none_or(|to| fields.due_at.is_some_and(|due| due < to))
        && is_in(filter.created, Some(task.created_at))
        && is_in(filter.updated, Some(task.updated_at))
        && is_in(filter.completed, task.completed_at)
        && filter.tags.iter().all(|tag| fields.tags.contains(tag))
        && filter.overdue.is_none_or(|overdue| task.is_overdue(then) == overdue)
        && filter.unassigned.is_none_or(|nobody| task.assigned_to.is_none() == nobody)
        && filter.parent_task_id.is_none_or(|parent| fields.parent_task_id == Some(parent))
        && filter.has_due.is_none_or(|dated| fields.due_at.is_some() == dated)
}

fn is_in(range: Option<Range>, time: Option<DateTime<Utc>>) -> bool {
    range.is_none_or(|(from, to)| time.is_some_and(|time| from <= time && time < to))
}

fn in_scope(actor: Actor<'_>, scope: Scope, task: &Task) -> bool {
    match scope {
        Scope::Visible => true,
        Scope::BoardOf(person) => task.worker() == person,
        Scope::AssignedTo(person) => task.assigned_to == Some(person),
        Scope::AssignedBy(person) => task.assigned_by == Some(person),
        Scope::Team => {
            let mut people = [Some(task.created_by), task.assigned_to].into_iter().flatten();
            actor.is_account_admin() || people.any(|person| person == actor.id || actor.manages(person))
        }
    }
}

/// Compares two tasks by the filter's sort order.
pub(crate) fn compare(filter: &Filter, one: &Task, other: &Task) -> Ordering {
    let by_key = match filter.sort {
        Sort::CreatedAt => Ordering::Equal,
        Sort::UpdatedAt => one.updated_at.cmp(&other.updated_at),
        Sort::DueAt => one.fields.due_at.cmp(&other.fields.due_at),
        Sort::Priority => one.fields.priority.level().cmp(&other.fields.priority.level()),
        Sort::Rank => one.rank.cmp(&other.rank),
    };
    let ordered = by_key.then(one.id.cmp(&other.id));
    let undated = |task: &Task| filter.sort == Sort::DueAt && task.fields.due_at.is_none();
    undated(one).cmp(&undated(other)).then(if filter.descending { ordered.reverse() } else { ordered })
}
