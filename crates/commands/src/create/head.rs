//! How a command begins that creates tasks: `add a task for eva to ...`, `dilip should ...`, `remind me to ...`

use crate::{
    phrases::{PRIORITY_WORDS, Priority, first_of, number, starts},
    rewrite::plain,
    slots::{Stop, Words},
    words::Word,
    world::{Found, Likeness, World},
};

const VERBS: [&str; 16] = [
    "create", "add", "make", "open", "log", "file", "new", "schedule", "put", "set", "write", "enter", "start", "need",
    "want", "give",
];
const NOUNS: [&str; 12] =
    ["task", "tasks", "todo", "to-do", "todos", "to-dos", "ticket", "tickets", "item", "items", "action", "reminder"];
/// Words between a verb and its noun.
const ADJECTIVES: [&str; 26] = [
    "a",
    "an",
    "the",
    "new",
    "another",
    "up",
    "down",
    "me",
    "us",
    "quick",
    "small",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "these",
    "following",
    "some",
    "few",
    "couple",
    "of",
    "to",
];
/// Beginnings of a sentence that say that something is to be done, by whoever says so.
const OWN: [&[&str]; 14] = [
    &["remind", "me", "to"],
    &["remind", "me", "that", "i", "need", "to"],
    &["i", "need", "to"],
    &["i", "have", "to"],
    &["i", "must"],
    &["i", "should"],
    &["i", "gotta"],
    &["i've", "got", "to"],
    &["need", "to"],
    &["don't", "forget", "to"],
    &["don't", "let", "me", "forget", "to"],
    &["remember", "to"],
    &["we", "need", "to"],
    &["we", "have", "to"],
];
/// Verbs with which a person is told to do something: whether `to` follows.
const TELLING: [(&str, bool); 9] = [
    ("have", false),
    ("get", true),
    ("ask", true),
    ("tell", true),
    ("remind", true),
    ("let", false),
    ("make", false),
    ("instruct", true),
    ("assign", true),
];
/// Verbs with which it is said what a person is to do.
const MODAL: [&[&str]; 10] = [
    &["should"],
    &["must"],
    &["needs", "to"],
    &["has", "to"],
    &["is", "to"],
    &["will"],
    &["can"],
    &["could"],
    &["please"],
    &["ought", "to"],
];

/// What is said of a new task.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The first word of what is to be done.
    pub(super) begins: usize,
    pub(super) assignee: Option<String>,
    pub(super) priority: Option<Priority>,
    /// Whether several tasks are announced.
    pub(super) several: bool,
}

/// How a command begins that creates tasks.
pub(super) fn head(words: &[Word<'_>], world: &World) -> Option<Result<Head, Stop>> {
    let slots = Words::new(words);
    if let Some(phrase) = OWN.iter().find(|phrase| starts(words, 0, phrase)) {
        let assignee = (phrase[0] == "remind").then(|| world.caller.clone());
        return Some(Ok(Head { begins: phrase.len(), assignee, ..Head::default() }));
    }
    // `add "..."`
    if words.len() > 1
        && words[1].quoted
        && matches!(slots.lower(0), "create" | "add" | "make" | "log" | "new" | "open" | "file")
    {
        return Some(Ok(Head { begins: 1, ..Head::default() }));
    }
    // `three tasks for om: ...`
    if (number(slots.lower(0)).is_some() || matches!(slots.lower(0), "these" | "following" | "some"))
        && matches!(slots.lower(1), "tasks" | "todos" | "tickets" | "items")
    {
        let mut head = Head { several: true, ..Head::default() };
        let begins = if words[1].ends_clause() { Ok(2) } else { after_noun(&slots, 2, &mut head, false, world) };
        return Some(begins.map(|begins| Head { begins, ..head }));
    }
    // `todo: ...`, `task: ...`, `new task - ...`
    let noun_at = |at: usize| NOUNS.contains(&slots.lower(at));
    if noun_at(0) && words[0].ends_clause() {
        return Some(Ok(Head { begins: 1, several: slots.lower(0).ends_with('s'), ..Head::default() }));
    }
    // `for dilip: ...`
    if slots.lower(0) == "for" {
        let (person, used) = slots.person_at(1, world, Likeness::Close);
        if let Found::One(handle) = person
            && used > 0
            && slots.all[used].ends_clause()
            && slots.all.len() > used + 1
        {
            return Some(Ok(Head { begins: used + 1, assignee: Some(handle), ..Head::default() }));
        }
    }
    // `task for marek: ...`
    if noun_at(0) && matches!(slots.lower(1), "for" | "to" | "assigned") {
        let mut head = Head { several: slots.lower(0).ends_with('s'), ..Head::default() };
        let begins = after_noun(&slots, 1, &mut head, false, world);
        return Some(begins.map(|begins| Head { begins, ..head }));
    }
    // `assign dilip a task to ...`, `give eva a new task: ...`
    if matches!(slots.lower(0), "assign" | "give" | "send") {
        let (person, used) = slots.person_at(1, world, Likeness::Close);
        let noun = noun_after(&slots, 1 + used);
        if let (Found::One(handle), Some(noun)) = (&person, noun)
            && used > 0
        {
            let mut head = Head { assignee: Some(handle.clone()), ..Head::default() };
            head.priority = priority_between(words, 1 + used, noun);
            head.several = slots.lower(noun).ends_with('s');
            head.begins = after_noun(&slots, noun + 1, &mut head, false, world).ok()?;
            return Some(Ok(head));
        }
    }
    if VERBS.contains(&slots.lower(0))
        || matches!(slots.lower(0), "assign" | "i'd" | "i" | "delegate" | "a" | "another")
    {
        let verb = usize::from(!matches!(slots.lower(0), "a" | "another"));
        let verb = if matches!(slots.lower(0), "i" | "i'd") && matches!(slots.lower(1), "want" | "need" | "like") {
            2
        } else {
            verb
        };
        if let Some(noun) = noun_after(&slots, verb) {
            let indefinite = slots.lower(0) != "assign" && slots.lower(0) != "delegate" && slots.lower(0) != "give"
                || (verb..noun).any(|at| matches!(slots.lower(at), "a" | "an" | "new" | "another"));
            let is_start = slots.lower(0) == "start" && !(verb..noun).any(|at| matches!(slots.lower(at), "a" | "new"));
            if indefinite && !is_start {
                let (priority, several) = (priority_between(words, verb, noun), slots.lower(noun).ends_with('s'));
                let mut head = Head { priority, several, ..Head::default() };
                // `create a task for me`, `put a task on eva's list`
                for at in verb..noun {
                    if slots.lower(at) == "me" {
                        head.assignee = None;
                    }
                }
                let sure = matches!(slots.lower(0), "assign" | "delegate" | "give");
                let begins = after_noun(&slots, noun + 1, &mut head, sure, world);
                return Some(begins.map(|begins| Head { begins, ..head }));
            }
        }
    }
    person_first(&slots, world)
}

/// The noun after a verb, with nothing but articles and adjectives in between.
fn noun_after(slots: &Words<'_, '_>, from: usize) -> Option<usize> {
    let mut at = from;
    while at < slots.all.len() && at < from + 6 {
        let word = slots.lower(at);
        if word == "one"
            && at > 0
            && matches!(slots.lower(at - 1), "another" | "new")
            && !NOUNS.contains(&slots.lower(at + 1))
        {
            return Some(at);
        }
        if NOUNS.contains(&word) {
            // `action item`
            let next = slots.lower(at + 1);
            return Some(if word == "action" && NOUNS.contains(&next) { at + 1 } else { at });
        }
        let priority = first_of(slots.all, at, &PRIORITY_WORDS).map(|(_, used)| used);
        match priority {
            Some(used) => at += used,
            None if ADJECTIVES.contains(&word) || word.ends_with("-priority") => at += 1,
            None => return None,
        }
    }
    None
}

fn priority_between(words: &[Word<'_>], from: usize, to: usize) -> Option<Priority> {
    (from..to).find_map(|at| {
        let hyphened = words.get(at).and_then(|word| word.lower.strip_suffix("-priority"));
        let hyphened = hyphened.and_then(|name| match name {
            "high" | "top" => Some(Priority::High),
            "medium" | "normal" => Some(Priority::Medium),
            "low" => Some(Priority::Low),
            _ => None,
        });
        hyphened.or_else(|| first_of(words, at, &PRIORITY_WORDS).map(|(priority, _)| *priority))
    })
}

/// What follows the noun: `for dilip to ...`, `to dilip: ...`, `called ...`. Returns where the title begins.
///
/// After a verb of assigning (`assigns`), a person follows for sure.
fn after_noun(
    slots: &Words<'_, '_>,
    from: usize,
    head: &mut Head,
    assigns: bool,
    world: &World,
) -> Result<usize, Stop> {
    let mut at = from;
    let clause_ended = |at: usize| at > 0 && slots.all.get(at - 1).is_some_and(Word::ends_clause);
    loop {
        if clause_ended(at) && at > from {
            return Ok(at);
        }
        match slots.lower(at) {
            "for" | "to" | "assigned" | "on" | "assign" if !clause_ended(at) || at == from => {
                let skip =
                    if matches!(slots.lower(at), "assigned" | "assign") && slots.lower(at + 1) == "to" { 2 } else { 1 };
                if clause_ended(at) {
                    return Ok(at);
                }
                let sure = slots.lower(at) != "on";
                let likeness = if sure && slots.lower(at) != "to" { Likeness::Close } else { Likeness::Exact };
                let (person, used) = slots.person_at(at + skip, world, likeness);
                let follows = at + skip + used;
                let is_slot = matches!(
                    slots.lower(follows),
                    "to" | "called" | "titled" | "named" | "about" | "that" | "for" | "with" | "due" | "by" | ""
                ) || clause_ended(follows);
                match person {
                    Found::One(handle) if used > 0 && (is_slot || skip == 2) => {
                        head.assignee = Some(handle);
                        at = follows;
                    }
                    Found::Several if used > 0 && is_slot => {
                        return Err(if world.assigns() { Stop::Clarify("assigned_to") } else { Stop::Refuse });
                    }
                    _ if slots.lower(at) == "to" => {
                        // `to Dilpi to fix ...`: a name with a typo, or one that nobody has.
                        let next = slots.lower(at + 2);
                        let is_name =
                            slots.all.get(at + 1).is_some_and(|word| word.text.starts_with(char::is_uppercase));
                        if next == "to" && !clause_ended(at + 2) && (assigns || is_name) {
                            let (person, used) = slots.person_at(at + 1, world, Likeness::Close);
                            match person {
                                Found::One(handle) if used == 1 => {
                                    head.assignee = Some(handle);
                                    at += 2;
                                    continue;
                                }
                                _ if !world.assigns() => return Err(Stop::Refuse),
                                _ => return Err(Stop::Clarify("assigned_to")),
                            }
                        }
                        return Ok(at + 1);
                    }
                    _ if slots.lower(at) == "for" => {
                        let next = slots.lower(at + 2);
                        if next == "to" {
                            return Err(if world.assigns() { Stop::Clarify("assigned_to") } else { Stop::Refuse });
                        }
                        return Ok(at + 1);
                    }
                    _ => return Ok(at),
                }
            }
            "called" | "titled" | "named" | "about" | "that" | "which" | "saying" | "says" => return Ok(at + 1),
            _ => return Ok(at),
        }
    }
}

/// `dilip should fix ...`, `have eva call ...`, `@bob: ...`
fn person_first(slots: &Words<'_, '_>, world: &World) -> Option<Result<Head, Stop>> {
    // `i want dilip to publish ...`
    let wanting: [&[&str]; 8] = [
        &["i", "want"],
        &["i", "need"],
        &["we", "need"],
        &["we", "want"],
        &["i'd", "like"],
        &["i", "would", "like"],
        &["need"],
        &["want"],
    ];
    if let Some(phrase) = wanting.iter().find(|phrase| starts(slots.all, 0, phrase)) {
        let (person, used) = slots.person_at(phrase.len(), world, Likeness::Close);
        let to = phrase.len() + used;
        if used > 0 && slots.lower(to) == "to" && slots.all.len() > to + 1 {
            return match person {
                Found::One(handle) => Some(Ok(Head { begins: to + 1, assignee: Some(handle), ..Head::default() })),
                _ => Some(Err(if world.assigns() { Stop::Clarify("assigned_to") } else { Stop::Refuse })),
            };
        }
    }
    let head = |handle: String, begins: usize| Some(Ok(Head { begins, assignee: Some(handle), ..Head::default() }));
    if let Some((_, with_to)) = TELLING.iter().find(|(verb, _)| slots.lower(0) == *verb) {
        let (person, used) = slots.person_at(1, world, Likeness::Close);
        let begins = 1 + used + usize::from(*with_to);
        let fits = used > 0 && (!with_to || slots.lower(1 + used) == "to") && slots.all.len() > begins;
        if fits && !slots.all[used].ends_clause() {
            match person {
                Found::One(handle) => {
                    let about = slots.lower(1 + used);
                    if *with_to || !matches!(about, "know" | "off") {
                        return head(handle, begins);
                    }
                }
                Found::Several => {
                    return Some(Err(if world.assigns() { Stop::Clarify("assigned_to") } else { Stop::Refuse }));
                }
                Found::Nothing => {}
            }
        }
        if *with_to && slots.lower(2) == "to" && slots.all.len() > 3 && !matches!(slots.lower(0), "assign") {
            return Some(Err(if world.assigns() { Stop::Clarify("assigned_to") } else { Stop::Refuse }));
        }
    }
    let (named, words) = slots.person_at(0, world, Likeness::Exact);
    // `cy, could you please wash ...`
    if let Found::One(handle) = slots.person_at(0, world, Likeness::Exact).0
        && words > 0
        && slots.all[words - 1].mark == Some(',')
        && slots.all.len() > words
    {
        let rest = plain(&slots.all[words..]);
        return head(handle, slots.all.len().saturating_sub(rest.len()));
    }
    if let Found::One(handle) = named
        && words > 0
        && let Some(modal) = MODAL.iter().find(|phrase| starts(slots.all, words, phrase))
        && slots.all.len() > words + modal.len()
        && !matches!(slots.lower(0), "i" | "me")
    {
        return head(handle, words + modal.len());
    }
    let can = usize::from(matches!(slots.lower(0), "can" | "could" | "would" | "will"));
    let (mut person, mut used) = slots.person_at(can, world, Likeness::Exact);
    if person == Found::Nothing && slots.all.get(can).is_some_and(|word| word.text.starts_with(char::is_uppercase)) {
        let (close, words) = slots.person_at(can, world, Likeness::Close);
        let is_told = MODAL.iter().any(|phrase| starts(slots.all, can + words, phrase));
        if is_told && words > 0 {
            (person, used) = (close, words);
        }
    }
    if person == Found::Several && used > 0 && MODAL.iter().any(|phrase| starts(slots.all, can + used, phrase)) {
        return Some(Err(if world.assigns() { Stop::Clarify("assigned_to") } else { Stop::Refuse }));
    }
    let Found::One(handle) = person else { return None };
    if used == 0 || handle == world.caller && slots.lower(can) == "i" {
        return None;
    }
    let follows = can + used;
    if slots.all[follows - 1].ends_clause() && slots.all[follows - 1].mark != Some('?') && slots.all.len() > follows {
        let rest = plain(&slots.all[follows..]);
        return head(handle, slots.all.len().saturating_sub(rest.len()).max(follows));
    }
    if can == 1 && slots.all.len() > follows {
        return head(handle, follows);
    }
    let modal = MODAL.iter().find(|phrase| starts(slots.all, follows, phrase))?;
    let begins = follows + modal.len();
    (slots.all.len() > begins).then(|| head(handle, begins))?
}
