//! Rules: when something happens, something is done.

mod action;
mod trigger;

use serde_json::{Map, Value, json};

use self::{action::act, trigger::trigger};
use crate::{
    Call,
    phrases::{duration, starts},
    slots::Stop,
    words::Word,
    world::World,
};

/// Beginnings of the condition of a rule.
const WHEN: [&[&str]; 15] = [
    &["the", "moment"],
    &["whenever"],
    &["when"],
    &["every", "time"],
    &["each", "time"],
    &["any", "time"],
    &["anytime"],
    &["as", "soon", "as"],
    &["if"],
    &["once"],
    &["after"],
    &["on"],
    &["for", "every"],
    &["for", "each"],
    &["for", "any"],
];

/// Announcements of a rule.
const ANNOUNCE: [&str; 8] =
    ["automation", "rule", "workflow", "automations", "trigger", "automate", "automatically", "auto"];

/// Verbs with which the action of a rule begins.
const ACTS: [&str; 34] = [
    "notify", "tell", "alert", "inform", "ping", "message", "let", "send", "assign", "reassign", "set", "mark", "make",
    "change", "archive", "cancel", "tag", "add", "label", "remove", "pause", "start", "complete", "close", "move",
    "bump", "raise", "put", "warn", "email", "give", "escalate", "resume", "lower",
];

/// Reads a rule; `None` if it is none.
pub(crate) fn read(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    // `rule 26` is no rule.
    let announces = |at: usize| {
        let before = if at == 0 { "" } else { lower(at - 1) };
        ANNOUNCE.contains(&lower(at))
            && (lower(at).starts_with("auto")
                || at == 0
                || matches!(
                    before,
                    "a" | "an" | "the" | "new" | "create" | "add" | "make" | "up" | "another" | "automation" | "set"
                ))
    };
    let announced = (0..words.len().min(8)).any(announces);
    // `notify the assignee two hours before a task is due`, `one day before a task is due, notify the assignee`
    if let Some(read) = before_due(words, announced, world) {
        return Some(read);
    }
    let begins = |at: usize| WHEN.iter().find(|phrase| starts(words, at, phrase)).map(|phrase| phrase.len());
    // The condition first.
    let mut from = 0;
    if announced {
        from = (0..words.len()).find(|at| announces(*at)).unwrap_or_default() + 1;
        while matches!(lower(from), "that" | "to" | "which" | "so" | ":" | "for" | "where" | "it" | "says" | "saying")
            && begins(from).is_none()
        {
            from += 1;
        }
        // `automatically archive tasks when ...`
        if begins(from).is_none() && !ACTS.contains(&lower(from)) && ACTS.contains(&lower(0)) {
            from = 0;
        }
    }
    let (condition, action) = match begins(from) {
        Some(length) if !matches!(lower(from), "after" | "on" | "once" | "if") || names_tasks(&words[from..]) => {
            let body = &words[from + length..];
            match split_at_action(body) {
                Some(split) => (&body[..split], &body[split..]),
                // A condition alone.
                None if matches!(lower(from), "when" | "whenever" | "every" | "if") && names_tasks(body) => {
                    (body, &body[..0])
                }
                None => return announced.then_some(Err(Stop::Clarify("action"))),
            }
        }
        _ => {
            let passive = words
                .iter()
                .any(|word| word.is_any(&["notified", "told", "alerted", "informed", "warned", "notification"]));
            if !announced && !ACTS.contains(&lower(from)) && !passive {
                return None;
            }
            // `notify my manager when a task is overdue`
            let at = (from + 1..words.len()).find(|at| {
                begins(*at).is_some_and(|_| !matches!(lower(*at), "after" | "on" | "for")) && names_tasks(&words[*at..])
            });
            // `add the tag late to every task that becomes overdue`
            let relative = (from + 2..words.len()).find(|at| {
                matches!(lower(*at), "that" | "which")
                    && matches!(lower(at - 1), "task" | "ticket" | "one")
                    && (from..*at).any(|at| matches!(lower(at), "every" | "any" | "each" | "all"))
            });
            if let (None, Some(relative)) = (at, relative) {
                let each =
                    (from..relative).rfind(|at| matches!(lower(*at), "every" | "any" | "each" | "all")).unwrap_or(from);
                let ends = each - usize::from(each > from && matches!(lower(each - 1), "to" | "of" | "about" | "for"));
                let mut condition: Vec<Word<'_>> = words[each..relative].to_vec();
                condition.extend_from_slice(&words[relative + 1..]);
                return rule(&condition, &words[from..ends], announced, world);
            }
            let Some(at) = at else {
                return announced.then_some(Err(Stop::Clarify("trigger")));
            };
            if !announced
                && matches!(
                    lower(0),
                    "assign" | "set" | "mark" | "add" | "start" | "complete" | "close" | "move" | "put" | "send"
                )
                && !words[at..]
                    .iter()
                    .any(|word| word.is_any(&["task", "tasks", "someone", "anyone", "anybody", "somebody"]))
            {
                return None;
            }
            (&words[at + begins(at).unwrap_or_default()..], &words[from..at])
        }
    };
    rule(condition, action, announced, world)
}

/// The call that creates a rule of a condition and an action.
fn rule(
    condition: &[Word<'_>],
    action: &[Word<'_>],
    announced: bool,
    world: &World,
) -> Option<Result<Vec<Call>, Stop>> {
    let trigger = match trigger(condition, world) {
        Some(trigger) => trigger,
        // `when you have time, call bob` is no rule.
        None if !announced && !names_tasks(condition) && !is_message(action) && !condition.is_empty() => return None,
        None => return Some(Err(Stop::Clarify("trigger"))),
    };
    let (kind, members) = trigger;
    let action = match act(action, world) {
        Ok(Some(action)) => action,
        Ok(None) => return Some(Err(Stop::Clarify("action"))),
        Err(stop) => return Some(Err(stop)),
    };
    if action.starts_with("assign:") && !world.assigns() {
        return Some(Err(Stop::Refuse));
    }
    let mut arguments = Map::new();
    arguments.insert("trigger".to_owned(), json!(kind));
    if !members.is_empty() {
        arguments.insert("condition".to_owned(), Value::Object(members));
    }
    arguments.insert("action".to_owned(), json!(action));
    Some(Ok(vec![Call { name: "create_automation", arguments }]))
}

/// Rules that run some time before a task is due, or after something has happened to it.
fn before_due(words: &[Word<'_>], announced: bool, world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    for at in 0..words.len() {
        let Some((_, used)) = duration(words, at, false) else { continue };
        let link = at + used;
        if !matches!(lower(link), "before" | "after")
            || !(names_tasks(&words[link..]) || words[link..].iter().any(|word| word.is_any(&["they", "due"])))
        {
            continue;
        }
        let condition_first = at == 0;
        let (condition, action) = if condition_first {
            let split = split_at_action(&words[link..])? + link;
            (&words[..split], &words[split..])
        } else {
            if !ACTS.contains(&lower(0))
                && !words[..at]
                    .iter()
                    .any(|word| word.is_any(&["notified", "told", "alerted", "informed", "warned", "notification"]))
            {
                return None;
            }
            (&words[at..], &words[..at])
        };
        // `14 days after they are completed`: for as long as that.
        let condition: Vec<Word<'_>> = if lower(link) == "after" {
            let mut said: Vec<Word<'_>> = condition[used + 1..].to_vec();
            let mut lasts = words[link].clone();
            lasts.lower = "for".to_owned();
            lasts.mark = None;
            said.push(lasts);
            said.extend(condition[..used].iter().cloned());
            said
        } else {
            condition.to_vec()
        };
        let read = rule(&condition, action, announced, world)?;
        return Some(read);
    }
    None
}

/// Whether an action sends a message.
fn is_message(words: &[Word<'_>]) -> bool {
    words.iter().take(3).any(|word| word.is_any(&["notify", "alert", "inform", "ping", "warn", "tell"]))
}

fn names_tasks(words: &[Word<'_>]) -> bool {
    words.iter().any(|word| {
        word.is_any(&[
            "task",
            "tasks",
            "someone",
            "anyone",
            "anybody",
            "somebody",
            "it",
            "ticket",
            "tickets",
            "member",
            "one",
            "user",
            "anything",
            "something",
            "item",
            "items",
        ])
    })
}

/// Where the action begins after a condition.
fn split_at_action(words: &[Word<'_>]) -> Option<usize> {
    let passive = |at: usize| {
        words[at..]
            .iter()
            .any(|word| word.is_any(&["notified", "told", "alerted", "informed", "warned", "notification"]))
    };
    let acts = |at: usize| {
        let word = words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
        let next = words.get(at + 1).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
        ACTS.contains(&word)
            || matches!(word, "then" | "please" | "automatically" | "i" | "also")
                && (ACTS.contains(&next) || next == "want")
    };
    // After a comma, or else where a verb stands that is not the condition's.
    let comma = (1..words.len()).filter(|at| words[at - 1].mark.is_some()).find(|at| acts(*at));
    comma
        .or_else(|| (2..words.len()).find(|at| acts(*at)))
        .or_else(|| (1..words.len()).find(|at| words[at - 1].mark == Some(',') && passive(*at)))
        .or_else(|| (1..words.len()).find(|at| words[at - 1].mark == Some(',')))
}
