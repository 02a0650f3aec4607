//! Commands and reports that bring tasks into a status.

use serde_json::{Value, json};

use super::{OPEN, bulk, call, filter, is_many, one, several, the_task};
use crate::{
    Call,
    phrases::{PRIORITY_WORDS, STATUS_WORDS, first_of, starts},
    slots::{Stop, Words},
    words::Word,
    world::{KnownTask, World},
};

/// Verbs that put a task into a status, or do away with it.
const MOVES: [(&str, &str); 40] = [
    ("complete", "completed"),
    ("finish", "completed"),
    ("close", "completed"),
    ("close out", "completed"),
    ("wrap up", "completed"),
    ("start", "in_progress"),
    ("start working on", "in_progress"),
    ("start work on", "in_progress"),
    ("begin", "in_progress"),
    ("begin working on", "in_progress"),
    ("begin work on", "in_progress"),
    ("resume", "in_progress"),
    ("resume work on", "in_progress"),
    ("continue", "in_progress"),
    ("continue with", "in_progress"),
    ("go back to", "in_progress"),
    ("get back to", "in_progress"),
    ("back to", "in_progress"),
    ("unpause", "in_progress"),
    ("restart", "in_progress"),
    ("i'm back to", "in_progress"),
    ("i'm back on", "in_progress"),
    ("pause", "paused"),
    ("hold", "paused"),
    ("suspend", "paused"),
    ("reopen", "pending"),
    ("re-open", "pending"),
    ("archive", "archived"),
    ("cancel", "canceled"),
    ("delete", "deleted"),
    ("remove", "deleted"),
    ("trash", "deleted"),
    ("drop", "canceled"),
    ("call off", "canceled"),
    ("get rid of", "deleted"),
    ("bin", "deleted"),
    ("clear", "deleted"),
    ("clear out", "deleted"),
    ("scrap", "canceled"),
    ("abandon", "canceled"),
];

/// What the caller says of their own work: `I finished ...`, `I'm done with ...`.
const REPORTED: [(&str, &str); 30] = [
    ("i finished", "completed"),
    ("i've finished", "completed"),
    ("i have finished", "completed"),
    ("i just finished", "completed"),
    ("just finished", "completed"),
    ("finished", "completed"),
    ("i completed", "completed"),
    ("i've completed", "completed"),
    ("i have completed", "completed"),
    ("i just completed", "completed"),
    ("completed", "completed"),
    ("i'm done with", "completed"),
    ("i am done with", "completed"),
    ("im done with", "completed"),
    ("done with", "completed"),
    ("i'm finished with", "completed"),
    ("i closed", "completed"),
    ("i've closed", "completed"),
    ("i started", "in_progress"),
    ("i've started", "in_progress"),
    ("i just started", "in_progress"),
    ("i'm starting", "in_progress"),
    ("i am starting", "in_progress"),
    ("i'm working on", "in_progress"),
    ("i'm starting work on", "in_progress"),
    ("i began", "in_progress"),
    ("i'm resuming", "in_progress"),
    ("i paused", "paused"),
    ("i've paused", "paused"),
    ("i'm pausing", "paused"),
];

/// What somebody has done, or is doing: `we finished ...`, `pausing ...`
pub(super) const PARTICIPLES: [(&str, &str); 26] = [
    ("finished", "completed"),
    ("completed", "completed"),
    ("closed", "completed"),
    ("closed out", "completed"),
    ("wrapped up", "completed"),
    ("done with", "completed"),
    ("finishing", "completed"),
    ("completing", "completed"),
    ("closing", "completed"),
    ("wrapping up", "completed"),
    ("started", "in_progress"),
    ("started working on", "in_progress"),
    ("begun", "in_progress"),
    ("began", "in_progress"),
    ("resumed", "in_progress"),
    ("starting", "in_progress"),
    ("resuming", "in_progress"),
    ("working on", "in_progress"),
    ("beginning", "in_progress"),
    ("paused", "paused"),
    ("pausing", "paused"),
    ("stopped working on", "paused"),
    ("reopened", "pending"),
    ("reopening", "pending"),
    ("archiving", "archived"),
    ("canceling", "canceled"),
];

/// Verbs before a task and the status that it gets.
const MARK: [&str; 9] = ["mark", "set", "move", "change", "put", "switch", "update", "flag", "bring"];

pub(super) fn status(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    let we = usize::from(matches!(lower(0), "we" | "we've" | "i" | "i've" | "i'm" | "he" | "she" | "they"));
    let have = we + usize::from(we == 1 && matches!(lower(we), "have" | "just" | "am" | "has"));
    if let Some((status, used)) = first_of(words, 0, &REPORTED)
        .or_else(|| first_of(words, have, &PARTICIPLES).map(|(status, used)| (status, used + have)))
        && words.len() > used
    {
        match into_status(&words[used..], status, world) {
            Err(Stop::Clarify("task_id")) if have == 0 && first_of(words, 0, &REPORTED).is_none() => {}
            read => return Some(read),
        }
    }
    // `mark ... as done`, `put ... on hold`, `set the status of ... to paused`
    if MARK.contains(&lower(0)) {
        let mut from = 1;
        for phrase in [&["the", "status", "of"][..], &["status", "of"], &["status", "for"]] {
            if starts(words, from, phrase) {
                from += phrase.len();
                break;
            }
        }
        for at in (from..words.len()).rev() {
            let to = match lower(at) {
                "as" | "to" | "into" => at + 1,
                "in" if lower(at + 1) != "progress" => at + 1,
                _ if matches!(lower(at - 1), "as" | "to" | "into") => continue,
                "on" if lower(at + 1) == "hold" => at,
                "in" if matches!(lower(at + 1), "progress") => at,
                _ if at > from
                    && at + 1 == words.len()
                    && first_of(words, at, &STATUS_WORDS).is_some()
                    && lower(0) == "mark" =>
                {
                    at
                }
                _ => continue,
            };
            let to = to + usize::from(matches!(lower(to), "the" | "being"));
            let ends = if lower(at) == "to" && at > from && lower(at - 1) == "back" { at - 1 } else { at };
            let object = &words[from..ends];
            if object.is_empty() {
                continue;
            }
            if let Some((status, used)) = first_of(words, to, &STATUS_WORDS)
                && to + used >= words.len()
            {
                return Some(into_status(object, status, world));
            }
            // A status that nobody knows.
            let is_about_status = lower(0) == "mark" || from > 1 || lower(at - 1) == "status";
            let is_known = || the_task(object, world, |_| true).is_ok();
            let is_status = is_about_status
                || matches!(lower(0), "move" | "put" | "switch" | "change" | "set" | "bring") && is_known();
            if matches!(lower(at), "as" | "to" | "in" | "into")
                && is_status
                && first_of(words, to, &PRIORITY_WORDS).is_none()
            {
                return Some(Err(match the_task(object, world, |_| true) {
                    _ if is_many(object) => Stop::Clarify("status"),
                    Ok(_) => Stop::Clarify("status"),
                    Err(stop) => stop,
                }));
            }
        }
    }
    if let Some((status, used)) = first_of(words, 0, &MOVES)
        && words.len() > used
    {
        let object = &words[used..];
        return match into_status(object, status, world) {
            // Something that is to be done, not a task that exists.
            Err(Stop::Clarify("task_id")) if is_new_work(object, status, world) => None,
            other => Some(other),
        };
    }
    // `the login bug is done`
    if matches!(
        lower(0),
        "which" | "what" | "who" | "how" | "are" | "is" | "do" | "does" | "show" | "list" | "whose" | "where" | "why"
    ) {
        return None;
    }
    for at in 1..words.len() {
        let verb = match lower(at) {
            "is" | "are" | "has" | "was" | "->" => 1,
            _ => continue,
        };
        let mut to = at + verb;
        while matches!(lower(to), "now" | "been" | "all" | "already" | "finally") {
            to += 1;
        }
        if let Some((status, used)) = first_of(words, to, &STATUS_WORDS)
            && to + used >= words.len()
        {
            let object = &words[..at];
            if let Ok(calls) = into_status(object, status, world) {
                return Some(Ok(calls));
            }
        }
    }
    None
}

/// The call that brings what these words name into a status.
pub(super) fn into_status(words: &[Word<'_>], status: &str, world: &World) -> Result<Vec<Call>, Stop> {
    let fits = |task: &KnownTask| can_become(task, status);
    if let Some(tasks) = several(words, world, fits) {
        let ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        let filter = json!({"task_ids": ids});
        let Value::Object(filter) = filter else { return Err(Stop::Clarify("task_id")) };
        return Ok(vec![bulk(filter, action_of(status))]);
    }
    if is_many(words) {
        let filter = filter(words, world)?;
        return Ok(vec![bulk(filter, action_of(status))]);
    }
    let task = the_task(words, world, fits)?;
    Ok(vec![match status {
        "archived" | "canceled" | "deleted" => one(&task.id, action_of(status)),
        status => call("update_task_status", json!({"task_id": task.id, "status": status})),
    }])
}

/// The action of bulk changes that brings tasks into a status.
pub(super) fn action_of(status: &str) -> String {
    match status {
        "archived" => "archive".to_owned(),
        "canceled" => "cancel".to_owned(),
        "deleted" => "delete".to_owned(),
        other => format!("set_status:{other}"),
    }
}

/// Whether a task can be brought into a status.
fn can_become(task: &KnownTask, status: &str) -> bool {
    match status {
        "pending" => matches!(task.status.as_str(), "completed" | "canceled" | "archived"),
        "archived" => matches!(task.status.as_str(), "completed" | "canceled"),
        "deleted" => true,
        other => OPEN.contains(&task.status.as_str()) && task.status != other,
    }
}

/// Whether a verb of the lifecycle with this object rather says what is to be done: `close the deal by Friday`.
fn is_new_work(object: &[Word<'_>], status: &str, world: &World) -> bool {
    let says_task = object
        .iter()
        .any(|word| word.quoted || word.is_any(&["task", "tasks", "ticket", "item", "it", "that", "this"]));
    if says_task || !matches!(status, "completed" | "in_progress" | "deleted" | "canceled") {
        return false;
    }
    Words::new(object).due(world).is_ok_and(|due| due.is_some())
}
