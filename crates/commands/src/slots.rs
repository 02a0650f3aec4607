//! What is said besides the title or the task of a command: time, person, priority, estimate, description. They are found in some
//! words and taken out of them.

use chrono::{DateTime, SecondsFormat};
use chrono_tz::Tz;

use crate::{
    phrases::{BROKEN, PRIORITY_HINTS, PRIORITY_WORDS, Priority, URGENT_NOUNS, duration, first_of, starts},
    when::{self, Meaning},
    words::Word,
    world::{Found, Likeness, World},
};

/// Why a command does not become calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The argument of this name is not clear.
    Clarify(&'static str),
    /// The caller's role can never do it.
    Refuse,
    /// It is no command.
    NoCommand,
}

/// Words of a command, of which some are taken.
#[derive(Debug, Clone)]
pub(crate) struct Words<'w, 't> {
    pub(crate) all: &'w [Word<'t>],
    taken: Vec<bool>,
}

/// Words before a time that say that it is when something is due.
const DUE: [&[&str]; 17] = [
    &["due", "by"],
    &["due", "on"],
    &["due", "at"],
    &["due", "in"],
    &["due", "before"],
    &["due", "date"],
    &["no", "later", "than"],
    &["not", "later", "than"],
    &["deadline", "is"],
    &["deadline", "on"],
    &["with", "deadline"],
    &["it's", "due"],
    &["deadline"],
    &["due"],
    &["by"],
    &["before"],
    &["until"],
];
/// Words before a time that may belong to the title.
const AT: [&str; 6] = ["on", "at", "in", "for", "till", "from"];
/// Words after a time that go on with the sentence.
const GOES_ON: [&str; 22] = [
    "about",
    "with",
    "to",
    "for",
    "and",
    "regarding",
    "re",
    "because",
    "so",
    "as",
    "in",
    "from",
    "please",
    "pls",
    "it",
    "this",
    "since",
    "at",
    "on",
    "high",
    "low",
    "urgent",
];
/// Days that are a time wherever they stand.
const DAYS: [&str; 6] = ["today", "tonight", "tomorrow", "tmrw", "tmr", "tomorow"];
/// Times that are too wide to be due.
const VAGUE: [&[&str]; 8] = [
    &["next", "week"],
    &["this", "week"],
    &["next", "month"],
    &["this", "month"],
    &["next", "quarter"],
    &["next", "year"],
    &["this", "weekend"],
    &["next", "weekend"],
];

impl<'w, 't> Words<'w, 't> {
    pub(crate) fn new(all: &'w [Word<'t>]) -> Self {
        Self { all, taken: vec![false; all.len()] }
    }

    pub(crate) fn is_free(&self, at: usize) -> bool {
        self.taken.get(at) == Some(&false)
    }

    pub(crate) fn take(&mut self, from: usize, to: usize) {
        for taken in self.taken.iter_mut().take(to).skip(from) {
            *taken = true;
        }
    }

    /// The words that were not taken, with the marks that ended clauses.
    pub(crate) fn left_over(&self) -> Vec<Word<'t>> {
        let mut left: Vec<Word<'t>> = Vec::new();
        for (word, taken) in self.all.iter().zip(&self.taken) {
            match left.last_mut() {
                _ if !taken => left.push(word.clone()),
                Some(last) if word.mark == Some(':') => last.mark = word.mark,
                Some(last) if word.mark == Some(',') => last.mark = last.mark.or(word.mark),
                _ => {}
            }
        }
        left
    }

    /// The words that were not taken.
    pub(crate) fn left(&self) -> Vec<&'w Word<'t>> {
        self.all.iter().zip(&self.taken).filter(|(_, taken)| !**taken).map(|(word, _)| word).collect()
    }

    pub(crate) fn lower(&self, at: usize) -> &str {
        self.all.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str())
    }

    /// Lower-case words from a position to the end of the sentence, for a time.
    fn rest(&self, at: usize) -> Vec<&str> {
        let mut rest = Vec::new();
        for position in at..self.all.len() {
            if !self.is_free(position) || self.all[position].quoted || rest.len() == 12 {
                break;
            }
            rest.push(self.all[position].lower.as_str());
            if self.all[position].mark.is_some_and(|mark| mark != ',') {
                break;
            }
        }
        rest
    }

    /// Whether nothing that is not taken follows in the clause.
    fn ends_at(&self, at: usize) -> bool {
        let is_end = |position: usize| self.all.get(position).is_none_or(|_| !self.is_free(position));
        is_end(at) || at > 0 && self.all.get(at - 1).is_some_and(Word::ends_clause)
    }

    /// Whether a clause begins at a position.
    fn begins_at(&self, at: usize) -> bool {
        at == 0 || !self.is_free(at - 1) || self.all[at - 1].ends_clause()
    }

    /// Takes the time at which something is due.
    pub(crate) fn due(&mut self, world: &World) -> Result<Option<DateTime<Tz>>, Stop> {
        let now = world.now.with_timezone(&world.timezone);
        let mut best: Option<(u8, usize, usize, Meaning)> = None;
        let mut at = 0;
        while at < self.all.len() {
            if !self.is_free(at) || self.all[at].quoted {
                at += 1;
                continue;
            }
            let Some((rank, from, to, meaning)) = self.time_at(at, &now) else {
                at += 1;
                continue;
            };
            // Of several, the one that says so; then the last one.
            if best.as_ref().is_none_or(|(known, ..)| rank >= *known) {
                best = Some((rank, from, to, meaning));
            }
            at = to;
        }
        match best {
            None => Ok(None),
            Some((_, _, _, Meaning::Unclear)) => Err(Stop::Clarify("due_date")),
            Some((_, from, to, Meaning::At(time))) => {
                self.take(from, to);
                Ok(Some(time))
            }
        }
    }

    /// A time at a position: how clearly it is when something is due, and the words that it takes.
    fn time_at(&self, at: usize, now: &DateTime<Tz>) -> Option<(u8, usize, usize, Meaning)> {
        if let Some(phrase) = DUE.iter().find(|phrase| starts(self.all, at, phrase)) {
            let mut begins = at + phrase.len();
            while matches!(self.lower(begins), "is" | "of" | "the" | ":")
                && !matches!(self.lower(begins + 1), "" | "end")
                && when::parse(&self.rest(begins), now).is_none()
            {
                begins += 1;
            }
            if let Some(found) = when::parse(&self.rest(begins), now) {
                return Some((2, at, begins + found.words, found.meaning));
            }
            // `by 6`
            if self.lower(begins).chars().all(|c| c.is_ascii_digit()) {
                let mut clock = vec!["at"];
                clock.extend(self.rest(begins));
                if let Some(found) = when::parse(&clock, now).filter(|found| found.words > 1)
                    && self.is_adverb(begins + found.words - 1)
                {
                    return Some((2, at, begins + found.words - 1, found.meaning));
                }
            }
            if VAGUE.iter().any(|vague| starts(self.all, begins, vague)) {
                return Some((2, at, begins + 2, Meaning::Unclear));
            }
            return None;
        }
        let word = self.lower(at);
        let prefixed = AT.contains(&word);
        if prefixed
            && word != "from"
            && let Some(found) = when::parse(&self.rest(at + 1), now)
        {
            let to = at + 1 + found.words;
            // `in` and `at` may be a part of it.
            let whole = when::parse(&self.rest(at), now).map_or(to, |whole| at + whole.words);
            // What a sentence begins with, or what stands between `remind me` and `to`, is said of all of it.
            let leads =
                at == 0 || self.is_after_me(at) && matches!(self.lower(to.max(whole)), "to" | "that" | "about" | "of");
            if self.is_adverb(to.max(whole)) || leads {
                let meaning =
                    when::parse(&self.rest(at), now).filter(|_| whole > to).map_or(found.meaning, |it| it.meaning);
                return Some((1, at, to.max(whole), meaning));
            }
            return None;
        }
        let found = when::parse(&self.rest(at), now);
        let Some(found) = found else {
            let vague = VAGUE.iter().any(|vague| starts(self.all, at, vague)) && self.ends_at(at + 2);
            let after_article = at > 0 && matches!(self.lower(at - 1), "for" | "the" | "of");
            return (vague && !after_article).then_some((0, at, at + 2, Meaning::Unclear));
        };
        let to = at + found.words;
        if word == "the" && self.lower(at + 1).contains('-')
            || found.words == 1 && word.contains('-') && !word.starts_with(|c: char| c.is_ascii_digit())
        {
            return None;
        }
        if self.is_after_me(at) && matches!(self.lower(to), "to" | "that" | "about" | "of") {
            return Some((1, at, to, found.meaning));
        }
        let numeric = word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '/'));
        let ordinal = word == "the"
            || word.ends_with(|c: char| c.is_ascii_alphabetic()) && word.starts_with(|c: char| c.is_ascii_digit());
        let is_clock = ordinal && (word.ends_with('m') || word.ends_with('h'));
        // Versions, fractions and ordinals are parts of titles.
        if numeric && found.words == 1 || ordinal && !is_clock && found.words <= 2 && word != "the" {
            return None;
        }
        if word == "the" && found.words == 2 && !self.lower(at + 1).starts_with("end") && !self.begins_at(at) {
            return None;
        }
        let day = DAYS.contains(&word);
        let subject = at == 0 && found.words > 1 && !self.is_noun_after(to);
        let adverb = subject
            || day && !self.is_noun_after(to)
            || self.begins_at(at) && self.is_adverb(to)
            || self.ends_at(to)
            || prefixed && self.is_adverb(to);
        adverb.then_some((u8::from(day), at, to, found.meaning))
    }

    /// Whether `me` stands before a position, as in `remind me tomorrow to`.
    fn is_after_me(&self, at: usize) -> bool {
        at > 0 && self.lower(at - 1) == "me"
    }

    /// Whether the sentence ends at a position, or goes on with something that does not belong to a time before.
    fn is_adverb(&self, at: usize) -> bool {
        self.ends_at(at) || GOES_ON.contains(&self.lower(at))
    }

    /// Whether a noun follows to which a day before it would belong.
    fn is_noun_after(&self, at: usize) -> bool {
        !self.ends_at(at)
            && matches!(
                self.lower(at),
                "meeting" | "standup" | "call" | "demo" | "agenda" | "session" | "release" | "shift"
            )
    }

    /// Takes an estimate, in minutes.
    pub(crate) fn estimate(&mut self) -> Option<u32> {
        const BEFORE: [&[&str]; 24] = [
            &["it", "should", "take", "about"],
            &["it", "should", "take"],
            &["should", "take", "about"],
            &["should", "take", "around"],
            &["should", "take"],
            &["will", "take", "about"],
            &["will", "take"],
            &["it", "takes", "about"],
            &["it", "takes"],
            &["takes", "about"],
            &["takes", "around"],
            &["takes"],
            &["taking", "about"],
            &["with", "an", "estimate", "of"],
            &["estimated", "time", "of"],
            &["estimated", "time"],
            &["estimated", "at"],
            &["estimate", "is"],
            &["estimate", "of"],
            &["estimated"],
            &["estimate"],
            &["est"],
            &["effort"],
            &["about"],
        ];
        for at in 0..self.all.len() {
            if !self.is_free(at) {
                continue;
            }
            if let Some(phrase) = BEFORE.iter().find(|phrase| starts(self.all, at, phrase)) {
                let mut begins = at + phrase.len();
                while matches!(
                    self.lower(begins),
                    "about" | "around" | "roughly" | "approximately" | "of" | "me" | "him" | "her" | "you"
                ) {
                    begins += 1;
                }
                if let Some((seconds, used)) = duration(self.all, begins, true) {
                    let mut from = at;
                    while from > 0
                        && self.is_free(from - 1)
                        && matches!(self.lower(from - 1), "it" | "that" | "this" | "which" | "and" | "with" | "an")
                    {
                        from -= 1;
                    }
                    let mut to = begins + used;
                    if matches!(self.lower(to), "of") && self.lower(to + 1) == "work" {
                        to += 2;
                    }
                    self.take(from, to);
                    return Some(seconds.div_ceil(60));
                }
            }
            // `2h estimate`, `(2h)` or `~2h` at the end of a clause.
            if let Some((seconds, used)) = duration(self.all, at, true) {
                let to = at + used;
                if matches!(self.lower(to), "estimate" | "estimated" | "est" | "effort")
                    || self.lower(to) == "of" && self.lower(to + 1) == "work"
                {
                    let from = at - usize::from(at > 0 && matches!(self.lower(at - 1), "with" | "a" | "for"));
                    self.take(from, to + if self.lower(to) == "of" { 2 } else { 1 });
                    return Some(seconds.div_ceil(60));
                }
                let compact = self.lower(at).starts_with(|c: char| c.is_ascii_digit() || c == '~')
                    && self.ends_at(to)
                    && self.begins_at(at)
                    && at > 0;
                if compact || self.lower(at).starts_with('~') {
                    self.take(at, to);
                    return Some(seconds.div_ceil(60));
                }
            }
        }
        None
    }

    /// Takes a priority, named or hinted at.
    pub(crate) fn priority(&mut self) -> Option<Priority> {
        let mut found = None;
        for at in 0..self.all.len() {
            if !self.is_free(at) {
                continue;
            }
            if let Some((priority, used)) = first_of(self.all, at, &PRIORITY_WORDS) {
                if self.lower(at.wrapping_sub(1)) == "not" {
                    continue;
                }
                let mut from = at;
                while from > 0
                    && self.is_free(from - 1)
                    && matches!(
                        self.lower(from - 1),
                        "with"
                            | "as"
                            | "at"
                            | "a"
                            | "an"
                            | "it's"
                            | "its"
                            | "is"
                            | "this"
                            | "it"
                            | "and"
                            | "make"
                            | "mark"
                            | "set"
                            | "to"
                            | "give"
                            | "the"
                            | "very"
                            | "super"
                    )
                    && !self.all[from - 1].ends_clause()
                {
                    from -= 1;
                }
                let to = at + used;
                // An adjective inside the title stays there.
                let apart = self.ends_at(to)
                    || self.begins_at(at) && self.all[to - 1].ends_clause()
                    || self.begins_at(from) && self.ends_at(to);
                found = found.or(Some(*priority));
                if apart || self.lower(at).starts_with('p') && used == 1 || used > 1 {
                    // `the` of `to the ...` is no part of it.
                    let from = if self.ends_at(to) || self.begins_at(from) { from } else { at };
                    self.take(from, to);
                }
            }
        }
        for at in 0..self.all.len() {
            if !self.is_free(at) {
                continue;
            }
            if let Some((priority, used)) = first_of(self.all, at, &PRIORITY_HINTS) {
                let mut to = at + used;
                found = found.or(Some(*priority));
                if starts(self.all, to, &["at", "all"]) {
                    to += 2;
                }
                let edge = self.ends_at(to) || self.begins_at(at);
                let adjective = matches!(self.lower(at), "important" | "emergency");
                // `emergency exit` is a thing; `Emergency: ...` is not.
                let edge = if self.lower(at) == "emergency" {
                    self.all[to - 1].ends_clause() && self.begins_at(at)
                } else {
                    edge
                };
                if edge || !adjective {
                    let mut from = at;
                    while from > 0
                        && self.is_free(from - 1)
                        && matches!(
                            self.lower(from - 1),
                            "it's" | "its" | "is" | "this" | "it" | "very" | "but" | "and" | "there's" | "a" | "an"
                        )
                        && !self.all[from - 1].ends_clause()
                    {
                        from -= 1;
                    }
                    self.take(from, to);
                }
            }
        }
        found
    }

    /// Takes a description: what follows `description:`.
    pub(crate) fn description(&mut self, text: &'t str) -> Option<String> {
        const BEFORE: [&[&str]; 8] = [
            &["with", "the", "description"],
            &["with", "description"],
            &["with", "a", "description"],
            &["description", "is"],
            &["description"],
            &["details"],
            &["notes"],
            &["note"],
        ];
        for at in 1..self.all.len() {
            let Some(phrase) = BEFORE.iter().find(|phrase| starts(self.all, at, phrase)) else { continue };
            let begins = at + phrase.len();
            let marked = self.all[begins - 1].mark == Some(':');
            let word = self.all.get(begins)?;
            if word.quoted {
                self.take(at, begins + 1);
                return Some(word.text.to_owned());
            }
            if marked || phrase.len() > 1 {
                let last = self.all.last()?;
                let description = text.get(word.span.0..last.span.1)?.to_owned();
                self.take(at, self.all.len());
                return Some(description);
            }
        }
        None
    }

    /// The person at a position, if there is one.
    pub(crate) fn person_at(&self, at: usize, world: &World, likeness: Likeness) -> (Found<String>, usize) {
        let next: Vec<&str> = (at..self.all.len().min(at + 4))
            .take_while(|position| self.is_free(*position) && !self.all[*position].quoted)
            .scan(false, |ended, position| {
                let goes_on = !*ended;
                *ended = self.all[position].ends_clause();
                goes_on.then(|| self.all[position].text)
            })
            .collect();
        let lower: Vec<String> = next.iter().map(|word| word.to_lowercase()).collect();
        match lower.first().map(String::as_str) {
            Some("me" | "myself" | "i" | "mine") => return (Found::One(world.caller.clone()), 1),
            Some("my")
                if matches!(lower.get(1).map(String::as_str), Some("manager" | "boss" | "supervisor" | "lead")) =>
            {
                return (world.manager().map_or(Found::Nothing, |handle| Found::One(handle.to_owned())), 2);
            }
            _ => {}
        }
        let (found, used) = world.person(&next, likeness);
        let found = match found {
            Found::One(handle) => Found::One(handle.to_owned()),
            Found::Several => Found::Several,
            Found::Nothing => Found::Nothing,
        };
        (found, used)
    }
}

/// Whether some words say nothing but a priority, an estimate or a time.
pub(crate) fn is_hint(words: &[Word<'_>]) -> bool {
    let mut slots = Words::new(words);
    slots.estimate();
    slots.priority();
    slots.left().iter().all(|word| word.is_any(&["it's", "it", "is", "very", "please", "this", "due"]))
}

/// The priority of a task whose text names none.
pub(crate) fn inferred(title: &[&Word<'_>], due: Option<DateTime<Tz>>, world: &World) -> Priority {
    let any = |of: &[&str]| title.iter().any(|word| of.contains(&word.lower.as_str()));
    let soon = due.is_some_and(|due| due.to_utc() <= world.now + chrono::TimeDelta::days(7));
    if any(&URGENT_NOUNS) || soon && any(&BROKEN) { Priority::High } else { Priority::Medium }
}

/// A time in the contract.
pub(crate) fn rfc3339(time: DateTime<Tz>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// A title of some words: without articles, with a capital first letter; as it was, if it stood in quotes.
pub(crate) fn title(words: &[&Word<'_>]) -> String {
    if let [only] = words
        && only.quoted
    {
        return only.text.to_owned();
    }
    let mut title = String::new();
    for (nth, word) in words.iter().enumerate() {
        if word.is_any(&["the", "a", "an"]) {
            continue;
        }
        if !title.is_empty() {
            title.push(' ');
        }
        if word.quoted {
            title.push_str(&format!("“{}”", word.text));
        } else {
            title.push_str(word.text);
        }
        // Commas and colons inside of it stay.
        if let Some(mark) = word.mark.filter(|mark| matches!(mark, ',' | ':' | ';') && nth + 1 < words.len()) {
            title.push(mark);
        }
    }
    let trimmed = title.trim_end_matches([',', ':', ';']);
    let mut letters = trimmed.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
