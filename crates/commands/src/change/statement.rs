//! What is said of tasks that exist, without a verb of command: `the audit is done`.

use serde_json::json;

use super::{
    assignment::to_person,
    bulk, filter, is_many, of_tasks, read,
    status::{PARTICIPLES, action_of, into_status},
    the_task,
};
use crate::{
    Call,
    phrases::{PRIORITY_WORDS, STATUS_WORDS, first_of, starts},
    rewrite::plain,
    slots::{Stop, Words, rfc3339},
    words::Word,
    world::{Found, Likeness, World},
};

/// Words between a task and what it is, or is to be.
const COPULAS: [&str; 28] = [
    "is", "are", "was", "were", "has", "have", "been", "be", "can", "could", "should", "must", "needs", "need", "to",
    "may", "gets", "get", "got", "all", "now", "already", "finally", "just", "->", "being", "still", "go",
];

/// What may follow: `the audit is done now`.
const TAILS: [&str; 10] = ["now", "finally", "already", "yesterday", "today", "again", "too", "please", "this", "at"];

/// Statuses by words that stand after a task only.
const DONE_WORDS: [(&str, &str); 6] = [
    ("wrapped up", "completed"),
    ("over", "completed"),
    ("put on hold", "paused"),
    ("reactivated", "in_progress"),
    ("called off", "canceled"),
    ("removed", "deleted"),
];

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
