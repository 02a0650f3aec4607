//! The filter that a noun phrase says.

use serde_json::{Map, Value, json};

use super::OPEN;
use crate::{
    phrases::{PRIORITY_WORDS, RANGES, STATUS_WORDS, first_of, starts, tag},
    slots::{Stop, Words},
    words::Word,
    world::{Found, Likeness, World},
};

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
