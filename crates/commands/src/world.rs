//! What a command may refer to: the people and tasks that the caller sees, and the time.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Deserialize;

use crate::words::{edits, fold};

/// What is known when a command is read.
#[derive(Debug, Clone)]
pub struct World {
    /// The time.
    pub now: DateTime<Utc>,
    /// The caller's time zone.
    pub timezone: Tz,
    /// The caller's handle.
    pub caller: String,
    /// The caller's role.
    pub role: Role,
    /// Members of the account whom the text may name, with the caller.
    pub people: Vec<Member>,
    /// Tasks that the text may name, of those that the caller sees.
    pub tasks: Vec<KnownTask>,
    /// What the caller has said before, oldest first.
    pub history: Vec<String>,
    /// The handle of the person whom `his`, `her` and `their` mean, if the text has named one before.
    pub subject: Option<String>,
}

/// Roles, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Works on tasks.
    User,
    /// Leads a team.
    Manager,
    /// Leads managers.
    SuperManager,
    /// Owns the account.
    Owner,
}

/// A member of the account.
#[derive(Debug, Clone, Deserialize)]
pub struct Member {
    /// The handle.
    pub handle: String,
    /// The full name.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// The handle of whom they report to.
    #[serde(default)]
    pub manager: Option<String>,
}

/// A task.
#[derive(Debug, Clone, Deserialize)]
pub struct KnownTask {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The name of its status.
    pub status: String,
    /// The handle of its assignee.
    #[serde(default)]
    pub assigned_to: Option<String>,
}

/// What a mention refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<T> {
    One(T),
    /// Several.
    Several,
    /// Nothing.
    Nothing,
}

/// How alike a name may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// A handle, a full name, a first or last name.
    Exact,
    /// Or a prefix of three letters or more, or a word with one edit (two from six letters on).
    Close,
}

/// Letters of a prefix.
const MIN_PREFIX: usize = 3;
/// Letters from which on a name may have two edits.
const TWO_EDITS_FROM: usize = 6;

impl World {
    /// Whether the caller may assign tasks to others.
    pub(crate) fn assigns(&self) -> bool {
        self.role >= Role::Manager
    }

    /// Whether the caller may assign tasks to a person: their reports, and from super managers on whoever has a lower role.
    pub(crate) fn may_assign_to(&self, handle: &str) -> bool {
        let Some(person) = self.people.iter().find(|person| person.handle == handle) else { return self.assigns() };
        handle == self.caller
            || match self.role {
                Role::User => false,
                Role::Manager => person.role == Role::User && self.reports_to_caller(person),
                Role::SuperManager => person.role <= Role::Manager,
                Role::Owner => true,
            }
    }

    /// Whether the caller may look at what a person does.
    pub(crate) fn may_look_at(&self, handle: &str) -> bool {
        let Some(person) = self.people.iter().find(|person| person.handle == handle) else { return true };
        handle == self.caller
            || match self.role {
                Role::User => false,
                Role::Manager => self.reports_to_caller(person),
                Role::SuperManager => person.role <= Role::Manager,
                Role::Owner => true,
            }
    }

    fn reports_to_caller(&self, person: &Member) -> bool {
        let mut above = person.manager.as_deref();
        // A hierarchy has four levels; a circle ends, too.
        for _ in 0..8 {
            match above {
                Some(handle) if handle == self.caller => return true,
                Some(handle) => {
                    above =
                        self.people.iter().find(|person| person.handle == handle).and_then(|it| it.manager.as_deref())
                }
                None => return false,
            }
        }
        false
    }

    /// The handle of the caller's manager.
    pub(crate) fn manager(&self) -> Option<&str> {
        self.people.iter().find(|person| person.handle == self.caller)?.manager.as_deref()
    }

    /// The person whom the first of the words name, and how many words that takes: the longest name first.
    pub(crate) fn person(&self, words: &[&str], likeness: Likeness) -> (Found<&str>, usize) {
        let Some(first) = words.first() else { return (Found::Nothing, 0) };
        if let Some(handle) = first.strip_prefix('@') {
            let handle = fold(handle.trim_end_matches("'s"));
            let found = self.people.iter().find(|person| fold(&person.handle) == handle);
            return (found.map_or(Found::Nothing, |person| Found::One(person.handle.as_str())), 1);
        }
        let longest = words.len().min(4);
        for count in (2..=longest).rev() {
            let name = fold(&words[..count].join(" "));
            let name = name.strip_suffix("'s").unwrap_or(&name);
            // A full name, or a part of it of several words: `da silva`.
            let found = self.named(|person| is_part(&fold(&person.name), name));
            if found != Found::Nothing {
                return (found, count);
            }
        }
        // An English word in lower case is no name.
        if first.starts_with(char::is_lowercase) && WORDS.contains(first) {
            return (Found::Nothing, 0);
        }
        let name = fold(first);
        let name = name.strip_suffix("'s").or_else(|| name.strip_suffix('\'')).unwrap_or(&name);
        let by_handle = self.people.iter().find(|person| fold(&person.handle) == name);
        if let Some(person) = by_handle {
            return (Found::One(&person.handle), 1);
        }
        let is_name = |person: &Member, matches: &dyn Fn(&str) -> bool| {
            let folded = fold(&person.name);
            folded.split([' ', '-']).any(matches) || folded.split(' ').any(matches)
        };
        let found = self.named(|person| is_name(person, &|part| part == name));
        if let (Found::One(handle), Some(next)) = (found, words.get(1))
            && next.starts_with(char::is_uppercase)
        {
            // A typo in the last name.
            let full = fold(&format!("{first} {next}"));
            let named = self.people.iter().find(|person| person.handle == handle);
            if named.is_some_and(|person| is_close(&full, &fold(&person.name))) {
                return (found, 2);
            }
        }
        if found != Found::Nothing || likeness == Likeness::Exact {
            return (found, usize::from(found != Found::Nothing));
        }
        if WORDS.contains(&name) {
            return (Found::Nothing, 0);
        }
        let letters = name.chars().count();
        if letters >= MIN_PREFIX {
            let begins = |part: &str| part.starts_with(name);
            let found = self.named(|person| is_name(person, &begins) || fold(&person.handle).starts_with(name));
            if found != Found::Nothing {
                return (found, 1);
            }
            // A name with its typo in it may be several words.
            for count in (2..=longest).rev() {
                let full = fold(&words[..count].join(" "));
                let found = self.named(|person| is_close(&full, &fold(&person.name)));
                if found != Found::Nothing {
                    return (found, count);
                }
            }
            let close = |part: &str| is_close(name, part);
            let found = self.named(|person| is_name(person, &close) || close(&fold(&person.handle)));
            if found != Found::Nothing {
                return (found, 1);
            }
        }
        (Found::Nothing, 0)
    }

    /// The only person for whom this holds.
    fn named(&self, holds: impl Fn(&Member) -> bool) -> Found<&str> {
        let mut found = self.people.iter().filter(|person| holds(person));
        match (found.next(), found.next()) {
            (None, _) => Found::Nothing,
            (Some(person), None) => Found::One(&person.handle),
            (Some(_), Some(_)) => Found::Several,
        }
    }
}

/// English words that are not taken for names, or for names with a typo.
const WORDS: [&str; 90] = [
    "all", "the", "and", "for", "them", "they", "this", "that", "these", "those", "some", "any", "each", "every",
    "both", "most", "more", "one", "two", "three", "will", "may", "mark", "can", "could", "should", "would", "must",
    "have", "has", "had", "get", "got", "let", "ask", "tell", "make", "made", "give", "put", "set", "add", "new",
    "old", "open", "done", "due", "late", "today", "tomorrow", "week", "month", "year", "day", "hour", "task", "tasks",
    "team", "report", "manager", "boss", "everyone", "someone", "anyone", "nobody", "people", "users", "user", "high",
    "low", "medium", "priority", "urgent", "overdue", "rose", "hope", "grant", "frank", "chase", "bill", "drew", "art",
    "pat", "sue", "jack", "rob", "dawn", "faith", "page", "price",
];

/// Whether some words are a run of the parts of a name.
fn is_part(name: &str, words: &str) -> bool {
    name.match_indices(words).any(|(at, _)| {
        (at == 0 || name[..at].ends_with(' ')) && name[at + words.len()..].chars().next().is_none_or(|next| next == ' ')
    })
}

/// Whether a typed name is another with a typo.
fn is_close(typed: &str, name: &str) -> bool {
    let letters = typed.chars().count();
    let allowed = if letters >= TWO_EDITS_FROM { 2 } else { 1 };
    edits(typed, name) <= allowed
}
