//! Recurring reminders.

use serde_json::{Value, json};

use crate::{
    Call,
    change::OPEN,
    phrases::{first_of, starts},
    slots::{Stop, Words},
    words::Word,
    world::{Found, Likeness, World},
};

/// Rhythms of reminders.
const RHYTHMS: [(&str, &str); 20] = [
    ("every single hour", "hourly"),
    ("every single day", "daily"),
    ("every single week", "weekly"),
    ("once every day", "daily"),
    ("every hour", "hourly"),
    ("each hour", "hourly"),
    ("hourly", "hourly"),
    ("once an hour", "hourly"),
    ("on the hour", "hourly"),
    ("every day", "daily"),
    ("each day", "daily"),
    ("everyday", "daily"),
    ("daily", "daily"),
    ("once a day", "daily"),
    ("per day", "daily"),
    ("every week", "weekly"),
    ("each week", "weekly"),
    ("weekly", "weekly"),
    ("once a week", "weekly"),
    ("once per week", "weekly"),
];

/// Reads a recurring reminder; `None` if it is none.
pub(crate) fn read(text: &str, words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    let reminds = words
        .iter()
        .take(8)
        .any(|word| word.is_any(&["remind", "reminder", "reminders", "nudge", "ping", "bug", "reminded"]));
    if !reminds {
        return None;
    }
    let pings = words.iter().any(|word| word.is_any(&["reminded"]))
        || lower(0) == "remind"
        || (0..words.len()).any(|at| starts(words, at, &["remind", "me"]))
        || words.iter().any(|word| word.is_any(&["reminder", "reminders"]))
        || matches!(lower(0), "nudge" | "ping" | "bug") && lower(1) == "me";
    if !pings {
        return None;
    }
    let mut slots = Words::new(words);
    let mut frequency = None;
    let mut at = 0;
    while at < words.len() {
        if let Some((name, used)) = first_of(words, at, &RHYTHMS) {
            frequency = Some(Ok(*name));
            let from = at - usize::from(at > 0 && matches!(lower(at - 1), "a" | "an"));
            slots.take(from, at + used);
            break;
        }
        if matches!(lower(at), "every" | "each") && frequency.is_none() && first_of(words, at, &RHYTHMS).is_none() {
            // `every 2 hours`, `every monday`: other rhythms.
            frequency = Some(Err(Stop::Clarify("frequency")));
            let to = (at + 1..words.len())
                .find(|to| matches!(lower(*to), "about" | "to" | "of" | "on" | "for"))
                .unwrap_or(words.len());
            slots.take(at, to);
            break;
        }
        if matches!(
            lower(at),
            "monthly"
                | "yearly"
                | "quarterly"
                | "biweekly"
                | "fortnightly"
                | "regularly"
                | "repeatedly"
                | "annually"
                | "periodically"
                | "twice"
                | "constantly"
                | "weekdays"
        ) {
            frequency = Some(Err(Stop::Clarify("frequency")));
            slots.take(at, at + 1);
            break;
        }
        at += 1;
    }
    let is_noun = words.iter().take(6).any(|word| word.is_any(&["reminder", "reminders"]));
    let frequency = match frequency {
        Some(Ok(name)) => name,
        Some(Err(stop)) => return Some(Err(stop)),
        None if is_noun && words.iter().any(|word| word.is_any(&["recurring", "repeating", "regular"])) => {
            return Some(Err(Stop::Clarify("frequency")));
        }
        None => return None,
    };
    // Reminders are the caller's own.
    let whom = slots.person_at(1, world, Likeness::Exact);
    if lower(0) == "remind" && !matches!(lower(1), "me" | "us") {
        return Some(Err(match whom {
            (Found::One(handle), used) if used > 0 && handle == world.caller => Stop::Clarify("task_id"),
            _ if !world.assigns() => Stop::Refuse,
            _ => Stop::Clarify("action"),
        }));
    }
    let mut message = None;
    for at in 1..words.len() {
        const SAYING: [&[&str]; 8] = [
            &["with", "the", "message"],
            &["with", "message"],
            &["with", "a", "message"],
            &["saying"],
            &["that", "says"],
            &["message"],
            &["and", "say"],
            &["with", "the", "note"],
        ];
        if let Some(phrase) = SAYING.iter().find(|phrase| starts(words, at, phrase)) {
            let begins = at + phrase.len();
            if let (Some(first), Some(last)) = (words.get(begins), words.last()) {
                message = if first.quoted {
                    Some(first.text.to_owned())
                } else {
                    text.get(first.span.0..last.span.1).map(str::to_owned)
                };
                slots.take(at, words.len());
            }
            break;
        }
    }
    let mut left: Vec<&Word<'_>> = slots.left();
    let skip = |word: &Word<'_>| {
        word.is_any(&[
            "remind",
            "me",
            "us",
            "about",
            "of",
            "to",
            "on",
            "a",
            "an",
            "set",
            "up",
            "create",
            "add",
            "send",
            "give",
            "reminder",
            "reminders",
            "for",
            "the",
            "make",
            "please",
            "nudge",
            "ping",
            "bug",
            "i",
            "want",
            "need",
            "be",
            "reminded",
            "would",
            "like",
            "recurring",
            "check",
            "work",
            "continue",
            "with",
            "get",
            "schedule",
            "new",
        ])
    };
    while left.first().is_some_and(|word| skip(word)) {
        left.remove(0);
    }
    while left
        .last()
        .is_some_and(|word| word.is_any(&["please", "at", "on", "about", "to", "a", "pls", "of", "until", "till"]))
    {
        left.pop();
    }
    // `until it is done` is how reminders are.
    if let Some(until) = left.iter().position(|word| word.is_any(&["until", "till"])) {
        left.truncate(until);
    }
    let task = match world.task(&left, |task| OPEN.contains(&task.status.as_str())) {
        Found::One(task) => task,
        Found::Several | Found::Nothing => return Some(Err(Stop::Clarify("task_id"))),
    };
    let mut arguments = json!({"task_id": task.id, "frequency": frequency});
    if let Some(message) = message {
        arguments["message"] = json!(message);
    }
    let Value::Object(arguments) = arguments else { return None };
    Some(Ok(vec![Call { name: "create_reminder", arguments }]))
}
