//! Rules and reminders.

use serde_json::{Map, Value, json};

use crate::{
    Call,
    phrases::{PRIORITY_WORDS, STATUS_WORDS, duration, first_of, starts, tag},
    slots::{Stop, Words},
    words::Word,
    world::{Found, Likeness, World},
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

/// The trigger and the conditions that some words say.
fn trigger(words: &[Word<'_>], world: &World) -> Option<(&'static str, Map<String, Value>)> {
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

/// The short form of the action that some words say; `None` if they say none.
fn act(words: &[Word<'_>], world: &World) -> Result<Option<String>, Stop> {
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
pub(crate) fn reminder(text: &str, words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
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
    let task = match world.task(&left, |task| crate::change::OPEN.contains(&task.status.as_str())) {
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
