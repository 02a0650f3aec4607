//! Commands that create tasks.

mod head;

use chrono::DateTime;
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use self::head::{Head, head};
use crate::{
    Call,
    phrases::{Priority, URGENT_NOUNS, starts},
    rewrite::plain,
    slots::{Stop, Words, inferred, rfc3339, title},
    words::Word,
    world::{Found, Likeness, World},
};

/// What is said of a task besides its title.
#[derive(Debug)]
struct Said {
    due: Result<Option<DateTime<Tz>>, Stop>,
    estimate: Option<u32>,
    priority: Option<Priority>,
    description: Option<String>,
}

/// Reads a command that creates tasks; `None` if it does not say so.
pub(crate) fn explicit<'t>(text: &'t str, words: &[Word<'t>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    if let Some(Ok(head)) = head(words, world)
        && let Some(items) = list(words.get(head.begins..).unwrap_or_default(), head.several)
    {
        return Some(of_list(text, &items, &head, world));
    }
    let (mut said, mut left) = said(text, words, world);
    if is_cry(&left) {
        left.remove(0);
        said.priority = Some(Priority::High);
    }
    let head = head(&left, world)?;
    Some(head.and_then(|head| Ok(vec![task(left.get(head.begins..).unwrap_or_default(), &head, said, None, world)?])))
}

/// Whether the words begin with a cry: `Outage! ...`
fn is_cry(words: &[Word<'_>]) -> bool {
    words.len() > 2 && words[0].ends_clause() && words[0].is_any(&URGENT_NOUNS)
}

/// Reads a sentence that says what is to be done as a new task.
pub(crate) fn implicit<'t>(text: &'t str, words: &[Word<'t>], world: &World) -> Result<Vec<Call>, Stop> {
    let (said, left) = said(text, words, world);
    Ok(vec![task(&left, &Head::default(), said, None, world)?])
}

/// Takes what is said of a task besides its title.
fn said<'t>(text: &'t str, words: &[Word<'t>], world: &World) -> (Said, Vec<Word<'t>>) {
    let mut slots = Words::new(words);
    let description = slots.description(text);
    let due = slots.due(world);
    let estimate = slots.estimate();
    let priority = slots.priority();
    let left = plain(&slots.left_over());
    (Said { due, estimate, priority, description }, left)
}

fn of_list(text: &str, items: &Items<'_, '_>, head: &Head, world: &World) -> Result<Vec<Call>, Stop> {
    let shared = Shared::of(items.shared, world)?;
    let mut calls = Vec::new();
    for item in &items.items {
        let (said, left) = said(text, item, world);
        calls.push(task(&left, head, said, Some(&shared), world)?);
    }
    Ok(calls)
}

struct Items<'a, 't> {
    items: Vec<&'a [Word<'t>]>,
    /// What was said of all of them.
    shared: &'a [Word<'t>],
}

/// What is said of all tasks of a list.
#[derive(Debug, Default)]
struct Shared {
    due: Option<String>,
    assignee: Option<String>,
    priority: Option<Priority>,
}

impl Shared {
    fn of(words: &[Word<'_>], world: &World) -> Result<Self, Stop> {
        let mut slots = Words::new(words);
        let due = slots.due(world)?;
        let priority = slots.priority();
        // `for om:` may stand alone.
        let assignee = match slots.person_at(usize::from(slots.lower(0) == "for"), world, Likeness::Close) {
            (Found::One(handle), used) if used > 0 && slots.lower(0) == "for" => Some(handle),
            _ => assignee(&mut slots, world)?,
        };
        Ok(Self { due: due.map(rfc3339), assignee, priority })
    }
}

/// The items of a list of tasks: `a, b and c` after an announcement of several.
fn list<'a, 't>(body: &'a [Word<'t>], several: bool) -> Option<Items<'a, 't>> {
    if !several {
        return None;
    }
    // What stands before a colon is said of all.
    let colon = body.iter().position(|word| word.mark == Some(':')).filter(|at| *at + 1 < body.len());
    let (shared, items) = match colon {
        Some(at) => body.split_at(at + 1),
        None => (&body[..0], body),
    };
    let mut found = Vec::new();
    let mut from = 0;
    let by_semicolon = items.iter().any(|word| word.mark == Some(';'));
    for (at, word) in items.iter().enumerate() {
        let splits = match word.mark {
            Some(';') => true,
            Some(',') => !by_semicolon,
            Some('.') => true,
            _ => false,
        };
        let conjunction = matches!(word.lower.as_str(), "and" | "&" | "plus") && !word.quoted;
        // A number or a letter before an item.
        if at == from
            && (word.lower.len() <= 2 && word.mark == Some('.') || word.lower.ends_with(')') && word.lower.len() <= 3)
        {
            from = at + 1;
            continue;
        }
        if at == from && conjunction {
            from = at + 1;
            continue;
        }
        if conjunction && at > from && !by_semicolon {
            found.push(&items[from..at]);
            from = at + 1;
        } else if splits {
            found.push(&items[from..=at]);
            from = at + 1;
        }
    }
    if from < items.len() {
        found.push(&items[from..]);
    }
    found.retain(|item| !item.is_empty());
    (found.len() > 1).then_some(Items { items: found, shared })
}

/// Takes a person to whom it is assigned: at the end of a clause or after `assign`.
fn assignee(slots: &mut Words<'_, '_>, world: &World) -> Result<Option<String>, Stop> {
    const BEFORE: [(&[&str], bool); 14] = [
        (&["and", "assign", "it", "to"], true),
        (&["and", "assign", "this", "to"], true),
        (&["and", "assign", "them", "to"], true),
        (&["and", "assign", "that", "to"], true),
        (&["then", "assign", "it", "to"], true),
        (&["assign", "it", "to"], true),
        (&["assign", "them", "to"], true),
        (&["assign", "to"], true),
        (&["assigned", "to"], true),
        (&["assignee", "is"], true),
        (&["assignee"], true),
        (&["and", "give", "it", "to"], true),
        (&["for"], false),
        (&["to"], false),
    ];
    for at in 0..slots.all.len() {
        if !slots.is_free(at) {
            continue;
        }
        if slots.lower(at).starts_with('@') {
            let (person, used) = slots.person_at(at, world, Likeness::Close);
            let Found::One(handle) = person else { continue };
            let edge = at == 0
                || slots.all.get(at + used).is_none_or(|_| !slots.is_free(at + used))
                || slots.all[at + used - 1].ends_clause();
            if edge {
                let from = at - usize::from(at > 0 && matches!(slots.lower(at - 1), "for" | "to" | "with" | "by"));
                slots.take(from, at + used);
                return Ok(Some(handle));
            }
            continue;
        }
        let Some((phrase, sure)) = BEFORE.iter().find(|(phrase, _)| starts(slots.all, at, phrase)) else { continue };
        let begins = at + phrase.len();
        let (mut person, mut used) =
            slots.person_at(begins, world, if *sure { Likeness::Close } else { Likeness::Exact });
        let capital = slots.all.get(begins).is_some_and(|word| word.text.starts_with(char::is_uppercase));
        if person == Found::Nothing && capital && phrase[0] == "for" {
            (person, used) = slots.person_at(begins, world, Likeness::Close);
        }
        let ends = slots.all.get(begins + used).is_none_or(|_| !slots.is_free(begins + used))
            || used > 0 && slots.all[begins + used - 1].ends_clause()
            || matches!(slots.lower(begins + used), "and" | "with" | "please" | "by" | "due");
        match person {
            Found::One(handle) if used > 0 && (*sure || ends && at > 0) => {
                slots.take(at, begins + used);
                return Ok(Some(handle));
            }
            Found::Several if *sure => {
                return Err(if world.assigns() { Stop::Clarify("assigned_to") } else { Stop::Refuse });
            }
            Found::Nothing if *sure => {
                return Err(if world.assigns() { Stop::Clarify("assigned_to") } else { Stop::Refuse });
            }
            _ => {}
        }
    }
    Ok(None)
}

fn task(body: &[Word<'_>], head: &Head, said: Said, shared: Option<&Shared>, world: &World) -> Result<Call, Stop> {
    let mut slots = Words::new(body);
    let mut person = head.assignee.clone();
    if person.is_none() {
        person = assignee(&mut slots, world)?;
    }
    let person = person.or_else(|| shared.and_then(|shared| shared.assignee.clone()));
    if person.as_ref().is_some_and(|person| !world.may_assign_to(person)) {
        return Err(Stop::Refuse);
    }
    let Said { due, estimate, priority: named, description } = said;
    let due = due?;
    let mut left = slots.left();
    trim(&mut left);
    let title = title(&left);
    if title.chars().filter(|c| c.is_alphanumeric()).count() < 2 {
        return Err(Stop::Clarify("title"));
    }
    let priority = named
        .or(head.priority)
        .or_else(|| shared.and_then(|shared| shared.priority))
        .unwrap_or_else(|| inferred(&left, due, world));
    let mut arguments = Map::new();
    let mut set = |name: &str, value: Value| arguments.insert(name.to_owned(), value);
    set("title", json!(title));
    if let Some(description) = description {
        set("description", json!(description));
    }
    set("priority", json!(priority.name()));
    if let Some(due) = due.map(rfc3339).or_else(|| shared.and_then(|shared| shared.due.clone())) {
        set("due_date", json!(due));
    }
    if let Some(person) = person {
        set("assigned_to", json!(person));
    }
    if let Some(minutes) = estimate {
        set("estimated_time", json!(minutes));
    }
    Ok(Call { name: "create_task", arguments })
}

/// Leaves out what belongs to no title at its ends.
fn trim(words: &mut Vec<&Word<'_>>) {
    const ENDS: [&str; 22] = [
        "and", "please", "pls", "plz", "with", "by", "due", "at", "on", "for", "to", "thanks", "thank", "you", "it",
        "so", "that", "is", "but", "as", "thx", "which",
    ];
    const BEGINS: [&str; 12] =
        ["to", "that", "and", "please", "pls", "is", "it", "also", "then", "saying", "about", "so"];
    while words.last().is_some_and(|word| word.is_any(&ENDS)) {
        words.pop();
    }
    while words.len() > 1 && words[0].is_any(&BEGINS) {
        words.remove(0);
    }
}
