//! The trigger of a rule, and its conditions.

use serde_json::{Map, Value, json};

use crate::{
    phrases::{PRIORITY_WORDS, STATUS_WORDS, duration, first_of, starts, tag},
    slots::Words,
    words::Word,
    world::{Found, Likeness, World},
};

/// What happens to a task, by the words that say so, and the trigger.
const HAPPENS: [(&str, &str); 62] = [
    ("is created", "task_created"),
    ("gets created", "task_created"),
    ("was created", "task_created"),
    ("is added", "task_created"),
    ("gets added", "task_created"),
    ("is opened", "task_created"),
    ("creates", "task_created"),
    ("is updated", "task_updated"),
    ("is changed", "task_updated"),
    ("is edited", "task_updated"),
    ("changes", "task_updated"),
    ("gets updated", "task_updated"),
    ("is reassigned", "task_reassigned"),
    ("gets reassigned", "task_reassigned"),
    ("is assigned", "task_assigned"),
    ("gets assigned", "task_assigned"),
    ("is accepted", "task_accepted"),
    ("accepts", "task_accepted"),
    ("gets accepted", "task_accepted"),
    ("is rejected", "task_rejected"),
    ("gets rejected", "task_rejected"),
    ("is declined", "task_rejected"),
    ("rejects", "task_rejected"),
    ("declines", "task_rejected"),
    ("is started", "task_started"),
    ("gets started", "task_started"),
    ("starts", "task_started"),
    ("is in progress", "task_started"),
    ("stays in progress", "task_started"),
    ("has been in progress", "task_started"),
    ("is paused", "task_paused"),
    ("gets paused", "task_paused"),
    ("stays paused", "task_paused"),
    ("has been paused", "task_paused"),
    ("remains paused", "task_paused"),
    ("is on hold", "task_paused"),
    ("is put on hold", "task_paused"),
    ("has been on hold", "task_paused"),
    ("is resumed", "task_resumed"),
    ("gets resumed", "task_resumed"),
    ("is completed", "task_completed"),
    ("gets completed", "task_completed"),
    ("is complete", "task_completed"),
    ("is done", "task_completed"),
    ("gets done", "task_completed"),
    ("is finished", "task_completed"),
    ("is closed", "task_completed"),
    ("completes", "task_completed"),
    ("finishes", "task_completed"),
    ("is canceled", "task_canceled"),
    ("is cancelled", "task_canceled"),
    ("gets canceled", "task_canceled"),
    ("gets cancelled", "task_canceled"),
    ("is archived", "task_archived"),
    ("gets archived", "task_archived"),
    ("is reopened", "task_reopened"),
    ("gets reopened", "task_reopened"),
    ("becomes overdue", "task_overdue"),
    ("is overdue", "task_overdue"),
    ("goes overdue", "task_overdue"),
    ("gets overdue", "task_overdue"),
    ("is past due", "task_overdue"),
];

/// The same for words of any form.
const HAPPENS_ANYHOW: [(&str, &str); 18] = [
    ("misses its deadline", "task_overdue"),
    ("misses the deadline", "task_overdue"),
    ("passes its due date", "task_overdue"),
    ("is late", "task_overdue"),
    ("no longer blocked", "task_unblocked"),
    ("becomes unblocked", "task_unblocked"),
    ("is unblocked", "task_unblocked"),
    ("gets unblocked", "task_unblocked"),
    ("is commented on", "task_commented"),
    ("gets a comment", "task_commented"),
    ("gets a new comment", "task_commented"),
    ("has a new comment", "task_commented"),
    ("comments on", "task_commented"),
    ("comments", "task_commented"),
    ("joins", "member_joined"),
    ("new member", "member_joined"),
    ("is due soon", "task_due_soon"),
    ("is almost due", "task_due_soon"),
];

/// The trigger and the conditions that some words say.
pub(super) fn trigger(words: &[Word<'_>], world: &World) -> Option<(&'static str, Map<String, Value>)> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    let has = |of: &[&str]| words.iter().any(|word| word.is_any(of));
    let mut members = Map::new();
    let mut kind = None;
    for at in 0..words.len() {
        if kind.is_none()
            && let Some((name, _)) = first_of(words, at, &HAPPENS_ANYHOW).or_else(|| first_of(words, at, &HAPPENS))
        {
            kind = Some(*name);
        }
        // `a new task`, `tasks are completed`
        if kind.is_none()
            && matches!(lower(at), "are" | "is" | "gets" | "get" | "was" | "were" | "been" | "has" | "have")
        {
            let to = at + 1 + usize::from(matches!(lower(at + 1), "being" | "been" | "still" | "already"));
            let passive = format!("is {}", lower(to));
            kind = HAPPENS.iter().find(|(phrase, _)| *phrase == passive).map(|(_, name)| *name);
            if kind.is_none() && lower(to) == "on" && lower(to + 1) == "hold" {
                kind = Some("task_paused");
            }
            if kind.is_none() && lower(to) == "in" && lower(to + 1) == "progress" {
                kind = Some("task_started");
            }
        }
    }
    // Half of a day, or two hours, before it is due.
    let due = words.iter().position(|word| word.is_any(&["due", "deadline"]));
    let overdue = kind == Some("task_overdue");
    if let Some(due) = due
        && !overdue
    {
        let mut before = None;
        for at in 0..words.len() {
            if let Some((seconds, used)) = duration(words, at, false) {
                let is_before = matches!(lower(at + used), "before" | "away" | "from" | "left")
                    || at > 0 && matches!(lower(at - 1), "in" | "within" | "than")
                    || at > due;
                if is_before {
                    before = Some(seconds);
                }
            }
        }
        if let Some(seconds) = before {
            members.insert("before_seconds".to_owned(), json!(seconds));
            kind = Some("task_due_soon");
        } else if has(&["soon", "tomorrow", "approaching", "approaches", "approaching"]) {
            kind = Some("task_due_soon");
        }
    }
    // A field that changes.
    if matches!(kind, Some("task_updated") | None) {
        const FIELDS: [(&[&str], &str); 8] = [
            (&["priority"], "priority"),
            (&["due", "date"], "due_at"),
            (&["deadline"], "due_at"),
            (&["title"], "title"),
            (&["description"], "description"),
            (&["tags"], "tags"),
            (&["estimate"], "estimated_seconds"),
            (&["assignee"], "assigned_to"),
        ];
        let changes = has(&["changes", "changed", "change", "updated", "moves", "moved", "becomes", "set"]);
        let field = FIELDS.iter().find(|(phrase, _)| (0..words.len()).any(|at| starts(words, at, phrase)));
        if changes && has(&["status"]) {
            kind = Some("task_status_changed");
        } else if let Some((_, field)) = field
            && changes
            && !(has(&["due"]) && kind == Some("task_due_soon"))
        {
            members.insert("fields".to_owned(), json!([field]));
            kind = Some("task_updated");
        }
        if has(&["moves", "moved", "goes", "changes", "changed", "switches"]) {
            for at in 0..words.len() {
                let name = match lower(at) {
                    "to" => "to",
                    "from" => "from",
                    _ => continue,
                };
                if let Some((status, _)) = first_of(words, at + 1, &STATUS_WORDS) {
                    members.insert(name.to_owned(), json!(status));
                    members.remove("fields");
                    kind = Some("task_status_changed");
                }
            }
        }
    }
    if kind.is_none() && has(&["new"]) && has(&["task", "tasks", "ticket"]) {
        kind = Some("task_created");
    }
    if kind.is_none() && has(&["member", "someone", "user", "person"]) && has(&["joins", "joined", "added"]) {
        kind = Some("member_joined");
    }
    let kind = kind?;
    // How long it has to last.
    if !members.contains_key("before_seconds") {
        for at in 0..words.len() {
            let after_for = at > 0
                && matches!(lower(at - 1), "for" | "than" | "over" | "least" | "exceeds" | "after" | "past" | "about");
            if after_for && let Some((seconds, _)) = duration(words, at, false) {
                members.insert("for_seconds".to_owned(), json!(seconds));
                break;
            }
        }
    }
    // Which tasks it is about.
    for at in 0..words.len() {
        if let Some((priority, _)) = first_of(words, at, &PRIORITY_WORDS)
            && !members.contains_key("priority")
        {
            members.insert("priority".to_owned(), json!(priority.name()));
        }
        if let Some(name) =
            lower(at).strip_suffix("-priority").filter(|name| matches!(*name, "high" | "low" | "medium"))
        {
            members.insert("priority".to_owned(), json!(name));
        }
        if let Some((name, _)) = tag(words, at) {
            members.insert("tags".to_owned(), json!(name));
        }
        if starts(words, at, &["assigned", "to"]) || lower(at) == "my" {
            let slots = Words::new(words);
            let person_at = if lower(at) == "my" { at } else { at + 2 };
            let person = if lower(at) == "my" && !matches!(lower(at + 1), "manager" | "boss") {
                Found::One(world.caller.clone())
            } else {
                slots.person_at(person_at, world, Likeness::Close).0
            };
            if let Found::One(handle) = person {
                members.insert("assignee".to_owned(), json!(handle));
            }
        }
    }
    if members.contains_key("fields")
        && matches!(members.get("fields"), Some(Value::Array(fields)) if fields.contains(&json!("priority")))
        && !has(&["to"])
    {
        members.remove("priority");
    }
    Some((kind, members))
}
