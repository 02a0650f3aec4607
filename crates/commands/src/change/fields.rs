//! Commands that change the priority or the due time of tasks.

use super::of_tasks;
use crate::{
    Call,
    phrases::{PRIORITY_WORDS, Priority, first_of, starts},
    slots::{Stop, Words, rfc3339},
    words::Word,
    world::World,
};

/// `set the priority of ... to high`, `make ... urgent`, `postpone ... to Friday`.
pub(super) fn set_field(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
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
