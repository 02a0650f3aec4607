//! The action of a rule, in its short form.

use crate::{
    phrases::{STATUS_WORDS, first_of},
    slots::{Stop, Words},
    words::Word,
    world::{Found, Likeness, World},
};

/// The short form of the action that some words say; `None` if they say none.
pub(super) fn act(words: &[Word<'_>], world: &World) -> Result<Option<String>, Stop> {
    let mut words = words;
    while words.first().is_some_and(|word| {
        word.is_any(&[
            "then",
            "please",
            "automatically",
            "also",
            "just",
            "i",
            "want",
            "to",
            "you",
            "and",
            "pls",
            "should",
            "it",
        ])
    }) {
        words = &words[1..];
    }
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    let has = |of: &[&str]| words.iter().any(|word| word.is_any(of));
    let slots = Words::new(words);
    // `the manager should be notified`
    let told = words.iter().position(|word| {
        word.is_any(&["notified", "told", "alerted", "informed", "pinged", "warned", "messaged", "notification"])
    });
    if let Some(told) = told.filter(|told| *told > 0 && !matches!(lower(0), "send" | "notify")) {
        let mut active =
            vec![Word { text: "notify", lower: "notify".to_owned(), span: words[0].span, mark: None, quoted: false }];
        active.extend(
            words[..told]
                .iter()
                .filter(|word| {
                    !word.is_any(&[
                        "should", "be", "must", "needs", "to", "is", "are", "gets", "get", "has", "have", "want",
                        "will", "a", "receive", "receives",
                    ])
                })
                .cloned(),
        );
        return act(&active, world);
    }
    match lower(0) {
        "notify" | "tell" | "alert" | "inform" | "ping" | "message" | "warn" | "email" | "send" | "let"
        | "escalate" => {
            for at in 1..words.len() {
                let word = lower(at);
                let whom = match word {
                    "manager" | "manager's" | "boss" | "supervisor" => {
                        if lower(at - 1) == "my" {
                            let manager = world.manager().ok_or(Stop::Clarify("action"))?;
                            return Ok(Some(format!("notify:@{manager}")));
                        }
                        "manager"
                    }
                    "managers" => "manager",
                    "assignee" | "owner" if word == "assignee" => {
                        // `the assignee's manager` is another word.
                        "assignee"
                    }
                    "assignee's" => continue,
                    "creator" | "author" | "reporter" => "creator",
                    "watchers" | "followers" | "watcher" | "subscribers" => "watchers",
                    "me" | "myself" => "me",
                    "whoever" if has(&["created", "creates"]) => "creator",
                    _ => {
                        let (person, used) =
                            slots.person_at(at, world, if at <= 2 { Likeness::Close } else { Likeness::Exact });
                        match person {
                            Found::One(handle)
                                if used > 0
                                    && !matches!(
                                        word,
                                        "a" | "the" | "to" | "message" | "notification" | "email" | "know"
                                    ) =>
                            {
                                return Ok(Some(format!("notify:@{handle}")));
                            }
                            Found::Several if at <= 2 => return Err(Stop::Clarify("action")),
                            _ => continue,
                        }
                    }
                };
                return Ok(Some(format!("notify:{whom}")));
            }
            Ok(None)
        }
        "assign" | "reassign" | "give" => {
            for at in 1..words.len() {
                if lower(at) != "to" {
                    continue;
                }
                if !world.assigns() {
                    return Err(Stop::Refuse);
                }
                if matches!(lower(at + 1), "the" | "their" | "its") && lower(at + 2) == "manager"
                    || lower(at + 1) == "manager"
                {
                    return Ok(Some("assign:manager".to_owned()));
                }
                if lower(at + 1) == "me" {
                    return Ok(Some("assign:me".to_owned()));
                }
                if (at + 1..words.len()).any(|at| lower(at) == "creator" || lower(at) == "whoever") {
                    return Ok(Some("assign:creator".to_owned()));
                }
                return match slots.person_at(at + 1, world, Likeness::Close).0 {
                    Found::One(handle) => Ok(Some(format!("assign:{handle}"))),
                    Found::Several | Found::Nothing => Err(Stop::Clarify("action")),
                };
            }
            Ok(None)
        }
        "archive" => Ok(Some("archive".to_owned())),
        "cancel" => Ok(Some("cancel".to_owned())),
        "tag" | "label" => {
            let tag =
                words.iter().skip(1).rfind(|word| !word.is_any(&["it", "them", "the", "task", "with", "as", "tag"]));
            Ok(tag.map(|tag| format!("add_tag:{}", tag.text.trim_start_matches('#'))))
        }
        "add" | "remove" if has(&["tag", "label"]) => {
            let at = words.iter().position(|word| word.is_any(&["tag", "label"])).unwrap_or_default();
            let after = words.get(at + 1).filter(|word| !word.is_any(&["to", "from"]));
            let before = words.get(at.wrapping_sub(1)).filter(|word| !word.is_any(&["the", "a", "add", "remove"]));
            let tag = after.or(before);
            let verb = if lower(0) == "add" { "add_tag" } else { "remove_tag" };
            Ok(tag.map(|tag| format!("{verb}:{}", tag.text.trim_start_matches('#'))))
        }
        "set" | "make" | "change" | "mark" | "bump" | "raise" | "put" | "move" | "lower" => {
            for at in 1..words.len() {
                let about_status = has(&["status"]) || matches!(lower(0), "put" | "move" | "mark");
                if about_status
                    && let Some((status, used)) = first_of(words, at, &STATUS_WORDS)
                    && at + used >= words.len()
                {
                    return Ok(Some(match *status {
                        "archived" => "archive".to_owned(),
                        "canceled" => "cancel".to_owned(),
                        status => format!("set_status:{status}"),
                    }));
                }
            }
            for at in 1..words.len() {
                let plain = match lower(at) {
                    "high" | "urgent" | "critical" => Some("high"),
                    "medium" | "normal" => Some("medium"),
                    "low" => Some("low"),
                    word => match word.strip_suffix("-priority") {
                        Some("high") => Some("high"),
                        Some("low") => Some("low"),
                        Some("medium") => Some("medium"),
                        _ => None,
                    },
                };
                if let Some(priority) = plain {
                    return Ok(Some(format!("set_priority:{priority}")));
                }
            }
            if has(&["priority"]) && matches!(lower(0), "raise" | "bump") {
                return Ok(Some("set_priority:high".to_owned()));
            }
            if has(&["priority"]) && lower(0) == "lower" {
                return Ok(Some("set_priority:low".to_owned()));
            }
            Ok(None)
        }
        "pause" => Ok(Some("set_status:paused".to_owned())),
        "start" | "resume" => Ok(Some("set_status:in_progress".to_owned())),
        "complete" | "close" => Ok(Some("set_status:completed".to_owned())),
        _ => Ok(None),
    }
}
