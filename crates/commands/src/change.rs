//! Commands that change tasks which exist: their status, assignee, priority, due time; one of them, or many.

use serde_json::{Map, Value, json};

use crate::{
    Call,
    phrases::{PRIORITY_WORDS, Priority, RANGES, STATUS_WORDS, first_of, starts, tag},
    rewrite::plain,
    slots::{Stop, Words, rfc3339},
    words::Word,
    world::{Found, KnownTask, Likeness, World},
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
const PARTICIPLES: [(&str, &str); 26] = [
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
/// Words that say that many are meant.
const ALL: [&str; 9] = ["all", "every", "everything", "any", "each", "both", "everyone's", "anything", "whatever"];

/// Statuses of open tasks.
pub(crate) const OPEN: [&str; 3] = ["pending", "in_progress", "paused"];

/// Reads a command that changes tasks; `None` if it is none.
pub(crate) fn read(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    assign(words, world).or_else(|| set_field(words, world)).or_else(|| status(words, world))
}

fn call(name: &'static str, arguments: Value) -> Call {
    let Value::Object(arguments) = arguments else { return Call { name, arguments: Map::new() } };
    Call { name, arguments }
}

/// The call of an action on the tasks of a filter.
fn bulk(filter: Map<String, Value>, action: String) -> Call {
    call("bulk_tasks", json!({"filter": filter, "action": action}))
}

/// Whether these words name many tasks.
fn is_many(words: &[Word<'_>]) -> bool {
    let plural = words.iter().any(|word| word.is_any(&["tasks", "tickets", "todos", "items", "ones"]));
    let first = words.iter().find(|word| !word.is_any(&["of", "the"]));
    first.is_some_and(|word| word.is_any(&ALL)) || plural && !words.iter().any(|word| word.quoted)
}

/// The filter that a noun phrase says: `completed tasks from last week`.
pub(crate) fn filter(words: &[Word<'_>], world: &World) -> Result<Map<String, Value>, Stop> {
    let mut filter = Map::new();
    let mut slots = Words::new(words);
    let mut status: Vec<&str> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if !slots.is_free(at) {
            at += 1;
            continue;
        }
        let word = slots.lower(at);
        if let Some((range, used)) = first_of(words, at, &RANGES) {
            filter.insert("time_range".to_owned(), json!(range));
            slots.take(at, at + used);
            at += used;
            continue;
        }
        if matches!(word, "overdue" | "late" | "delayed")
            || starts(words, at, &["past", "due"])
            || starts(words, at, &["past", "their", "due"])
        {
            filter.insert("overdue".to_owned(), json!(true));
            at += if word == "past" { 2 } else { 1 };
            continue;
        }
        if let Some((priority, used)) = first_of(words, at, &PRIORITY_WORDS) {
            filter.insert("priority".to_owned(), json!(priority.name()));
            at += used;
            continue;
        }
        if let Some(name) = word.strip_suffix("-priority").filter(|name| matches!(*name, "high" | "medium" | "low")) {
            filter.insert("priority".to_owned(), json!(name));
            at += 1;
            continue;
        }
        if let Some((name, used)) = tag(words, at) {
            filter.insert("tag".to_owned(), json!(name));
            at += used;
            continue;
        }
        if matches!(word, "open" | "unfinished" | "incomplete" | "outstanding" | "remaining" | "uncompleted") {
            status.extend(OPEN);
            at += 1;
            continue;
        }
        if let Some((name, used)) = first_of(words, at, &STATUS_WORDS)
            && !matches!(*name, "deleted")
            && !(word == "to"
                && at > 0
                && matches!(slots.lower(at - 1), "have" | "has" | "supposed" | "need" | "needs" | "left" | "got"))
        {
            status.push(name);
            at += used;
            continue;
        }
        if word == "my" && matches!(slots.lower(at + 1), "manager" | "manager's" | "boss" | "boss's") {
            let handle = world.manager().ok_or(Stop::Clarify("assigned_to"))?;
            filter.insert("assigned_to".to_owned(), json!(handle));
            at += 2;
            continue;
        }
        // Whose they are was said elsewhere.
        if matches!(word, "his" | "her" | "hers" | "their" | "theirs") {
            match &world.subject {
                Some(handle) => filter.insert("assigned_to".to_owned(), json!(handle)),
                None => return Err(Stop::Clarify("assigned_to")),
            };
            at += 1;
            continue;
        }
        let shown = at > 0
            && matches!(
                slots.lower(at - 1),
                "show" | "tell" | "give" | "get" | "find" | "send" | "list" | "let" | "fetch"
            );
        if word == "me" && shown
            || matches!(word, "my" | "i") && matches!(slots.lower(at + 1), "team" | "team's" | "people")
        {
            at += 1;
            continue;
        }
        if matches!(word, "my" | "mine" | "i've" | "i'm" | "i'd") || word == "me" || word == "i" {
            filter.insert("assigned_to".to_owned(), json!(world.caller));
            at += 1;
            continue;
        }
        let owned = word.ends_with("'s") || word.ends_with('\'');
        let after = at > 0
            && matches!(
                slots.lower(at - 1),
                "to" | "of" | "by" | "for" | "does" | "is" | "has" | "from" | "did" | "with"
            );
        if owned || after || word.starts_with('@') {
            let (person, used) = slots.person_at(at, world, Likeness::Close);
            match person {
                Found::One(handle) if used > 0 => {
                    filter.insert("assigned_to".to_owned(), json!(handle));
                    at += used;
                    continue;
                }
                Found::Several if used > 0 => return Err(Stop::Clarify("assigned_to")),
                _ if at > 1 && starts(words, at.saturating_sub(2), &["assigned", "to"]) => {
                    return Err(Stop::Clarify("assigned_to"));
                }
                _ => {}
            }
        } else {
            let (person, used) = slots.person_at(at, world, Likeness::Exact);
            if let Found::One(handle) = person
                && used > 0
            {
                filter.insert("assigned_to".to_owned(), json!(handle));
                at += used;
                continue;
            }
        }
        at += 1;
    }
    if !status.is_empty() {
        status.dedup();
        filter.insert("status".to_owned(), json!(status));
    }
    Ok(filter)
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

/// The action of bulk changes that brings tasks into a status.
fn action_of(status: &str) -> String {
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

/// The call that brings what these words name into a status.
fn into_status(words: &[Word<'_>], status: &str, world: &World) -> Result<Vec<Call>, Stop> {
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

/// The call of an action on one task.
fn one(id: &str, action: String) -> Call {
    call("bulk_tasks", json!({"filter": {"task_ids": [id]}, "action": action}))
}

/// Words between a task and what it is, or is to be.
const COPULAS: [&str; 28] = [
    "is", "are", "was", "were", "has", "have", "been", "be", "can", "could", "should", "must", "needs", "need", "to",
    "may", "gets", "get", "got", "all", "now", "already", "finally", "just", "->", "being", "still", "go",
];
/// What may follow: `the audit is done now`.
const TAILS: [&str; 10] = ["now", "finally", "already", "yesterday", "today", "again", "too", "please", "this", "at"];

/// Reads what is said of tasks that exist: `the audit should be assigned to eva`, `the audit is done`.
pub(crate) fn stated(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    if matches!(
        lower(0),
        "which"
            | "what"
            | "what's"
            | "who"
            | "how"
            | "are"
            | "is"
            | "do"
            | "does"
            | "did"
            | "show"
            | "list"
            | "whose"
            | "where"
            | "why"
            | "when"
            | "if"
            | "whenever"
            | "remind"
    ) {
        return None;
    }
    // `nirmala resumed the redesign`
    let (person, used) = Words::new(words).person_at(0, world, Likeness::Exact);
    if let Found::One(_) = person
        && used > 0
        && let Some((status, more)) = first_of(words, used, &PARTICIPLES)
        && words.len() > used + more
        && let Ok(calls) = into_status(&words[used + more..], status, world)
    {
        return Some(Ok(calls));
    }
    assigned(words, world).or_else(|| ordered(words, world)).or_else(|| predicate(words, world))
}

/// `... should be assigned to eva`, `... -> assign to eva`, `let eva take over ...`
fn assigned(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    let slots = Words::new(words);
    let begins = usize::from(matches!(lower(0), "let" | "have" | "could" | "can"));
    let (person, used) = slots.person_at(begins, world, Likeness::Exact);
    if let Found::One(handle) = person
        && used > 0
    {
        let mut at = begins + used;
        while matches!(lower(at), "should" | "will" | "can" | "must" | "please" | "to" | "is" | "going" | "needs") {
            at += 1;
        }
        let takes = [
            &["take", "over"][..],
            &["takes", "over"],
            &["take", "care", "of"],
            &["takes", "care", "of"],
            &["handle"],
            &["own"],
            &["pick", "up"],
            &["take", "on"],
            &["take"],
            &["takes"],
        ];
        if let Some(phrase) = takes.iter().find(|phrase| starts(words, at, phrase)) {
            let mut object = Words::new(&words[at + phrase.len()..]);
            let due = object.due(world);
            let left: Vec<Word<'_>> = object.left_over();
            // `i will take the renewal, so assign it to me`
            let left: Vec<Word<'_>> = match left.iter().position(|word| word.is_any(&["so"])) {
                Some(so) => left[..so].to_vec(),
                None => left,
            };
            if the_task(&left, world, |_| true).is_ok() {
                return Some(match due {
                    Err(stop) => Err(stop),
                    Ok(due) => to_person(&left, handle, &mut Words::new(&[]), world).map(|calls| with_due(calls, due)),
                });
            }
        }
    }
    for at in 1..words.len() {
        if !matches!(
            lower(at),
            "assigned"
                | "reassigned"
                | "given"
                | "handed"
                | "transferred"
                | "assign"
                | "give"
                | "go"
                | "goes"
                | "reassign"
                | "delegated"
        ) {
            continue;
        }
        let mut to = at + 1;
        while matches!(lower(to), "it" | "them" | "over" | "this" | "that" | "all") {
            to += 1;
        }
        if lower(to) != "to" {
            continue;
        }
        let (person, used) = slots.person_at(to + 1, world, Likeness::Close);
        let mut from = at;
        while from > 0
            && (COPULAS.contains(&lower(from - 1)) || matches!(lower(from - 1), "please" | "so" | "and" | "not"))
        {
            from -= 1;
        }
        let begins = usize::from(matches!(lower(0), "have" | "could" | "can" | "let" | "get" | "should"));
        let object = words.get(begins..from).unwrap_or_default();
        let is_known = !object.is_empty()
            && (the_task(object, world, |_| true).is_ok()
                || is_many(object) && object.iter().any(|word| word.is_any(&["tasks", "all", "everything"])));
        // `create a task ... and assign it to eva` is another command.
        let creates = object.iter().any(|word| word.is_any(&["create", "add", "new", "make"]));
        if !is_known || creates {
            continue;
        }
        return Some(match person {
            Found::One(handle) if used > 0 => {
                to_person(object, handle, &mut Words::new(&words[to + 1 + used..]), world)
            }
            _ if !world.assigns() => Err(Stop::Refuse),
            _ => Err(Stop::Clarify("assigned_to")),
        });
    }
    None
}

fn with_due(mut calls: Vec<Call>, due: Option<chrono::DateTime<chrono_tz::Tz>>) -> Vec<Call> {
    if let (Some(due), Some(call)) = (due, calls.first_mut()) {
        call.arguments.insert("due_date".to_owned(), json!(rfc3339(due)));
    }
    calls
}

/// `april's overdue tasks: set them all to high priority` is `set april's overdue tasks to high priority`.
fn ordered(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let colon = words.iter().position(|word| matches!(word.mark, Some(':' | '—' | ',' | '.')))?;
    let object = &words[..=colon];
    let rest = plain(words.get(colon + 1..)?);
    let verb = rest.first()?;
    if !is_many(object) && the_task(object, world, |_| true).is_err() {
        return None;
    }
    let them = rest.iter().position(|word| word.is_any(&["them", "it", "these", "those"]))?;
    if them > 2 || verb.quoted {
        return None;
    }
    let mut said: Vec<Word<'_>> = rest[..them].to_vec();
    said.extend(object.iter().cloned().map(|word| Word { mark: None, ..word }));
    said.extend(rest[them + 1..].iter().filter(|word| !word.is_any(&["all", "please"])).cloned());
    read(&said, world)
}

/// `the audit is done`, `everything that is canceled can be deleted`
fn predicate(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    // `everything due today gets high priority`
    for at in (1..words.len()).rev() {
        if matches!(lower(at), "gets" | "get" | "becomes" | "become")
            && let Some((priority, used)) = first_of(words, at + 1, &PRIORITY_WORDS)
            && at + 1 + used == words.len()
        {
            let object = &words[..at];
            return Some(of_tasks(object, format!("set_priority:{}", priority.name()), world));
        }
    }
    for at in (1..words.len()).rev() {
        let Some((status, used)) = first_of(words, at, &STATUS_WORDS).or_else(|| first_of(words, at, &DONE_WORDS))
        else {
            continue;
        };
        let ends = at + used;
        let tail = lower(ends);
        let is_end = ends >= words.len()
            || TAILS.contains(&tail) && words.len() - ends <= 2
            || matches!(tail, "until" | "till" | "because" | "for" | "since" | "as" | "by");
        if !is_end {
            continue;
        }
        let mut from = at;
        while from > 0 && COPULAS.contains(&lower(from - 1)) {
            from -= 1;
        }
        let linked = from < at || words[from - 1].mark.is_some();
        let object = &words[..from];
        if object.is_empty() {
            continue;
        }
        let participle = matches!(
            lower(at),
            "done"
                | "finished"
                | "completed"
                | "resumed"
                | "paused"
                | "reopened"
                | "closed"
                | "archived"
                | "canceled"
                | "cancelled"
                | "started"
                | "deleted"
        );
        if !linked && !participle {
            continue;
        }
        // What a list of tasks is like is no predicate: `show paused tasks`.
        if is_many(object) {
            let orders = (from..at)
                .any(|at| matches!(lower(at), "can" | "should" | "must" | "needs" | "need" | "could" | "may"));
            return (orders && linked)
                .then(|| filter(object, world).map(|filter| vec![bulk(filter, action_of(status))]));
        }
        match into_status(object, status, world) {
            Ok(calls) => return Some(Ok(calls)),
            Err(Stop::Clarify("task_id"))
                if linked
                    && matches!(object[0].lower.as_str(), "the" | "that" | "my")
                    && object.len() <= 4
                    && from < at =>
            {
                return Some(Err(Stop::Clarify("task_id")));
            }
            Err(_) => {}
        }
    }
    None
}

/// Statuses by words that stand after a task only.
const DONE_WORDS: [(&str, &str); 6] = [
    ("wrapped up", "completed"),
    ("over", "completed"),
    ("put on hold", "paused"),
    ("reactivated", "in_progress"),
    ("called off", "canceled"),
    ("removed", "deleted"),
];

fn status(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
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

fn assign(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
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
fn to_person(object: &[Word<'_>], handle: String, rest: &mut Words<'_, '_>, world: &World) -> Result<Vec<Call>, Stop> {
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

/// `set the priority of ... to high`, `make ... urgent`, `postpone ... to Friday`.
fn set_field(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    let verb = lower(0);
    let has = |of: &[&str]| words.iter().any(|word| word.is_any(of));
    let names_priority = has(&["priority", "prio", "urgent", "critical", "p1", "p2", "p3"]);
    let names_due = has(&["due", "deadline"]);
    let moves_time =
        matches!(verb, "postpone" | "reschedule" | "defer" | "delay" | "push" | "extend" | "bump" | "shift" | "move");
    let raises = matches!(verb, "prioritize" | "prioritise" | "deprioritize" | "deprioritise" | "escalate");
    let sets = matches!(
        verb,
        "set"
            | "change"
            | "make"
            | "update"
            | "mark"
            | "raise"
            | "lower"
            | "bump"
            | "increase"
            | "decrease"
            | "flag"
            | "drop"
            | "put"
            | "give"
    );
    if raises && words.len() > 1 {
        let priority = if verb.starts_with("de") { "low" } else { "high" };
        return Some(of_tasks(&words[1..], format!("set_priority:{priority}"), world));
    }
    let by_priority = words.last().is_some_and(|word| {
        word.is_any(&["priority", "prio", "urgent", "critical", "high", "low", "medium", "p1", "p2", "p3"])
    });
    if sets && names_priority && (!names_due || by_priority) {
        let mut slots = Words::new(words);
        slots.take(0, 1);
        for phrase in [
            &["the", "priority", "of"][..],
            &["priority", "of"],
            &["the", "priority", "for"],
            &["priority", "for"],
            &["the", "priority", "on"],
            &["priority", "on"],
        ] {
            if starts(words, 1, phrase) {
                slots.take(1, 1 + phrase.len());
                break;
            }
        }
        let mut named: Option<(usize, usize, Priority)> = None;
        for at in (1..words.len()).rev() {
            let word = lower(at);
            let plain = match word {
                "high" | "urgent" | "critical" | "highest" | "top" => Some(Priority::High),
                "medium" | "normal" => Some(Priority::Medium),
                "low" | "lowest" => Some(Priority::Low),
                _ => None,
            };
            if let Some((priority, used)) = first_of(words, at, &PRIORITY_WORDS) {
                named = Some((at, at + used, *priority));
            } else if let Some(priority) = plain {
                let to = at + 1 + usize::from(matches!(lower(at + 1), "priority" | "prio"));
                named = Some((at, to, priority));
            } else if let Some(name) = word.strip_suffix("-priority") {
                let priority = match name {
                    "high" | "top" => Priority::High,
                    "low" => Priority::Low,
                    _ => Priority::Medium,
                };
                named = Some((at, at + 1, priority));
            } else {
                continue;
            }
            break;
        }
        let by_verb = match verb {
            "raise" | "increase" | "bump" => Some(Priority::High),
            "lower" | "decrease" | "drop" => Some(Priority::Low),
            _ => None,
        };
        let priority = match (named, by_verb) {
            (Some((from, to, priority)), _) if to + 1 >= words.len() || from + 1 >= words.len() => {
                let mut from = from;
                while from > 1
                    && matches!(lower(from - 1), "to" | "as" | "a" | "an" | "with" | "priority" | "prio" | "is")
                {
                    from -= 1;
                }
                slots.take(from, words.len());
                priority
            }
            (_, Some(priority)) => priority,
            (Some(_), None) | (None, None) => {
                return matches!(verb, "set" | "change" | "update").then_some(Err(Stop::Clarify("priority")));
            }
        };
        let left: Vec<Word<'_>> = slots.left().into_iter().cloned().collect();
        // `Login bug's priority`.
        let left: Vec<Word<'_>> =
            left.into_iter().filter(|word| !word.is_any(&["priority", "prio", "priority's"])).collect();
        if left.is_empty() {
            return None;
        }
        return Some(of_tasks(&left, format!("set_priority:{}", priority.name()), world));
    }
    if moves_time || sets && names_due {
        let mut slots = Words::new(words);
        slots.take(0, 1);
        for phrase in [
            &["the", "due", "date", "of"][..],
            &["the", "due", "date", "for"],
            &["due", "date", "of"],
            &["due", "date", "for"],
            &["the", "deadline", "of"],
            &["the", "deadline", "for"],
            &["deadline", "of"],
            &["deadline", "for"],
            &["back"],
            &["out"],
        ] {
            if starts(words, 1, phrase) {
                slots.take(1, 1 + phrase.len());
                break;
            }
        }
        let preposition = (2..words.len())
            .rev()
            .find(|at| matches!(lower(*at), "to" | "until" | "till" | "for" | "due" | "by" | "on"));
        let (object, due) = match preposition {
            Some(at) => {
                let mut time = Words::new(&words[at + 1..]);
                let mut due = time.due(world);
                if matches!(due, Ok(None)) && lower(at) != "to" {
                    let mut time = Words::new(&words[at..]);
                    due = time.due(world);
                }
                (at, due)
            }
            None => return None,
        };
        let due = match due {
            Ok(Some(due)) => due,
            Ok(None) => return None,
            Err(stop) => return Some(Err(stop)),
        };
        slots.take(object, words.len());
        let left: Vec<Word<'_>> =
            slots.left().into_iter().filter(|word| !word.is_any(&["due", "date", "deadline"])).cloned().collect();
        if left.is_empty() {
            return None;
        }
        return Some(of_tasks(&left, format!("set_due:{}", rfc3339(due)), world));
    }
    None
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
