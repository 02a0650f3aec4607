//! Phrases that mean the same wherever they stand: priorities, statuses, estimates, numbers, ranges of time.

use crate::words::Word;

/// Lower-case words from a position on begin with these.
pub(crate) fn starts(words: &[Word<'_>], at: usize, phrase: &[&str]) -> bool {
    let Some(found) = words.get(at..at + phrase.len()) else { return false };
    let inside = found.iter().rev().skip(1).all(|word| word.mark.is_none_or(|mark| mark == ','));
    inside && found.iter().zip(phrase).all(|(word, expected)| !word.quoted && word.lower == *expected)
}

/// The phrase of these, the longest first, that begins at a position, and its number of words.
pub(crate) fn first_of<'a, T>(words: &[Word<'_>], at: usize, phrases: &'a [(&str, T)]) -> Option<(&'a T, usize)> {
    let first = words.get(at).filter(|word| !word.quoted)?.lower.as_str();
    let fits = |(phrase, _): &&(&str, T)| {
        // Most differ in the first word already.
        let Some(rest) = phrase.strip_prefix(first) else { return false };
        rest.is_empty() || rest.starts_with(' ') && starts(words, at, &phrase.split(' ').collect::<Vec<_>>())
    };
    let longest = phrases.iter().filter(fits).max_by_key(|(phrase, _)| phrase.split(' ').count())?;
    Some((&longest.1, longest.0.split(' ').count()))
}

/// The tag that is named at a position, and the number of words that takes: `tagged safety`, `#safety`.
pub(crate) fn tag<'t>(words: &[Word<'t>], at: usize) -> Option<(&'t str, usize)> {
    const TAGGED: [&[&str]; 7] = [
        &["tagged", "with"],
        &["tagged", "as"],
        &["tagged"],
        &["with", "the", "tag"],
        &["with", "tag"],
        &["labeled"],
        &["labelled"],
    ];
    let word = words.get(at).filter(|word| !word.quoted)?;
    if let Some(tag) = word.text.strip_prefix('#').filter(|tag| !tag.is_empty()) {
        return Some((tag, 1));
    }
    let phrase = TAGGED.iter().find(|phrase| starts(words, at, phrase))?;
    let tag = words.get(at + phrase.len())?;
    Some((tag.text.trim_start_matches('#'), phrase.len() + 1))
}

/// Priorities, highest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    High,
    Medium,
    Low,
}

impl Priority {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// Words that name a priority by themselves.
pub(crate) const PRIORITY_WORDS: [(&str, Priority); 34] = [
    ("high priority", Priority::High),
    ("highest priority", Priority::High),
    ("top priority", Priority::High),
    ("high prio", Priority::High),
    ("priority high", Priority::High),
    ("prio high", Priority::High),
    ("priority 1", Priority::High),
    ("prio 1", Priority::High),
    ("priority urgent", Priority::High),
    ("priority critical", Priority::High),
    ("urgent priority", Priority::High),
    ("critical priority", Priority::High),
    ("p1", Priority::High),
    ("p0", Priority::High),
    ("urgent", Priority::High),
    ("urgently", Priority::High),
    ("critical", Priority::High),
    ("medium priority", Priority::Medium),
    ("normal priority", Priority::Medium),
    ("medium prio", Priority::Medium),
    ("priority medium", Priority::Medium),
    ("priority normal", Priority::Medium),
    ("prio medium", Priority::Medium),
    ("priority 2", Priority::Medium),
    ("p2", Priority::Medium),
    ("low priority", Priority::Low),
    ("lowest priority", Priority::Low),
    ("low prio", Priority::Low),
    ("priority low", Priority::Low),
    ("prio low", Priority::Low),
    ("priority 3", Priority::Low),
    ("p3", Priority::Low),
    ("p4", Priority::Low),
    ("non-urgent", Priority::Low),
];

/// Words that let a priority be inferred, if none is named. Those that are left out of a title.
pub(crate) const PRIORITY_HINTS: [(&str, Priority); 23] = [
    ("emergency", Priority::High),
    ("asap", Priority::High),
    ("a.s.a.p", Priority::High),
    ("as soon as possible", Priority::High),
    ("immediately", Priority::High),
    ("right away", Priority::High),
    ("right now", Priority::High),
    ("it's important", Priority::High),
    ("this is important", Priority::High),
    ("important", Priority::High),
    ("it's a blocker", Priority::High),
    ("this is a blocker", Priority::High),
    ("it's an emergency", Priority::High),
    ("this is an emergency", Priority::High),
    ("there's no rush", Priority::Low),
    ("no rush", Priority::Low),
    ("no hurry", Priority::Low),
    ("whenever", Priority::Low),
    ("sometime", Priority::Low),
    ("nice to have", Priority::Low),
    ("nice-to-have", Priority::Low),
    ("when you have time", Priority::Low),
    ("not urgent", Priority::Low),
];

/// Words in a title that let a high priority be inferred.
pub(crate) const URGENT_NOUNS: [&str; 5] = ["blocker", "blockers", "emergency", "outage", "outages"];

/// Words in a title that say that something is broken: high, if it is due soon.
pub(crate) const BROKEN: [&str; 22] = [
    "bug",
    "bugs",
    "crash",
    "crashes",
    "crashing",
    "crashed",
    "error",
    "errors",
    "failing",
    "fails",
    "failure",
    "failures",
    "leak",
    "leaks",
    "leaking",
    "broken",
    "failed",
    "hotfix",
    "regression",
    "bugfix",
    "buggy",
    "leakage",
];

/// Statuses by what people call them.
pub(crate) const STATUS_WORDS: [(&str, &str); 42] = [
    ("done", "completed"),
    ("finished", "completed"),
    ("complete", "completed"),
    ("completed", "completed"),
    ("closed", "completed"),
    ("close", "completed"),
    ("finish", "completed"),
    ("on hold", "paused"),
    ("paused", "paused"),
    ("pause", "paused"),
    ("hold", "paused"),
    ("in progress", "in_progress"),
    ("in-progress", "in_progress"),
    ("in_progress", "in_progress"),
    ("inprogress", "in_progress"),
    ("started", "in_progress"),
    ("start", "in_progress"),
    ("begin", "in_progress"),
    ("begun", "in_progress"),
    ("resumed", "in_progress"),
    ("resume", "in_progress"),
    ("ongoing", "in_progress"),
    ("pending", "pending"),
    ("reopened", "pending"),
    ("reopen", "pending"),
    ("re-open", "pending"),
    ("open", "pending"),
    ("not started", "pending"),
    ("to do", "pending"),
    ("to-do", "pending"),
    ("todo", "pending"),
    ("archived", "archived"),
    ("archive", "archived"),
    ("canceled", "canceled"),
    ("cancelled", "canceled"),
    ("cancel", "canceled"),
    ("active", "in_progress"),
    ("unstarted", "pending"),
    ("deleted", "deleted"),
    ("delete", "deleted"),
    ("being worked on", "in_progress"),
    ("underway", "in_progress"),
];

/// Words of small numbers.
const NUMBERS: [(&str, u32); 24] = [
    ("a", 1),
    ("an", 1),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("fifteen", 15),
    ("twenty", 20),
    ("thirty", 30),
    ("forty", 40),
    ("forty-five", 45),
    ("sixty", 60),
    ("ninety", 90),
    ("couple", 2),
    ("few", 3),
    ("twenty-four", 24),
];

/// Units of durations, in seconds, if a day of work is 8 hours (`workday`), or a day is 24.
fn unit(word: &str, workday: bool) -> Option<f64> {
    let word = word.trim_end_matches('.');
    Some(match word {
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" if workday => 28_800.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" if workday => 144_000.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    })
}

/// A number in figures or words.
pub(crate) fn number(word: &str) -> Option<f64> {
    let word = word.strip_prefix('~').unwrap_or(word);
    if let Some((_, number)) = NUMBERS.iter().find(|(name, _)| *name == word) {
        return Some(f64::from(*number));
    }
    let figures = word.replace(',', ".");
    let plain = !figures.is_empty() && figures.chars().all(|c| c.is_ascii_digit() || c == '.');
    figures.parse().ok().filter(|_| plain)
}

/// A duration that begins at a position, in seconds, and its number of words: `2 hours`, `90min`, `half an hour`,
/// `an hour and a half`, `2h 30m`.
pub(crate) fn duration(words: &[Word<'_>], at: usize, workday: bool) -> Option<(u32, usize)> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map(|word| word.lower.as_str());
    let first = lower(at)?;
    let whole =
        |seconds: f64, count: usize| Some((seconds.round() as u32, count)).filter(|_| (1.0..1e9).contains(&seconds));
    if first == "half" {
        let article = usize::from(matches!(lower(at + 1), Some("a" | "an")));
        let seconds = unit(lower(at + 1 + article)?, workday)?;
        return whole(seconds / 2.0, 2 + article);
    }
    // `90min`, `2h30m`.
    if first.starts_with(|c: char| c.is_ascii_digit()) && first.ends_with(|c: char| c.is_ascii_alphabetic()) {
        let mut seconds = 0.0;
        let mut rest = first;
        while !rest.is_empty() {
            let figures = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ','))?;
            let letters = rest[figures..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| figures + at);
            seconds += number(&rest[..figures])? * unit(&rest[figures..letters], workday)?;
            rest = &rest[letters..];
        }
        let (more, count) = match duration(words, at + 1, workday) {
            Some((more, count)) if lower(at + 1).is_some_and(|word| word.ends_with(['m', 'n'])) => (more, count),
            _ => (0, 0),
        };
        return whole(seconds + f64::from(more), 1 + count);
    }
    // `2-hour`.
    if let Some((figures, name)) = first.split_once('-')
        && let (Some(count), Some(seconds)) = (number(figures), unit(name, workday))
    {
        return whole(count * seconds, 1);
    }
    let mut count = number(first)?;
    let mut next = at + 1;
    if matches!(first, "a" | "couple" | "few") && matches!(lower(next), Some("couple" | "few")) {
        count = number(lower(next)?)?;
        next += 1;
    }
    if lower(next) == Some("of") {
        next += 1;
    }
    if lower(next) == Some("and") && lower(next + 1) == Some("a") && lower(next + 2) == Some("half") {
        count += 0.5;
        next += 3;
    }
    let seconds = unit(lower(next)?, workday)?;
    next += 1;
    let mut total = count * seconds;
    if lower(next) == Some("and") && lower(next + 1) == Some("a") && lower(next + 2) == Some("half") {
        total += seconds / 2.0;
        next += 3;
    } else if let Some(at) = [next, next + usize::from(lower(next) == Some("and"))].into_iter().next_back()
        && let Some((more, used)) = duration(words, at, workday)
        && f64::from(more) < seconds
        && lower(at).is_some_and(|word| word != "a" && word != "an")
    {
        total += f64::from(more);
        next = at + used;
    }
    whole(total, next - at)
}

/// Ranges of time of lists.
pub(crate) const RANGES: [(&str, &str); 22] = [
    ("today", "today"),
    ("today's", "today"),
    ("for today", "today"),
    ("yesterday", "yesterday"),
    ("yesterday's", "yesterday"),
    ("this week", "this_week"),
    ("this week's", "this_week"),
    ("the week", "this_week"),
    ("the current week", "this_week"),
    ("current week", "this_week"),
    ("last week", "last_week"),
    ("last week's", "last_week"),
    ("the last week", "last_week"),
    ("previous week", "last_week"),
    ("the previous week", "last_week"),
    ("this month", "this_month"),
    ("this month's", "this_month"),
    ("the current month", "this_month"),
    ("last month", "last_month"),
    ("last month's", "last_month"),
    ("the last month", "last_month"),
    ("previous month", "last_month"),
];

/// Ranges of time of reports, besides those of lists.
pub(crate) const REPORT_RANGES: [(&str, &str); 12] = [
    ("this quarter", "this_quarter"),
    ("this quarter's", "this_quarter"),
    ("the current quarter", "this_quarter"),
    ("last quarter", "last_quarter"),
    ("last quarter's", "last_quarter"),
    ("previous quarter", "last_quarter"),
    ("the previous quarter", "last_quarter"),
    ("this year", "this_year"),
    ("this year's", "this_year"),
    ("last year", "last_year"),
    ("last year's", "last_year"),
    ("previous year", "last_year"),
];
