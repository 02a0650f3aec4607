//! Parsing and validation of an RRULE value (RFC 5545, section 3.3.10).
//!
//! No crate parses rules as the RFC specifies: `rrule` 0.14 refuses `BYDAY=-5MO` and `BYSECOND=60`, restricts BYSETPOS
//! by FREQ, and iterates 100,000 periods of a rule without occurrences. This file parses rules, `occurrences.rs`
//! expands them, and a test compares both with python-dateutil (`differential.rs`).

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc, Weekday};

/// Errors are sentences for the author of the rule. They follow the field's name.
type Result<T> = std::result::Result<T, String>;

/// FREQ, the longest period first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Frequency {
    Yearly,
    Monthly,
    Weekly,
    Daily,
    Hourly,
    Minutely,
    Secondly,
}

/// UNTIL, the last possible occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Instant(DateTime<Utc>),
    /// The whole day in the rule's time zone.
    Day(NaiveDate),
}

/// A value of BYDAY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DayOfWeek {
    /// The nth one in the month or year, from the end if negative; `None` for each.
    pub(super) nth: Option<i32>,
    pub(super) weekday: Weekday,
}

/// An RRULE. Lists are sorted and without duplicates; an empty list stands for a missing part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) frequency: Frequency,
    pub(super) interval: u32,
    pub(super) count: Option<u32>,
    pub(super) until: Option<Until>,
    pub(super) week_start: Weekday,
    pub(super) months: Vec<i32>,
    pub(super) weeks: Vec<i32>,
    pub(super) year_days: Vec<i32>,
    pub(super) month_days: Vec<i32>,
    pub(super) weekdays: Vec<DayOfWeek>,
    pub(super) hours: Vec<i32>,
    pub(super) minutes: Vec<i32>,
    pub(super) seconds: Vec<i32>,
    pub(super) positions: Vec<i32>,
}

pub(super) const FREQUENCIES: [(&str, Frequency); 7] = [
    ("YEARLY", Frequency::Yearly),
    ("MONTHLY", Frequency::Monthly),
    ("WEEKLY", Frequency::Weekly),
    ("DAILY", Frequency::Daily),
    ("HOURLY", Frequency::Hourly),
    ("MINUTELY", Frequency::Minutely),
    ("SECONDLY", Frequency::Secondly),
];

pub(super) const WEEKDAYS: [(&str, Weekday); 7] = [
    ("MO", Weekday::Mon),
    ("TU", Weekday::Tue),
    ("WE", Weekday::Wed),
    ("TH", Weekday::Thu),
    ("FR", Weekday::Fri),
    ("SA", Weekday::Sat),
    ("SU", Weekday::Sun),
];

impl FromStr for Rule {
    type Err = String;

    /// Parses the parts, each within its range. [`Rule::check`] checks their combination.
    fn from_str(text: &str) -> Result<Self> {
        // Refuses further lines, such as DTSTART, and all characters that an RRULE value cannot have.
        if !text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b";=,+-".contains(&b)) {
            return Err("must be the value of an RRULE (RFC 5545), such as FREQ=WEEKLY;BYDAY=MO".to_owned());
        }
        let mut rule = Self::of(Frequency::Daily);
        let mut named: Vec<&str> = Vec::new();
        for part in text.split(';') {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                "must be an RRULE (RFC 5545): parts are NAME=VALUE, separated by semicolons".to_owned()
            })?;
            if named.contains(&name) {
                return Err(format!("must not have more than one {name}"));
            }
            named.push(name);
            match name {
                "FREQ" => rule.frequency = one_of(&FREQUENCIES, name, value)?,
                "WKST" => rule.week_start = one_of(&WEEKDAYS, name, value)?,
                "INTERVAL" => rule.interval = positive(name, value)?,
                "COUNT" => rule.count = Some(positive(name, value)?),
                "UNTIL" => rule.until = Some(value.parse()?),
                "BYDAY" => rule.weekdays = weekdays(value)?,
                "BYMONTH" => rule.months = numbers(name, value, 1, 12, false)?,
                "BYWEEKNO" => rule.weeks = numbers(name, value, 1, 53, true)?,
                "BYYEARDAY" => rule.year_days = numbers(name, value, 1, 366, true)?,
                "BYMONTHDAY" => rule.month_days = numbers(name, value, 1, 31, true)?,
                "BYHOUR" => rule.hours = numbers(name, value, 0, 23, false)?,
                "BYMINUTE" => rule.minutes = numbers(name, value, 0, 59, false)?,
                "BYSECOND" => {
                    // No time zone has leap seconds, so second 60 is 59 (section 3.3.12).
                    let seconds = numbers(name, value, 0, 60, false)?;
                    rule.seconds = sorted(seconds.into_iter().map(|second| second.min(59)).collect());
                }
                "BYSETPOS" => rule.positions = numbers(name, value, 1, 366, true)?,
                _ => return Err(format!("must be an RRULE (RFC 5545): unknown part {}", quoted(name))),
            }
        }
        if !named.contains(&"FREQ") {
            return Err("must be an RRULE (RFC 5545): FREQ is missing".to_owned());
        }
        Ok(rule)
    }
}

impl Rule {
    /// A rule with this frequency only.
    fn of(frequency: Frequency) -> Self {
        Self {
            frequency,
            interval: 1,
            count: None,
            until: None,
            week_start: Weekday::Mon,
            months: Vec::new(),
            weeks: Vec::new(),
            year_days: Vec::new(),
            month_days: Vec::new(),
            weekdays: Vec::new(),
            hours: Vec::new(),
            minutes: Vec::new(),
            seconds: Vec::new(),
            positions: Vec::new(),
        }
    }

    /// Checks that the parts may be combined (RFC 5545, section 3.3.10), and that occurrences are at least an hour
    /// apart.
    ///
    /// # Errors
    /// The first violation.
    pub(super) fn check(&self) -> Result<()> {
        use Frequency::{Daily, Hourly, Minutely, Monthly, Secondly, Weekly, Yearly};
        let frequency = self.frequency;
        let numbered = self.weekdays.iter().any(|day| day.nth.is_some());
        let others = [&self.months, &self.weeks, &self.year_days, &self.month_days, &self.hours, &self.minutes];
        let other =
            others.iter().any(|list| !list.is_empty()) || !(self.weekdays.is_empty() && self.seconds.is_empty());
        let refused = [
            (self.until.is_some() && self.count.is_some(), "must not have both UNTIL and COUNT"),
            (numbered && frequency > Monthly, "must not have a number in BYDAY except with MONTHLY and YEARLY"),
            (numbered && !self.weeks.is_empty(), "must not have a number in BYDAY with BYWEEKNO"),
            (!self.month_days.is_empty() && frequency == Weekly, "must not have BYMONTHDAY with WEEKLY"),
            (
                !self.year_days.is_empty() && matches!(frequency, Monthly | Weekly | Daily),
                "must not have BYYEARDAY with MONTHLY, WEEKLY or DAILY",
            ),
            (!self.weeks.is_empty() && frequency != Yearly, "must not have BYWEEKNO except with YEARLY"),
            (!self.positions.is_empty() && !other, "must not have BYSETPOS without another BY… part"),
            (
                match frequency {
                    Secondly => self.interval < 3_600,
                    Minutely => self.interval < 60 || self.seconds.len() > 1,
                    Yearly | Monthly | Weekly | Daily | Hourly => self.minutes.len() > 1 || self.seconds.len() > 1,
                },
                "must have times at least an hour apart",
            ),
        ];
        match refused.into_iter().find(|(map_constraint, _)| *map_constraint) {
            Some((_, reason)) => Err(reason.to_owned()),
            None => Ok(()),
        }
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self> {
        let time = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").map(|time| Self::Instant(time.and_utc()));
        let day = || NaiveDate::parse_from_str(text, "%Y%m%d").map(Self::Day);
        // The parser would accept signs and fewer digits.
        let is_complete =
            (text.len() == 8 || text.len() == 16) && text.as_bytes().iter().all(u8::is_ascii_alphanumeric);
        time.or_else(|_| day())
            .ok()
            .filter(|_| is_complete)
            .ok_or_else(|| "must have a date (20301231) or a time in UTC (20301231T170000Z) as UNTIL".to_owned())
    }
}

fn one_of<T: Copy>(known: &[(&str, T)], name: &str, value: &str) -> Result<T> {
    let found = known.iter().find(|(known, _)| *known == value).map(|(_, one)| *one);
    found.ok_or_else(|| format!("must be an RRULE (RFC 5545): unknown {name} {}", quoted(value)))
}

fn positive(name: &str, value: &str) -> Result<u32> {
    match value.parse() {
        Ok(0) => Err(format!("must have {name} of at least 1")),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("must be an RRULE (RFC 5545): {name} must be a number, not {}", quoted(value))),
    }
}

/// A list of numbers in a range, also negative if `signed`.
fn numbers(name: &str, value: &str, min: i32, max: i32, signed: bool) -> Result<Vec<i32>> {
    let number = |text: &str| {
        let number: i32 = text.parse().ok()?;
        let size = if signed { number.abs() } else { number };
        (text.len() <= 4 && (min..=max).contains(&size)).then_some(number)
    };
    let numbers: Option<Vec<i32>> = value.split(',').map(number).collect();
    numbers.map(sorted).ok_or_else(|| {
        let sign = if signed { ", or as many from the end with a minus" } else { "" };
        format!("must be an RRULE (RFC 5545): {name} takes numbers from {min} to {max}{sign}")
    })
}

fn weekdays(value: &str) -> Result<Vec<DayOfWeek>> {
    let mut days = Vec::new();
    for text in value.split(',') {
        let (number, name) = text.split_at(text.len().saturating_sub(2));
        let weekday = one_of(&WEEKDAYS, "BYDAY", name)?;
        let nth = if number.is_empty() { None } else { numbers("BYDAY", number, 1, 53, true)?.first().copied() };
        let day = DayOfWeek { nth, weekday };
        if !days.contains(&day) {
            days.push(day);
        }
    }
    Ok(days)
}

fn sorted(mut numbers: Vec<i32>) -> Vec<i32> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The beginning of a text, for an error.
fn quoted(text: &str) -> String {
    format!("“{}”", text.chars().take(20).collect::<String>())
}
