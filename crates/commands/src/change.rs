//! Commands that change tasks which exist: their status, assignee, priority, due time; one of them, or many.

mod assignment;
mod fields;
mod filter;
mod statement;
mod status;

use serde_json::{Map, Value, json};

pub(crate) use self::{filter::filter, statement::stated};
use crate::{
    Call,
    slots::Stop,
    words::Word,
    world::{Found, KnownTask, World},
};

/// Words that say that many are meant.
const ALL: [&str; 9] = ["all", "every", "everything", "any", "each", "both", "everyone's", "anything", "whatever"];

/// Statuses of open tasks.
pub(crate) const OPEN: [&str; 3] = ["pending", "in_progress", "paused"];

/// Reads a command that changes tasks; `None` if it is none.
pub(crate) fn read(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    assignment::assign(words, world)
        .or_else(|| fields::set_field(words, world))
        .or_else(|| status::status(words, world))
}

fn call(name: &'static str, arguments: Value) -> Call {
    let Value::Object(arguments) = arguments else { return Call { name, arguments: Map::new() } };
    Call { name, arguments }
}

/// The call of an action on the tasks of a filter.
fn bulk(filter: Map<String, Value>, action: String) -> Call {
    call("bulk_tasks", json!({"filter": filter, "action": action}))
}

/// The call of an action on one task.
fn one(id: &str, action: String) -> Call {
    call("bulk_tasks", json!({"filter": {"task_ids": [id]}, "action": action}))
}

/// The call of an action on what these words name.
fn of_tasks(words: &[Word<'_>], action: String, world: &World) -> Result<Vec<Call>, Stop> {
    let fits = |task: &KnownTask| OPEN.contains(&task.status.as_str());
    if let Some(tasks) = several(words, world, fits) {
        let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        return Ok(vec![call("bulk_tasks", json!({"filter": {"task_ids": ids}, "action": action}))]);
    }
    if is_many(words) {
        return Ok(vec![bulk(filter(words, world)?, action)]);
    }
    Ok(vec![one(&the_task(words, world, fits)?.id, action)])
}

/// Whether these words name many tasks.
fn is_many(words: &[Word<'_>]) -> bool {
    let plural = words.iter().any(|word| word.is_any(&["tasks", "tickets", "todos", "items", "ones"]));
    let first = words.iter().find(|word| !word.is_any(&["of", "the"]));
    first.is_some_and(|word| word.is_any(&ALL)) || plural && !words.iter().any(|word| word.quoted)
}

/// The tasks that some words name one after the other: `the login bug and the deployment`.
fn several<'w>(
    words: &[Word<'_>],
    world: &'w World,
    fits: impl Fn(&KnownTask) -> bool + Copy,
) -> Option<Vec<&'w KnownTask>> {
    let mut parts: Vec<Vec<&Word<'_>>> = vec![Vec::new()];
    for word in words {
        let splits = word.is_any(&["and", "&", "plus"]);
        if !splits && let Some(part) = parts.last_mut() {
            part.push(word);
        }
        if splits || word.mark == Some(',') {
            parts.push(Vec::new());
        }
    }
    parts.retain(|part| !part.is_empty());
    if parts.len() < 2 {
        return None;
    }
    let tasks = parts.iter().map(|part| match world.task(part, fits) {
        Found::One(task) => Some(task),
        Found::Several | Found::Nothing => None,
    });
    tasks.collect()
}

/// The task that some words name.
fn the_task<'w>(
    words: &[Word<'_>],
    world: &'w World,
    fits: impl Fn(&KnownTask) -> bool,
) -> Result<&'w KnownTask, Stop> {
    let mention: Vec<&Word<'_>> = words.iter().collect();
    match world.task(&mention, fits) {
        Found::One(task) => Ok(task),
        Found::Several | Found::Nothing => Err(Stop::Clarify("task_id")),
    }
}
