//! Commands that assign tasks that exist.

use serde_json::json;

use super::{OPEN, bulk, call, filter, is_many, several, the_task};
use crate::{
    Call,
    slots::{Stop, Words, rfc3339},
    words::Word,
    world::{Found, Likeness, World},
};

pub(super) fn assign(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    let verb = match lower(0) {
        "assign" | "reassign" | "re-assign" | "delegate" | "give" | "transfer" | "pass" | "hand" => 1,
        "move" | "switch" | "put" => 1,
        _ => return None,
    };
    let over = usize::from(lower(verb) == "over" || lower(verb) == "off");
    let from = verb + over;
    // `assign eva to the login bug`
    let slots = Words::new(words);
    let (person, used) = slots.person_at(from, world, Likeness::Exact);
    if let Found::One(handle) = &person
        && used > 0
        && (matches!(lower(from + used), "to" | "the" | "on" | "my")
            || words.get(from + used).is_some_and(|word| word.quoted))
        && lower(0) != "move"
    {
        let skip = usize::from(matches!(lower(from + used), "to" | "on"));
        let object = &words[from + used + skip..];
        // A time may follow.
        let mut slots = Words::new(object);
        let due = slots.due(world);
        let left: Vec<Word<'_>> = slots.left().into_iter().cloned().collect();
        if !left.is_empty() && (the_task(&left, world, |_| true).is_ok() || is_many(&left)) {
            if let Err(stop) = due {
                return Some(Err(stop));
            }
            return Some(to_person(object, handle.clone(), &mut Words::new(&[]), world));
        }
    }
    // The last `to` with a person after it.
    let mut unknown = None;
    for at in (from + 1..words.len()).rev() {
        if !matches!(lower(at), "to" | "over" | "from") {
            continue;
        }
        if lower(at) != "to" {
            continue;
        }
        let (person, used) = slots.person_at(at + 1, world, Likeness::Close);
        let mut ends = at;
        if lower(ends - 1) == "over" {
            ends -= 1;
        }
        let object = &words[from..ends];
        match person {
            Found::One(handle) if used > 0 && !object.is_empty() => {
                let object = match object.iter().position(|word| word.is_any(&["from"])) {
                    // `from bob to eva`: of bob's tasks, if many are meant.
                    Some(from) if !is_many(object) => &object[..from],
                    _ => object,
                };
                let mut rest = Words::new(&words[at + 1 + used..]);
                return Some(to_person(object, handle, &mut rest, world));
            }
            Found::Several if used > 0 => {
                return Some(Err(if world.assigns() { Stop::Clarify("assigned_to") } else { Stop::Refuse }));
            }
            _ => unknown = unknown.or(Some(at)),
        }
    }
    match (lower(0), unknown) {
        ("move" | "switch" | "give" | "pass" | "put", _) => None,
        _ if !world.assigns() => Some(Err(Stop::Refuse)),
        _ => Some(Err(Stop::Clarify("assigned_to"))),
    }
}

/// The call that assigns what these words name. `rest` are the words after the person.
pub(super) fn to_person(
    object: &[Word<'_>],
    handle: String,
    rest: &mut Words<'_, '_>,
    world: &World,
) -> Result<Vec<Call>, Stop> {
    if !world.assigns() || !world.may_assign_to(&handle) {
        return Err(Stop::Refuse);
    }
    if let Some(tasks) = several(object, world, |_| true) {
        let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        return Ok(vec![call(
            "bulk_tasks",
            json!({"filter": {"task_ids": ids}, "action": format!("assign:{handle}")}),
        )]);
    }
    if is_many(object) {
        return Ok(vec![bulk(filter(object, world)?, format!("assign:{handle}"))]);
    }
    let mut slots = Words::new(object);
    let due = match rest.due(world)? {
        Some(due) => Some(due),
        None => slots.due(world)?,
    };
    let left = slots.left();
    let task = match world.task(&left, |task| OPEN.contains(&task.status.as_str())) {
        Found::One(task) => task,
        Found::Several | Found::Nothing => return Err(Stop::Clarify("task_id")),
    };
    let mut arguments = json!({"task_id": task.id, "assigned_to": handle});
    if let Some(due) = due {
        arguments["due_date"] = json!(rfc3339(due));
    }
    Ok(vec![call("assign_task", arguments)])
}
