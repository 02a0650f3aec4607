//! The rule engine of the assistant: reads an English command to a task platform as calls of functions, without a model.
//!
//! ```text
//! text ──▶ words ──▶ rule? reminder? question? change? new task? ──▶ calls ──▶ outcome
//! ```
//!
//! [`interpret`] is a pure function of the text and of what it may refer to ([`World`]): people and tasks that the caller sees. It
//! decides what is said, not what is allowed, but for what the caller's role can never do. `src/when.rs` reads points in time.

mod automation;
mod change;
mod create;
pub mod eval;
mod guard;
mod mention;
mod phrases;
mod question;
mod reminder;
mod rewrite;
mod slots;
pub mod when;
mod words;
mod world;

use serde_json::{Map, Value};

use crate::world::{Found, Likeness};
pub use crate::{
    guard::{Suspicion, inspect},
    world::{KnownTask, Member, Role, World},
};
use crate::{
    rewrite::plain,
    slots::Stop,
    words::{Word, words},
};

/// New tasks that are created at once, without confirmation.
const MAX_NEW_TASKS: usize = 5;

/// A call of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function's name.
    pub name: &'static str,
    /// Its arguments, with people as handles.
    pub arguments: Map<String, Value>,
}

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its calls are made at once.
    Calls,
    /// The caller has to confirm its calls first.
    Confirm,
    /// Something is not clear.
    Clarify,
    /// The caller's role can never do it, or it is no command at all but an attack.
    Refuse,
}

impl Outcome {
    /// Its name in files of cases.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Confirm => "confirm",
            Self::Clarify => "clarify",
            Self::Refuse => "refuse",
        }
    }
}

/// What a command means.
#[derive(Debug, Clone, PartialEq)]
pub struct Interpretation {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The calls, in order; none when it is not clear or refused.
    pub calls: Vec<Call>,
    /// The argument that is not clear.
    pub about: Option<&'static str>,
}

impl Interpretation {
    fn stop(stop: Stop) -> Self {
        let (outcome, about) = match stop {
            Stop::Clarify(about) => (Outcome::Clarify, Some(about)),
            Stop::Refuse | Stop::NoCommand => (Outcome::Refuse, None),
        };
        Self { outcome, calls: Vec::new(), about }
    }
}

/// Reads a command.
pub fn interpret(original: &str, world: &World) -> Interpretation {
    let suspicion = inspect(original);
    let with_subject =
        subject(&words(original), world).map(|subject| World { subject: Some(subject), ..world.clone() });
    let world = with_subject.as_ref().unwrap_or(world);
    let (text, suspicious) = match &suspicion {
        Suspicion::None => (original.to_owned(), false),
        // What is left without the sentences that try to change the rules.
        Suspicion::Injection { rest } => (rest.clone(), true),
    };
    let read = |text: &str| read_all(text, &words(text), !suspicious, world);
    // What says clearly what is to be done may be about such a text.
    let found = match read(&text) {
        Err(_) if suspicious => read(original),
        found => found,
    };
    match found {
        Ok(calls) => {
            let confirms = needs_confirmation(&calls) || suspicious && calls.iter().any(|call| !is_read(call));
            let outcome = if confirms { Outcome::Confirm } else { Outcome::Calls };
            Interpretation { outcome, calls, about: None }
        }
        Err(_) if suspicious => Interpretation::stop(Stop::Refuse),
        Err(stop) => Interpretation::stop(stop),
    }
}

/// The person whom a pronoun means: the last one that was named before it.
fn subject(words: &[Word<'_>], world: &World) -> Option<String> {
    let pronoun = words.iter().position(|word| word.is_any(&["his", "her", "hers", "their", "theirs"]))?;
    let named = |at: usize| match world.person(&[words[at].text], Likeness::Exact).0 {
        Found::One(handle) => Some(handle.to_owned()),
        Found::Several | Found::Nothing => None,
    };
    (0..pronoun).rev().find_map(named)
}

/// Whether a call has no effect.
pub fn is_read(call: &Call) -> bool {
    matches!(call.name, "query_tasks" | "generate_report")
}

/// Whether the caller has to confirm these calls: more than one task that exists, whatever takes tasks away, rules.
pub fn needs_confirmation(calls: &[Call]) -> bool {
    let (mut changed, mut new) = (0, 0);
    for call in calls {
        match call.name {
            "create_automation" => return true,
            "create_task" => new += 1,
            "assign_task" | "update_task_status" => changed += 1,
            "bulk_tasks" => {
                let action = call.arguments.get("action").and_then(Value::as_str).unwrap_or_default();
                let filter = call.arguments.get("filter").and_then(Value::as_object);
                let ids =
                    filter.filter(|filter| filter.len() == 1).and_then(|filter| filter.get("task_ids")?.as_array());
                if matches!(action, "archive" | "cancel" | "delete") || ids.is_none_or(|ids| ids.len() != 1) {
                    return true;
                }
                changed += 1;
            }
            _ => {}
        }
    }
    changed > 1 || new > MAX_NEW_TASKS
}

/// Verbs with which a further command begins.
const COMMANDS: [&str; 27] = [
    "create", "add", "mark", "assign", "reassign", "archive", "cancel", "delete", "complete", "close", "start",
    "pause", "resume", "reopen", "remind", "show", "list", "set", "move", "postpone", "notify", "give", "make",
    "finish", "put", "change", "another",
];

/// Reads a text, which may have several commands.
///
/// With `guesses`, a sentence that says nothing else is a new task.
fn read_all(text: &str, all: &[Word<'_>], guesses: bool, world: &World) -> Result<Vec<Call>, Stop> {
    let trimmed = plain(&without_greeting(all));
    if trimmed.is_empty() {
        return Err(Stop::Clarify("title"));
    }
    let whole = read(text, &trimmed, guesses, world);
    // Of a list of tasks, and of a rule, the parts are no commands.
    let is_whole = |call: &Call| matches!(call.name, "create_automation" | "create_reminder");
    if matches!(&whole, Ok(calls) if calls.len() > 1 || calls.iter().any(is_whole))
        || matches!(whole, Err(Stop::Clarify("trigger" | "action" | "frequency")))
    {
        return whole;
    }
    let parts = parts(&trimmed);
    if parts.len() < 2 {
        return whole;
    }
    let mut calls = Vec::new();
    let mut guessed = Vec::new();
    for part in &parts {
        let part = plain(part);
        match read(text, &part, false, world) {
            Ok(more) => calls.extend(more),
            // `No rush.` is said of the command before.
            Err(Stop::NoCommand) if part.len() <= 4 && slots::is_hint(&part) => return whole,
            // What is no command may be said of one: a greeting, a reason.
            Err(Stop::NoCommand) if is_chatter(&part, world) => {}
            Err(Stop::NoCommand) if guesses => guessed.push(part),
            // It was one command after all, unless that is not clear either.
            Err(stop) => return whole.or(Err(stop)),
        }
    }
    if calls.is_empty() || !guessed.is_empty() {
        return whole;
    }
    Ok(calls)
}

/// The words without a first sentence that only greets, and without an apology before a `but`.
fn without_greeting<'t>(words: &[Word<'t>]) -> Vec<Word<'t>> {
    const GREETINGS: [&str; 22] = [
        "morning",
        "good",
        "hello",
        "hi",
        "hey",
        "kia",
        "ora",
        "afternoon",
        "evening",
        "thanks",
        "greetings",
        "sorry",
        "welcome",
        "howdy",
        "hola",
        "team",
        "all",
        "there",
        "everyone",
        "again",
        "baton",
        "back",
    ];
    if words.first().is_some_and(|word| word.is_any(&["sorry", "apologies", "excuse"]))
        && let Some(but) = words.iter().take(10).position(|word| word.is_any(&["but"]))
    {
        return words[but + 1..].to_vec();
    }
    let sentence = words.iter().position(|word| matches!(word.mark, Some('!' | '.' | '?' | ',')));
    match sentence {
        Some(end) if end + 1 < words.len() && words[..=end].iter().all(|word| word.is_any(&GREETINGS)) => {
            words[end + 1..].to_vec()
        }
        _ => words.to_vec(),
    }
}

/// The parts of a text that may be commands of their own.
fn parts<'a, 't>(words: &'a [Word<'t>]) -> Vec<&'a [Word<'t>]> {
    let mut from = 0;
    let mut parts: Vec<&[Word<'_>]> = Vec::new();
    for at in 1..words.len() {
        let before = &words[at - 1];
        let word = &words[at];
        let is_command = !word.quoted && COMMANDS.contains(&word.lower.as_str());
        let conjunction = before.is_any(&["and", "then", "also", "so", "please", "but"]) && before.mark.is_none()
            || before.mark == Some(',');
        let sentence = before.mark.is_some_and(|mark| matches!(mark, '.' | ';' | '!' | '?'));
        // `and assign it to`, `and mark it as urgent` are said of the task before.
        let of_it = words.get(at + 1).is_some_and(|next| next.is_any(&["it", "them"]));
        if (sentence || is_command && conjunction && !of_it) && at > from {
            let mut end = at;
            while end > from + 1
                && words[end - 1].is_any(&["and", "then", "also", "please", "so", "but"])
                && words[end - 1].mark.is_none()
            {
                end -= 1;
            }
            parts.push(&words[from..end]);
            from = at;
        }
    }
    parts.push(&words[from..]);
    parts
}

/// Whether a part of a text that is no command says nothing that is to be done.
fn is_chatter(words: &[Word<'_>], world: &World) -> bool {
    const FIRST: [&str; 44] = [
        "sorry",
        "thanks",
        "thank",
        "cheers",
        "hello",
        "hi",
        "hey",
        "morning",
        "good",
        "kia",
        "long",
        "anyway",
        "huh",
        "i",
        "i'm",
        "i've",
        "we",
        "we're",
        "it",
        "it's",
        "this",
        "that",
        "they",
        "she",
        "he",
        "the",
        "there",
        "hope",
        "many",
        "great",
        "ok",
        "okay",
        "wow",
        "happy",
        "apologies",
        "dear",
        "busy",
        "what",
        "just",
        "also",
        "no",
        "yes",
        "thx",
        "much",
    ];
    let Some(first) = words.first() else { return true };
    let names_person = !matches!(world.person(&[first.text], Likeness::Exact).0, Found::Nothing);
    words.len() <= 2 && first.is_any(&FIRST)
        || first.is_any(&FIRST) && !starts_task(words)
        || names_person && words.get(1).is_some_and(|next| next.is_any(&["is", "was", "has", "are"]))
}

/// Whether a sentence of the caller says that something is to be done.
fn starts_task(words: &[Word<'_>]) -> bool {
    words.iter().take(4).any(|word| word.is_any(&["need", "needs", "must", "should", "have", "has"]))
}

/// Reads one command.
fn read(text: &str, words: &[Word<'_>], guesses: bool, world: &World) -> Result<Vec<Call>, Stop> {
    if let Some(read) = reminder::read(text, words, world) {
        return read;
    }
    if let Some(read) = automation::read(words, world) {
        return read;
    }
    // `the audit should be assigned to eva`, `the audit is done`: said of a task that exists.
    if let Some(read) = change::stated(words, world) {
        return read;
    }
    // What says that a task is to be created is no question, whatever the task is about.
    if let Some(read) = create::explicit(text, words, world) {
        return read;
    }
    // A verb of change is no question, whatever follows; `give` and `put` may be both.
    if let Some(Ok(calls)) = change::read(words, world) {
        return Ok(calls);
    }
    if let Some(read) = question::read(words, world) {
        return read;
    }
    if let Some(read) = change::read(words, world) {
        return read;
    }
    if !guesses {
        return Err(Stop::NoCommand);
    }
    if words.len() < 2 && !words.iter().any(|word| word.quoted) || is_chatter(words, world) && words.len() < 5 {
        return Err(Stop::Clarify("title"));
    }
    if words.last().is_some_and(|word| word.mark == Some('?')) {
        return Err(Stop::Clarify("title"));
    }
    create::implicit(text, words, world)
}
