//! Questions about tasks, and reports.

use chrono::{Datelike as _, NaiveDate};
use serde_json::{Map, Value, json};

use crate::{
    Call,
    change::filter,
    phrases::{RANGES, REPORT_RANGES, first_of, starts},
    slots::{Stop, Words},
    when,
    words::Word,
    world::{Found, Likeness, World},
};

const ASKS: [&str; 34] = [
    "show", "list", "what", "what's", "whats", "which", "who", "who's", "how", "find", "search", "get", "display",
    "view", "see", "any", "do", "does", "is", "are", "have", "has", "did", "tell", "give", "fetch", "look", "check",
    "count", "where", "when's", "pull", "anything", "whose",
];
const NOUNS: [&str; 13] = [
    "everything",
    "task",
    "tasks",
    "todo",
    "todos",
    "to-dos",
    "tickets",
    "items",
    "work",
    "plate",
    "list",
    "backlog",
    "assignments",
];

/// Reads a question; `None` if it is none.
pub(crate) fn read(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    report(words, world).or_else(|| query(words, world))
}

fn has(words: &[Word<'_>], of: &[&str]) -> bool {
    words.iter().any(|word| word.is_any(of))
}

fn query(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    let is_question = words.last().is_some_and(|word| word.mark == Some('?'));
    let asks = ASKS.contains(&lower(0));
    let states = [
        "overdue",
        "late",
        "due",
        "completed",
        "complete",
        "finished",
        "done",
        "finish",
        "paused",
        "progress",
        "pending",
        "open",
        "working",
        "archived",
        "canceled",
        "cancelled",
        "hold",
        "closed",
        "outstanding",
        "behind",
    ];
    let does = has(words, &["do", "doing", "supposed"]) && matches!(lower(0), "what" | "what's" | "whats" | "who");
    let about = has(words, &NOUNS) || has(words, &states) || does;
    // `my tasks`, `overdue tasks`, `tasks due today`: nothing but a noun phrase.
    let phrase = has(words, &["tasks", "todos", "tickets"])
        && (filter_words(words) || matches!(lower(0), "my" | "all" | "overdue" | "open" | "tasks" | "today's"));
    // `everything om has in progress`
    let everything = matches!(lower(0), "everything" | "anything") && about;
    let is_about_tasks = about && (asks || is_question) || phrase || everything;
    if !is_about_tasks {
        return None;
    }
    // `get eva to call ...`, `have bob check ...` and `give ...` are no questions.
    if matches!(lower(0), "get" | "have" | "give" | "tell") && !has(words, &["tasks", "overdue"]) && !is_question {
        return None;
    }
    let mut filter = match filter(words, world) {
        Ok(filter) => filter,
        Err(stop) => return Some(Err(stop)),
    };
    // What it does not take.
    filter.remove("priority");
    filter.remove("tag");
    for at in 0..words.len() {
        // Who has something to do by then.
        let later = starts(words, at, &["tomorrow"])
            || starts(words, at, &["next", "week"])
            || starts(words, at, &["next", "month"]);
        if later && filter.get("time_range").is_none() {
            return Some(Err(Stop::Clarify("time_range")));
        }
    }
    if matches!(filter.get("time_range").and_then(Value::as_str), Some("last_week" | "last_month" | "yesterday")) {
        return Some(Err(Stop::Clarify("time_range")));
    }
    if let Some(person) = filter.get("assigned_to").and_then(Value::as_str)
        && !world.may_look_at(person)
    {
        return Some(Err(Stop::Refuse));
    }
    // `what am i working on`
    if has(words, &["working"]) && !filter.contains_key("status") {
        filter.insert("status".to_owned(), json!(["in_progress"]));
    }
    Some(Ok(vec![Call { name: "query_tasks", arguments: filter }]))
}

/// Whether the words say a filter.
fn filter_words(words: &[Word<'_>]) -> bool {
    has(words, &["overdue", "completed", "paused", "pending", "due", "assigned", "archived", "open"])
        && !has(
            words,
            &["create", "add", "mark", "archive", "delete", "cancel", "close", "assign", "set", "move", "make"],
        )
}

fn report(words: &[Word<'_>], world: &World) -> Option<Result<Vec<Call>, Stop>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    let kind = report_type(words)?;
    let mut arguments = Map::new();
    let range = match date_range(words, world) {
        Ok(range) => range,
        Err(stop) => return Some(Err(stop)),
    };
    let slots = Words::new(words);
    let mut user = None;
    for at in 0..words.len() {
        if matches!(lower(at), "my" | "i" | "myself")
            || lower(at) == "me" && at > 0 && matches!(lower(at - 1), "for" | "on" | "about" | "of")
        {
            if lower(at) == "my" && matches!(lower(at + 1), "manager" | "manager's" | "boss") {
                user = world.manager().map(str::to_owned);
                continue;
            }
            let with_manager = lower(at) == "my"
                && matches!(lower(at + 1), "team" | "team's" | "teams" | "direct" | "people" | "reports");
            if !with_manager {
                user = user.or(Some(world.caller.clone()));
            }
            continue;
        }
        let after = at > 0
            && matches!(lower(at - 1), "for" | "of" | "by" | "on" | "about" | "did" | "has" | "is" | "was" | "does");
        let likeness = if after { Likeness::Close } else { Likeness::Exact };
        // The words of reports are no names.
        if matches!(
            lower(at),
            "the"
                | "team"
                | "report"
                | "overdue"
                | "week"
                | "month"
                | "last"
                | "this"
                | "performance"
                | "productivity"
                | "quarter"
                | "year"
                | "how"
                | "many"
                | "tasks"
                | "task"
                | "yesterday"
                | "today"
        ) {
            continue;
        }
        if matches!(lower(at), "me" | "my" | "i") {
            continue;
        }
        match slots.person_at(at, world, likeness) {
            (Found::One(handle), used) if used > 0 => user = Some(handle),
            (Found::Several, used) if used > 0 && after => return Some(Err(Stop::Clarify("user_id"))),
            _ => {}
        }
    }
    let own = user.as_ref() == Some(&world.caller);
    if !world.assigns() && !own || user.as_ref().is_some_and(|user| !world.may_look_at(user)) {
        return Some(Err(Stop::Refuse));
    }
    let Some(kind) = kind else { return Some(Err(Stop::Clarify("report_type"))) };
    arguments.insert("report_type".to_owned(), json!(kind));
    if let Some(user) = user {
        arguments.insert("user_id".to_owned(), json!(user));
    }
    if let Some(range) = range {
        arguments.insert("date_range".to_owned(), json!(range));
    }
    Some(Ok(vec![Call { name: "generate_report", arguments }]))
}

/// The type of report that is asked for: `None` if no report is, `Some(None)` if it is not clear which.
fn report_type(words: &[Word<'_>]) -> Option<Option<&'static str>> {
    let lower = |at: usize| words.get(at).filter(|word| !word.quoted).map_or("", |word| word.lower.as_str());
    let creates = matches!(
        lower(0),
        "create"
            | "add"
            | "write"
            | "prepare"
            | "finish"
            | "send"
            | "review"
            | "remind"
            | "assign"
            | "mark"
            | "draft"
            | "update"
            | "complete"
            | "submit"
            | "start"
            | "archive"
            | "delete"
            | "cancel"
            | "i"
    ) && has(words, &["task", "by", "tomorrow", "due"]);
    if creates {
        return None;
    }
    let who = has(
        words,
        &["which", "who", "whose", "users", "people", "members", "everyone", "anyone", "teammates", "colleagues"],
    ) || starts(words, 0, &["who's"]);
    let report = has(
        words,
        &[
            "report",
            "reports",
            "stats",
            "statistics",
            "figures",
            "metrics",
            "analytics",
            "summary",
            "overview",
            "numbers",
        ],
    );
    let makes = matches!(
        lower(0),
        "show"
            | "give"
            | "generate"
            | "run"
            | "get"
            | "make"
            | "create"
            | "pull"
            | "produce"
            | "what"
            | "what's"
            | "how"
            | "how's"
            | "which"
            | "who"
            | "who's"
            | "i"
            | "can"
            | "display"
            | "see"
            | "prepare"
            | "productivity"
            | "overdue"
            | "team"
            | "performance"
            | "tell"
            | "compare"
            | "print"
            | "view"
            | "need"
            | "my"
    );
    if has(words, &["overdue", "late", "behind"])
        && who
        && (has(words, &["most", "many", "number", "count", "often"])
            || has(words, &["users", "people", "members", "who", "teammates", "colleagues"]))
    {
        return Some(Some("overdue"));
    }
    if has(words, &["overdue"]) && report && makes {
        return Some(Some("overdue"));
    }
    let team = has(words, &["team", "team's", "teams", "department"]);
    if team && (has(words, &["performance", "performing", "perform", "performed", "doing", "do"]) || report) && makes {
        return Some(Some("team_performance"));
    }
    if has(words, &["productivity", "productive"]) && (makes || report || lower(0).ends_with("'s")) {
        return Some(Some("productivity"));
    }
    let done = has(
        words,
        &[
            "complete",
            "completed",
            "finish",
            "finished",
            "done",
            "accomplish",
            "accomplished",
            "close",
            "closed",
            "achieve",
            "deliver",
            "delivered",
        ],
    );
    if starts(words, 0, &["how", "many", "tasks"]) && done && has(words, &["did", "has", "have"]) {
        // A list of them has these ranges.
        let listed = (0..words.len()).any(|at| {
            first_of(words, at, &RANGES)
                .is_some_and(|(range, _)| matches!(*range, "today" | "this_week" | "this_month"))
        });
        return (!listed).then_some(Some("productivity"));
    }
    if starts(words, 0, &["how", "much"]) && done {
        return Some(Some("productivity"));
    }
    if who && done && has(words, &["most"]) {
        return Some(Some("productivity"));
    }
    if has(words, &["performance"]) && (report || makes) {
        return Some(if has(words, &["team", "everyone", "department"]) {
            Some("team_performance")
        } else {
            Some("productivity")
        });
    }
    let asked =
        matches!(lower(0), "generate" | "run" | "produce" | "pull" | "give" | "show" | "get" | "create" | "make" | "i");
    (report && asked && has(words, &["report", "reports"])).then_some(None)
}

/// The range of time of a report.
fn date_range(words: &[Word<'_>], world: &World) -> Result<Option<String>, Stop> {
    let lower: Vec<&str> = words.iter().map(|word| word.lower.as_str()).collect();
    for at in 0..words.len() {
        if matches!(lower[at], "from" | "between") {
            let Some(from) = past_day(&lower[at + 1..], world) else { continue };
            let mut next = at + 1 + from.1;
            if matches!(lower.get(next), Some(&("to" | "and" | "until" | "through" | "till" | "-"))) {
                next += 1;
            }
            let Some(to) = past_day(lower.get(next..).unwrap_or_default(), world) else {
                return Err(Stop::Clarify("date_range"));
            };
            return Ok(Some(format!("{}/{}", from.0, to.0)));
        }
    }
    for at in 0..words.len() {
        if let Some((range, _)) = first_of(words, at, &REPORT_RANGES) {
            return Ok(Some((*range).to_owned()));
        }
        if let Some((range, _)) = first_of(words, at, &RANGES) {
            return Ok(Some((*range).to_owned()));
        }
    }
    Ok(None)
}

/// A day of a report, which may have been: as a date, and its number of words.
fn past_day(words: &[&str], world: &World) -> Option<(String, usize)> {
    let today = world.now.with_timezone(&world.timezone).date_naive();
    let (year, month, day, used) = when::date(words)?;
    let this_year = today.year();
    let date = match year {
        Some(year) => NaiveDate::from_ymd_opt(year, month, day)?,
        // Reports are about the past.
        None => NaiveDate::from_ymd_opt(this_year, month, day)
            .filter(|date| *date <= today)
            .or_else(|| NaiveDate::from_ymd_opt(this_year - 1, month, day))?,
    };
    Some((date.format("%Y-%m-%d").to_string(), used))
}
