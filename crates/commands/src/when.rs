//! Points in time in English: "tomorrow at 5", "end of next month", "in 3 working days".
//!
//! An expression is read from its first word on, part by part: a day, a time, a part of the day, in any order ("3pm on
//! Friday", "Friday at 3"). Only all parts together are a point in time, as each may decide what another one means: "at
//! 8" is in the morning, "tonight at 8" in the evening. Nothing is allocated.

use chrono::{
    DateTime, Datelike, Days, FixedOffset, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone,
    Utc, Weekday,
};
use chrono_tz::Tz;

/// An expression of a point in time at the beginning of some words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// How many words it takes.
    pub words: usize,
    /// What it means.
    pub meaning: Meaning,
}

/// What an expression of a point in time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A point in time, after now.
    At(DateTime<Tz>),
    /// It has two readings, does not exist, or is past: it has to be asked back.
    Unclear,
}

/// The longest expression that begins with the first of the words.
///
/// They are in lower case, without punctuation at their ends: "24.12", "3/4", "5pm", "p.m". Prepositions that name a
/// limit ("by", "on", "before") are left to the caller.
pub fn parse(words: &[&str], now: &DateTime<Tz>) -> Option<Match> {
    let reader = Reader { words, now, today: now.date_naive() };
    let (mut end, parts) = reader.expression(0)?;
    let mut meaning = parts.meaning(now);
    end = reader.phrase(end, "at the latest").unwrap_or(end);
    // Of "Friday or Monday" neither is meant yet.
    while reader.is(end, &["or"])
        && let Some((next, _)) = reader.expression(end + 1)
    {
        (end, meaning) = (next, Meaning::Unclear);
    }
    Some(Match { words: end, meaning })
}

/// A date that the words begin with, in figures or with its month's name, whether it is to come or not: year if it says one, month,
/// day, and how many words it takes.
pub fn date(words: &[&str]) -> Option<(Option<i32>, u32, u32, usize)> {
    let first = *words.first()?;
    if let [y, m, d] = first.split('-').collect::<Vec<_>>()[..] {
        return Some((Some(year(y)?), number(m)?, number(d)?, 1));
    }
    let dotted: Vec<&str> = first.trim_end_matches('.').split('.').collect();
    match dotted[..] {
        [d, m] => return Some((None, number(m)?, number(d)?, 1)),
        [d, m, y] => return Some((Some(year(y)?), number(m)?, number(d)?, 1)),
        _ => {}
    }
    let skip = usize::from(first == "the");
    let at = |position: usize| words.get(skip + position).copied().unwrap_or_default();
    let (m, d, mut used) = match (day_number(at(0)).or_else(|| ordinal(at(0))), month(at(0))) {
        (Some(d), _) => {
            let of = usize::from(at(1) == "of");
            (month(at(1 + of))?, d, 2 + of)
        }
        (None, Some(m)) => (m, day_number(at(1)).or_else(|| ordinal(at(1)))?, 2),
        (None, None) => return None,
    };
    let y = year(at(used));
    used += usize::from(y.is_some());
    (1..=31).contains(&d).then_some((y, m, d, skip + used))
}

/// The time of a day without a time, in minutes.
const CLOSE: u32 = 17 * 60;
const NOON: u32 = 12 * 60;
/// The end of the day.
const MIDNIGHT: u32 = 24 * 60;
/// What "today" means after the close.
const LAST_MINUTE: u32 = MIDNIGHT - 1;
/// The last year of RFC 3339.
const MAX_YEAR: i32 = 9999;
/// Digits of a number.
const MAX_DIGITS: usize = 5;
/// How often the next day of a kind is looked for: 29 February may be eight years from now.
const MAX_TRIES: u32 = 9;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [(&[&str], Weekday); 7] = [
    (&["monday", "mon"], Weekday::Mon),
    (&["tuesday", "tue", "tues"], Weekday::Tue),
    (&["wednesday", "wed", "weds"], Weekday::Wed),
    (&["thursday", "thu", "thur", "thurs"], Weekday::Thu),
    (&["friday", "fri"], Weekday::Fri),
    (&["saturday", "sat"], Weekday::Sat),
    (&["sunday", "sun"], Weekday::Sun),
];
/// Days that are named by their distance from today.
const NAMED: [(&[&str], i64); 5] = [
    (&["today", "later today"], 0),
    (&["tomorrow", "tmrw", "tmr"], 1),
    (&["the day after tomorrow", "day after tomorrow"], 2),
    (&["yesterday"], -1),
    (&["the day before yesterday", "day before yesterday"], -2),
];
const NUMBERS: [&str; 12] =
    ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
const MORE_NUMBERS: [(&[&str], u32); 8] = [
    (&["fourteen"], 14),
    (&["fifteen"], 15),
    (&["twenty"], 20),
    (&["thirty"], 30),
    (&["forty"], 40),
    (&["forty-five"], 45),
    (&["sixty"], 60),
    (&["ninety"], 90),
];
const ORDINALS: [&str; 12] = [
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth",
];
/// Words before a unit: how many, and whether a half is added. Neither is "a few". Longer ones stand first.
const QUANTITIES: [(&[&str], (u32, bool)); 4] = [
    (&["half an", "half a", "a half", "half"], (0, true)),
    (&["a couple of", "a couple", "couple of"], (2, false)),
    (&["a few", "few", "several"], (0, false)),
    (&["a", "an"], (1, false)),
];
const ZERO: Amount = Amount { months: 0, days: 0, working_days: 0, seconds: 0, is_vague: false };
/// Units in the singular.
const UNITS: [(&[&str], Amount); 9] = [
    (&["second", "sec"], Amount { seconds: 1, ..ZERO }),
    (&["minute", "min", "m"], Amount { seconds: 60, ..ZERO }),
    (&["hour", "hr", "h"], Amount { seconds: 3600, ..ZERO }),
    (&["day", "d"], Amount { days: 1, ..ZERO }),
    (&["workday"], Amount { working_days: 1, ..ZERO }),
    (&["week", "wk", "w"], Amount { days: 7, ..ZERO }),
    (&["fortnight"], Amount { days: 14, ..ZERO }),
    (&["month"], Amount { months: 1, ..ZERO }),
    (&["year", "yr", "y"], Amount { months: 12, ..ZERO }),
];
const PERIODS: [(&[&str], Period); 4] = [
    (&["morning"], Period::Morning),
    (&["afternoon"], Period::Afternoon),
    (&["evening"], Period::Evening),
    (&["night"], Period::Night),
];
/// Whether a time is in the second half of the day.
const MERIDIEMS: [(&[&str], bool); 2] = [(&["am", "a.m", "a.m."], false), (&["pm", "p.m", "p.m."], true)];
/// Time zones other than the caller's: a time with one is asked back.
const ZONES: [&str; 12] = ["utc", "gmt", "est", "edt", "cst", "cdt", "mst", "mdt", "pst", "pdt", "cet", "cest"];

/// A length of time. Units are ordered by theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Amount {
    months: u32,
    days: u32,
    working_days: u32,
    /// With seconds it is exact. Without, it ends at the close of a day.
    seconds: u32,
    /// It was not said how long: "a few days", "half a week".
    is_vague: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    Date(NaiveDate),
    /// The next one of these: today only if the time is still to come.
    Weekday(Weekday),
    /// In this month, and on this day.
    Annual(u32, u32),
    Monthly(u32),
    MonthEnd(u32),
    /// It has two readings, or there is no such day.
    Unclear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// Minutes from the beginning of the day.
    Exact(u32),
    /// An hour of 1 to 12 and minutes, in one half of the day or the other.
    Bare(u32, u32),
    /// The end of the working day.
    Close,
    /// In another time zone.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Morning,
    Afternoon,
    Evening,
    Night,
}

/// What was read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    day: Option<Day>,
    /// What is added to the day.
    span: Amount,
    /// Said beside a date.
    weekday: Option<Weekday>,
    clock: Option<Clock>,
    period: Option<Period>,
    /// An instant that needs nothing else.
    point: Option<DateTime<Utc>>,
}

/// A position after the words that were read, and what they say.
type Read = Option<(usize, Parts)>;

impl Amount {
    fn times(self, count: u32, has_half: bool) -> Self {
        let times = |one: u32| one * count + if has_half { one / 2 } else { 0 };
        let is_even = [self.months, self.days, self.working_days, self.seconds].iter().all(|one| one % 2 == 0);
        Self {
            months: times(self.months),
            days: times(self.days),
            working_days: times(self.working_days),
            seconds: times(self.seconds),
            is_vague: if has_half { !is_even } else { count == 0 },
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            months: self.months + other.months,
            days: self.days + other.days,
            working_days: self.working_days + other.working_days,
            seconds: self.seconds + other.seconds,
            is_vague: self.is_vague || other.is_vague,
        }
    }

    /// The date that is this much later. In a shorter month it is the last day.
    fn after(self, date: NaiveDate) -> Option<NaiveDate> {
        let date = date.checked_add_months(Months::new(self.months))?;
        let date = date.checked_add_days(Days::new(self.days.into()))?;
        if self.working_days == 0 {
            return Some(date);
        }
        // A weekend counts as the Friday before it.
        let days = date.weekday().num_days_from_monday().min(4) + self.working_days;
        of_week(date, 0, Weekday::Mon)?.checked_add_days(Days::new((days / 5 * 7 + days % 5).into()))
    }
}

impl Day {
    /// The nth day of this kind, counted from the beginning of the week, month or year.
    fn nth(self, today: NaiveDate, nth: u32) -> Option<NaiveDate> {
        let year = today.year() + i32::try_from(nth).ok()?;
        match self {
            Self::Date(date) => Some(date),
            Self::Weekday(weekday) => of_week(today, i64::from(nth), weekday),
            Self::Annual(month, day) => NaiveDate::from_ymd_opt(year, month, day),
            Self::Monthly(day) => today.with_day(1)?.checked_add_months(Months::new(nth))?.with_day(day),
            Self::MonthEnd(month) => month_end(NaiveDate::from_ymd_opt(year, month, 1)?),
            Self::Unclear => None,
        }
    }
}

impl Parts {
    const EMPTY: Self = Self { day: None, span: ZERO, weekday: None, clock: None, period: None, point: None };

    fn is_empty(&self) -> bool {
        self.day.is_none() && self.clock.is_none() && self.period.is_none()
    }

    /// With the day, or without a clear one.
    fn on(self, day: Option<Day>) -> Self {
        Self { day: Some(day.unwrap_or(Day::Unclear)), ..self }
    }

    fn dated(self, year: Option<i32>, month: u32, day: u32) -> Self {
        self.on(match year {
            Some(year) => NaiveDate::from_ymd_opt(year, month, day).map(Day::Date),
            // A leap year has all days.
            None => NaiveDate::from_ymd_opt(2000, month, day).map(|_| Day::Annual(month, day)),
        })
    }

    fn meaning(&self, now: &DateTime<Tz>) -> Meaning {
        self.resolve(now).filter(|time| time > now && time.year() <= MAX_YEAR).map_or(Meaning::Unclear, Meaning::At)
    }

    fn resolve(&self, now: &DateTime<Tz>) -> Option<DateTime<Tz>> {
        if let Some(point) = self.point {
            return Some(point.with_timezone(&now.timezone()));
        }
        let today = now.date_naive();
        let minutes = self.minutes()?;
        let at = |date: NaiveDate| instant(now.timezone(), date, minutes);
        let is_to_come = |date: &NaiveDate| at(*date).is_some_and(|time| time > *now);
        let date = match self.day {
            None => Some(today).filter(is_to_come).or_else(|| today.succ_opt()),
            Some(Day::Date(date)) => Some(date),
            Some(day) => (0..MAX_TRIES).find_map(|nth| day.nth(today, nth).filter(is_to_come)),
        };
        let date = date.filter(|date| self.weekday.is_none_or(|weekday| date.weekday() == weekday))?;
        let date = self.span.after(date)?;
        // A day is not over when its close is, nor an evening at its beginning.
        let is_open = match (self.clock, self.period) {
            (None, period) => !matches!(period, Some(Period::Morning | Period::Afternoon)),
            (clock, _) => clock == Some(Clock::Close),
        };
        if is_open && date == today && !is_to_come(&date) {
            return instant(now.timezone(), date, LAST_MINUTE);
        }
        at(date)
    }

    /// Minutes from the beginning of the day.
    fn minutes(&self) -> Option<u32> {
        use Period::{Afternoon, Evening, Morning, Night};
        let hour = match (self.clock, self.period) {
            (None | Some(Clock::Close), None) => return Some(CLOSE),
            (None, Some(Morning)) => 9,
            (None, Some(Afternoon)) => 15,
            (None, Some(Evening)) => 18,
            (None, Some(Night)) => 20,
            (Some(Clock::Exact(0)), Some(Evening | Night)) => return Some(MIDNIGHT),
            (Some(Clock::Exact(minutes)), period) => {
                let fits = period.is_none_or(|period| (period == Morning) == (minutes < NOON));
                return fits.then_some(minutes);
            }
            (Some(Clock::Bare(hour, minutes)), period) => {
                let hour = match (period, hour) {
                    (None | Some(Afternoon), 1..=6) | (Some(Evening | Night), 4..=11) => hour + 12,
                    (None, _) | (Some(Morning), 1..=11) | (Some(Afternoon), 12) => hour,
                    (Some(Evening | Night), 12) => 24,
                    _ => return None,
                };
                return Some(hour * 60 + minutes);
            }
            (Some(Clock::Close), Some(_)) | (Some(Clock::Foreign), _) => return None,
        };
        Some(hour * 60)
    }
}

/// Reads parts at positions of the words.
struct Reader<'a> {
    words: &'a [&'a str],
    now: &'a DateTime<Tz>,
    today: NaiveDate,
}

impl<'a> Reader<'a> {
    /// The word, or nothing after the last one.
    fn word(&self, at: usize) -> &'a str {
        self.words.get(at).copied().unwrap_or_default()
    }

    fn is(&self, at: usize, words: &[&str]) -> bool {
        words.contains(&self.word(at))
    }

    /// The position after one of the words, if one is there.
    fn skip(&self, at: usize, words: &[&str]) -> usize {
        at + usize::from(self.is(at, words))
    }

    /// The position after the phrase.
    fn phrase(&self, at: usize, phrase: &str) -> Option<usize> {
        phrase.split(' ').try_fold(at, |at, word| (self.word(at) == word).then_some(at + 1))
    }

    /// The position after the longest phrase, and its value. Longer phrases stand first.
    fn one_of<T: Copy>(&self, at: usize, table: &[(&[&str], T)]) -> Option<(usize, T)> {
        let end = |phrases: &[&str]| phrases.iter().find_map(|phrase| self.phrase(at, phrase));
        table.iter().find_map(|&(phrases, value)| Some((end(phrases)?, value)))
    }

    fn expression(&self, at: usize) -> Read {
        let mut read = self.part(at, Parts::EMPTY)?;
        while let Some(more) = self.part(read.0, read.1) {
            read = more;
        }
        Some(read)
    }

    /// One more part.
    fn part(&self, at: usize, parts: Parts) -> Read {
        if parts.point.is_some() {
            return None;
        }
        let mut longest = self.period(at, parts);
        if parts.clock.is_none() {
            let start = self.skip(at, if parts.is_empty() { &["at"] } else { &["at", "by", "before"] });
            longest = longer(longest, self.clock(start, start > at, parts));
        }
        if parts.day.is_none() {
            let start = if parts.is_empty() { at } else { self.skip(at, &["on", "of"]) };
            longest = longer(longest, self.day(start, parts));
            longest = longer(longest, self.end(start, parts));
            longest = longer(longest, self.span(start, parts));
        }
        longest
    }

    fn period(&self, at: usize, parts: Parts) -> Read {
        let first = self.phrase(at, "first thing").map(|end| (end, Period::Morning));
        // "Night" alone is part of many names.
        let is_alone = |period: &Period| *period != Period::Night || parts.day.is_some();
        let alone = || Some((at + 1, find(&PERIODS, self.word(at)).filter(is_alone)?));
        let (end, period) = first.or_else(|| self.in_the_period(at)).or_else(alone)?;
        // "First thing in the morning" says it twice.
        parts.period.is_none_or(|before| before == period).then_some((end, Parts { period: Some(period), ..parts }))
    }

    fn in_the_period(&self, at: usize) -> Option<(usize, Period)> {
        let night = self.phrase(at, "at night").map(|end| (end, Period::Night));
        night.or_else(|| self.phrase(at, "in the").and_then(|at| Some((at + 1, find(&PERIODS, self.word(at))?))))
    }

    /// A time of day. After "at" (`is_led`) a number is enough.
    fn clock(&self, at: usize, is_led: bool, parts: Parts) -> Read {
        let named = self.skip(at, &["12", "twelve"]);
        let (end, clock) = match self.word(named) {
            "noon" | "midday" => (named + 1, Clock::Exact(NOON)),
            "midnight" => (named + 1, Clock::Exact(MIDNIGHT)),
            _ => match self.close(at) {
                Some(end) => (end, Clock::Close),
                None => self.past_or_to(at).or_else(|| self.hour(at, is_led))?,
            },
        };
        let after_zone = self.skip(end, &ZONES);
        let clock = if after_zone > end { Clock::Foreign } else { clock };
        Some((after_zone, Parts { clock: Some(clock), ..parts }))
    }

    fn close(&self, at: usize) -> Option<usize> {
        let at = self.skip(at, &["the"]);
        if self.is(at, &["eod", "cob", "eob", "cop"]) {
            return Some(at + 1);
        }
        let close = self.phrase(at, "close of");
        let at = close.or_else(|| Some(self.skip(self.phrase(at, "end of")?, &["the"])))?;
        let day = self.skip(at, &["business", "working", "work"]);
        let is_day = close.is_none() && self.is(day, &["day"]);
        if is_day { Some(day + 1) } else { self.is(at, &["business", "play", "workday"]).then_some(at + 1) }
    }

    fn past_or_to(&self, at: usize) -> Option<(usize, Clock)> {
        let at = self.skip(at, &["a"]);
        let minutes = match (self.word(at), self.word(at + 1)) {
            ("half", "past") => 30,
            ("quarter", "past" | "after") => 15,
            ("quarter", "to" | "before") => 45,
            _ => return None,
        };
        match self.hour(at + 2, true)? {
            // "A quarter to one" is 12:45.
            (end, Clock::Bare(hour, 0)) if minutes == 45 => Some((end, Clock::Bare((hour + 10) % 12 + 1, minutes))),
            (end, Clock::Bare(hour, 0)) => Some((end, Clock::Bare(hour, minutes))),
            (end, Clock::Exact(exact)) if exact % 60 == 0 => {
                let exact = if minutes == 45 { exact + MIDNIGHT - 60 } else { exact };
                Some((end, Clock::Exact((exact + minutes) % MIDNIGHT)))
            }
            _ => None,
        }
    }

    fn hour(&self, at: usize, is_led: bool) -> Option<(usize, Clock)> {
        let (word, end) = (self.word(at), at + 1);
        let suffix = |(texts, is_pm): &(&[&str], bool)| {
            texts.iter().find_map(|text| word.strip_suffix(text)).map(|text| (text, *is_pm))
        };
        let glued = MERIDIEMS.iter().find_map(suffix);
        let text = glued.map_or(word, |(text, _)| text);
        let spoken = number_word(text).filter(|&hour| hour <= 12);
        let (hour, minutes, separator) = spoken.map(|hour| (hour, None, ' ')).or_else(|| hour_and_minutes(text))?;
        let after = find(&MERIDIEMS, self.word(end)).filter(|_| glued.is_none());
        if let Some(is_pm) = glued.map(|(_, is_pm)| is_pm).or(after) {
            let hour = match hour {
                1..=12 => hour % 12 + 12 * u32::from(is_pm),
                13..=23 if is_pm => hour,
                _ => return None,
            };
            let minutes = hour * 60 + minutes.unwrap_or_default();
            return Some((end + usize::from(after.is_some()), Clock::Exact(minutes)));
        }
        // "At five thirty".
        let more = number_word(self.word(end)).filter(|more| is_led && spoken.is_some() && [15, 30, 45].contains(more));
        let (end, minutes) = match (minutes, separator) {
            (Some(minutes), ':') => (end, minutes),
            // "2h" is more often an effort, "2.30" a price.
            (Some(minutes), 'h') if is_led || text.find('h') == Some(2) => (end, minutes),
            (Some(minutes), '.') if is_led => (end, minutes),
            (None, _) if self.is(end, &["o'clock", "o’clock", "oclock"]) => (end + 1, 0),
            (None, _) if let Some(minutes) = more => (end + 1, minutes),
            (None, _) if hour > 0 && is_led && self.unit(end).is_none() && !self.is(end, &["percent"]) => (end, 0),
            (None, _) if self.in_the_period(end).is_some() => (end, 0),
            _ => return None,
        };
        if separator == 'h' || text.starts_with('0') || hour > 12 {
            return Some((end, Clock::Exact(hour * 60 + minutes))).filter(|_| hour * 60 + minutes <= MIDNIGHT);
        }
        Some((end, Clock::Bare(hour, minutes)))
    }

    /// A day that is named by itself, without counting from it.
    fn day(&self, at: usize, parts: Parts) -> Read {
        longer(longer(self.named(at, parts), self.weekday(at, parts)), self.date(at, parts))
    }

    fn named(&self, at: usize, parts: Parts) -> Read {
        if let Some((end, days)) = self.one_of(at, &NAMED) {
            let date = self.today.checked_add_signed(TimeDelta::days(days));
            return Some((end, parts.on(date.map(Day::Date))));
        }
        let start = self.skip(at, &["later"]);
        let (end, period) = match self.word(start) {
            "tonight" => (start + 1, Period::Night),
            "this" => (start + 2, find(&PERIODS, self.word(start + 1))?),
            _ => return None,
        };
        let today = parts.on(Some(Day::Date(self.today)));
        parts.period.is_none().then_some((end, Parts { period: Some(period), ..today }))
    }

    fn weekday(&self, at: usize, parts: Parts) -> Read {
        let start = self.skip(at, &["the"]);
        let (name, mut week) = if let Some((end, week)) = self.week(start) {
            (self.skip(end, &["on"]), Some(week))
        } else if self.is(start, &["next"]) {
            (start + 1, Some(1))
        } else if self.is(start, &["last"]) {
            (start + 1, Some(-1))
        } else {
            (self.skip(self.skip(start, &["this"]), &["coming", "upcoming"]), None)
        };
        let weekday = find(&WEEKDAYS, self.word(name))?;
        let mut end = name + 1;
        if week.is_none() {
            if let Some((after, said)) = self.week(self.skip(end, &["of"])) {
                (end, week) = (after, Some(said));
            } else if start > at && name == start {
                // "The Friday" is one that was spoken of.
                return None;
            } else if let Some((end, dated)) = self.date(end, parts) {
                return Some((end, Parts { weekday: Some(weekday), ..dated }));
            }
        }
        if let Some(week) = week {
            return Some((end, parts.on(of_week(self.today, week, weekday).map(Day::Date))));
        }
        let parts = parts.on(Some(Day::Weekday(weekday)));
        // "Friday week" is a week later than Friday.
        if self.is(end, &["week"]) {
            return Some((end + 1, Parts { span: Amount { days: 7, ..ZERO }, ..parts }));
        }
        Some((end, parts))
    }

    /// This week or the next.
    fn week(&self, at: usize) -> Option<(usize, i64)> {
        (self.phrase(at, "this week").map(|end| (end, 0))).or_else(|| Some((self.phrase(at, "next week")?, 1)))
    }

    fn date(&self, at: usize, parts: Parts) -> Read {
        let word = self.word(at);
        if word.starts_with(|first: char| first.is_ascii_digit())
            && let Some(dated) = numeric(word, parts).or_else(|| timestamp(word, parts))
        {
            return Some((at + 1, dated));
        }
        if let Some(month) = month(word) {
            let at = self.skip(at + 1, &["the"]);
            // In "march 3 pm" the number belongs to the time.
            let number = || day_number(self.word(at)).filter(|_| find(&MERIDIEMS, self.word(at + 1)).is_none());
            let day = ordinal(self.word(at)).or_else(|| nth(&ORDINALS, self.word(at))).or_else(number)?;
            let (end, year) = self.year(at + 1);
            return Some((end, parts.dated(year, month, day)));
        }
        let start = self.skip(at, &["the"]);
        let (word, end) = (self.word(start), start + 1);
        let of = self.skip(end, &["of"]);
        let ordinal = ordinal(word);
        let day = ordinal.or_else(|| nth(&ORDINALS, word));
        if let Some(month) = month(self.word(of)) {
            let (end, year) = self.year(of + 1);
            return Some((end, parts.dated(year, month, day.or_else(|| day_number(word))?)));
        }
        let in_month = |months: u32| {
            let month = self.today.with_day(1).and_then(|first| first.checked_add_months(Months::new(months)));
            month.and_then(|month| month.with_day(day?)).map(Day::Date)
        };
        match (self.word(of), self.word(of + 1)) {
            ("this", "month") => day.map(|_| (of + 2, parts.on(in_month(0)))),
            ("next", "month") => day.map(|_| (of + 2, parts.on(in_month(1)))),
            ("the", "month") if of > end => day.map(|day| (of + 2, parts.on(Some(Day::Monthly(day))))),
            _ => ordinal.map(|day| (end, parts.on(Some(Day::Monthly(day))))),
        }
    }

    fn year(&self, at: usize) -> (usize, Option<i32>) {
        match year(self.word(at)) {
            Some(year) => (at + 1, Some(year)),
            None => (at, None),
        }
    }

    /// The end of a week, month, quarter or year, or of a day.
    fn end(&self, at: usize, parts: Parts) -> Read {
        let start = self.skip(self.skip(at, &["at"]), &["the"]);
        let short = match self.word(start) {
            "eow" => Some("week"),
            "eom" => Some("month"),
            "eoq" => Some("quarter"),
            "eoy" => Some("year"),
            _ => None,
        };
        if let Some(unit) = short {
            return Some((start + 1, parts.on(self.last_day(unit, false))));
        }
        if let Some(of) = self.phrase(start, "last day of") {
            return self.end_of(of, parts).filter(|_| !self.is(of, &["week"]) && !self.is(of + 1, &["week"]));
        }
        if let Some(of) = self.phrase(start, "end of") {
            let unit = self.end_of(of, parts);
            // Of a day it is the close.
            let day = self.day(of, parts).or_else(|| self.span(of, parts));
            let day = day.filter(|(_, day)| day.clock.is_none() && day.period.is_none());
            return longer(unit, day.map(|(end, day)| (end, Parts { clock: Some(Clock::Close), ..day })));
        }
        // "Month end", "month-end", "month's end"; the week end is another thing.
        let unit = self.skip(start, &["this", "next"]);
        let word = self.word(unit);
        let (word, end) = match word.strip_suffix("-end") {
            Some(word) => (word, unit + 1),
            None => (word.trim_end_matches(['s', '\'', '’']), self.phrase(unit + 1, "end")?),
        };
        let day = self.last_day(word, self.is(start, &["next"])).filter(|_| word != "week")?;
        Some((end, parts.on(Some(day))))
    }

    /// The last day of what is named.
    fn end_of(&self, at: usize, parts: Parts) -> Read {
        let unit = self.skip(at, &["the", "this", "next"]);
        if let Some(day) = self.last_day(self.word(unit), self.is(at, &["next"])) {
            return Some((unit + 1, parts.on(Some(day))));
        }
        let word = self.word(at);
        if let Some(year) = year(word) {
            return Some((at + 1, parts.dated(Some(year), 12, 31)));
        }
        let month = month(word).or_else(|| quarter(word))?;
        let (end, year) = self.year(at + 1);
        let first = |year: i32| NaiveDate::from_ymd_opt(year, month, 1).and_then(month_end);
        Some((end, parts.on(year.map_or(Some(Day::MonthEnd(month)), |year| first(year).map(Day::Date)))))
    }

    /// The last day of this unit, or of the next one.
    fn last_day(&self, unit: &str, is_next: bool) -> Option<Day> {
        let more = u32::from(is_next);
        let months = match unit {
            "week" if is_next => return of_week(self.today, 1, Weekday::Fri).map(Day::Date),
            "week" => return Some(Day::Weekday(Weekday::Fri)),
            "month" => more,
            "quarter" => 2 - self.today.month0() % 3 + 3 * more,
            "year" => 11 - self.today.month0() + 12 * more,
            _ => return None,
        };
        month_end(self.today.with_day(1)?.checked_add_months(Months::new(months))?).map(Day::Date)
    }

    /// A time that is counted from now or from a day: "in 3 days", "a week from Friday".
    fn span(&self, at: usize, parts: Parts) -> Read {
        let is_in = self.is(at, &["in", "within"]);
        let start = at + usize::from(is_in);
        let after_the = self.skip(start, &["the"]);
        let next = self.is(after_the, &["next"]).then_some(after_the + 1);
        let is_one = |unit: Amount| unit.working_days > 0 || is_in && after_the > start;
        let one = next.and_then(|next| self.unit(next)).filter(|&(_, unit)| is_one(unit));
        let (mut end, amount) = match (one, next) {
            (Some(one), _) => one,
            (None, Some(next)) if is_in => self.amount(next)?,
            _ => self.amount(start)?,
        };
        let mut based = parts.on(Some(Day::Date(self.today)));
        if self.is(end, &["ago"]) {
            return Some((end + 1, parts.on(None)));
        }
        if self.is(end, &["before"])
            && let Some((end, _)) = self.day(end + 1, parts)
        {
            return Some((end, parts.on(None)));
        }
        if let Some(after) = self.phrase(end, "from now") {
            end = after;
        } else if self.is(end, &["from", "after"])
            && amount.seconds == 0
            && let Some((after, day)) = self.day(end + 1, parts)
        {
            (end, based) = (after, day);
        } else if is_in {
            end = self.skip(end, &["time"]);
        } else {
            one?;
        }
        if amount.is_vague {
            return Some((end, parts.on(None)));
        }
        if amount.seconds == 0 {
            return Some((end, Parts { span: amount, ..based }));
        }
        let days = Amount { seconds: 0, ..amount };
        let start = if days == ZERO {
            Some(self.now.to_utc())
        } else {
            let local = days.after(self.today).map(|date| date.and_time(self.now.time()));
            local.and_then(|local| wall_clock(self.now.timezone(), local)).map(|start| start.to_utc())
        };
        let point = start.and_then(|start| start.checked_add_signed(TimeDelta::seconds(amount.seconds.into())));
        let day = if point.is_none() { Some(Day::Unclear) } else { based.day };
        (parts.clock.is_none() && parts.period.is_none()).then_some((end, Parts { day, point, ..based }))
    }

    /// Numbers of units, from the longest to the shortest one: "1 hour and 30 minutes".
    fn amount(&self, at: usize) -> Option<(usize, Amount)> {
        let (mut end, mut unit, mut amount) = self.item(at)?;
        loop {
            let start = self.skip(end, &["and"]);
            let is_digit = self.word(start).starts_with(|first: char| first.is_ascii_digit());
            let item = self.item(start).filter(|_| start > end || is_digit);
            let Some((after, shorter, more)) = item.filter(|(_, shorter, _)| *shorter < unit) else {
                return Some((end, amount));
            };
            (end, unit, amount) = (after, shorter, amount.and(more));
        }
    }

    /// A number of one unit: the position after it, the unit, and the whole.
    fn item(&self, at: usize) -> Option<(usize, Amount, Amount)> {
        if let Some((unit, count)) = glued(self.word(at)) {
            return Some((at + 1, unit, unit.times(count, false)));
        }
        if let Some(end) = self.phrase(self.skip(at, &["a"]), "quarter of an hour") {
            let quarter = Amount { seconds: 15 * 60, ..ZERO };
            return Some((end, quarter, quarter));
        }
        let (end, (count, mut has_half)) = self.quantity(at)?;
        let mut add_half = |end: usize| {
            let after = self.phrase(end, "and a half");
            has_half |= after.is_some();
            after.unwrap_or(end)
        };
        let (end, unit) = self.unit(add_half(end))?;
        let end = add_half(end);
        Some((end, unit, unit.times(count, has_half)))
    }

    /// A number, and whether a half is added.
    fn quantity(&self, at: usize) -> Option<(usize, (u32, bool))> {
        let word = self.word(at);
        if let Some(whole) = word.strip_suffix(".5").and_then(number) {
            return Some((at + 1, (whole, true)));
        }
        let count = number(word).filter(|&count| count > 0).or_else(|| number_word(word));
        count.map(|count| (at + 1, (count, false))).or_else(|| self.one_of(at, &QUANTITIES))
    }

    fn unit(&self, at: usize) -> Option<(usize, Amount)> {
        if self.is(at, &["working", "business", "work"]) && self.is(at + 1, &["day", "days"]) {
            return Some((at + 2, unit("workday")?));
        }
        // "In a week's time".
        let word = self.word(at);
        let genitive =
            word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).filter(|_| self.is(at + 1, &["time"]));
        Some((at + 1, unit(genitive.unwrap_or(word))?))
    }
}

/// The read that takes more words; the first one if both take the same.
fn longer(a: Read, b: Read) -> Read {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 > a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}

fn find<T: Copy>(table: &[(&[&str], T)], word: &str) -> Option<T> {
    table.iter().find(|(names, _)| names.contains(&word)).map(|&(_, value)| value)
}

/// The position of the word in the table, from one on.
fn nth(table: &[&str], word: &str) -> Option<u32> {
    table.iter().position(|name| *name == word).and_then(|index| u32::try_from(index + 1).ok())
}

fn number(text: &str) -> Option<u32> {
    let is_number = text.len() <= MAX_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

fn number_word(word: &str) -> Option<u32> {
    nth(&NUMBERS, word).or_else(|| find(&MORE_NUMBERS, word))
}

fn ordinal(word: &str) -> Option<u32> {
    let day = ["st", "nd", "rd", "th"].iter().find_map(|suffix| word.strip_suffix(suffix))?;
    number(day).filter(|day| (1..=31).contains(day))
}

/// A number that stands beside a month.
fn day_number(word: &str) -> Option<u32> {
    number(word).filter(|_| word.len() <= 2)
}

fn year(word: &str) -> Option<i32> {
    let year = number(word).filter(|year| (1900..2200).contains(year))?;
    i32::try_from(year).ok()
}

fn month(word: &str) -> Option<u32> {
    let index = MONTHS.iter().position(|&name| name == word || name.get(..3) == Some(word));
    let index = index.or_else(|| (word == "sept").then_some(8))?;
    u32::try_from(index + 1).ok()
}

/// The last month of a quarter.
fn quarter(word: &str) -> Option<u32> {
    let quarter = word.strip_prefix('q').and_then(number)?;
    (1..=4).contains(&quarter).then_some(quarter * 3)
}

/// A unit, also in the plural.
fn unit(word: &str) -> Option<Amount> {
    find(&UNITS, word).or_else(|| find(&UNITS, word.strip_suffix('s').filter(|singular| singular.len() > 1)?))
}

/// A number and a unit in one word: "2h".
fn glued(word: &str) -> Option<(Amount, u32)> {
    let (count, name) = word.split_at_checked(word.find(|letter: char| !letter.is_ascii_digit())?)?;
    Some((unit(name)?, number(count).filter(|&count| count > 0)?))
}

/// The hour, the minutes and what is between them: "5", "17:00", "17:00:00", "5.30", "17h", "17h30".
fn hour_and_minutes(text: &str) -> Option<(u32, Option<u32>, char)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (hour, rest) = text.split_at_checked(digits).filter(|_| (1..=2).contains(&digits))?;
    let hour = number(hour).filter(|&hour| hour <= 24)?;
    let mut rest = rest.chars();
    let Some(separator) = rest.next() else { return Some((hour, None, ' ')) };
    let rest = rest.as_str();
    if separator == 'h' && rest.is_empty() {
        return Some((hour, Some(0), separator));
    }
    let (minutes, seconds) = rest.split_at_checked(2).filter(|_| [':', '.', 'h'].contains(&separator))?;
    let is_end = seconds.is_empty() || separator == ':' && (seconds == "h" || seconds.starts_with(':'));
    let minutes = number(minutes).filter(|&minutes| minutes < 60 && is_end)?;
    Some((hour, Some(minutes), separator))
}

/// A date in digits: dotted (the day first), slashed, or beginning with the year.
fn numeric(word: &str, parts: Parts) -> Option<Parts> {
    let separator = word.chars().find(|letter| !letter.is_ascii_digit())?;
    let mut fields = word.trim_end_matches('.').split(separator);
    let (first, second, third) = (fields.next()?, fields.next()?, fields.next());
    if !['-', '.', '/'].contains(&separator) || fields.next().is_some() || word == "24/7" {
        return None;
    }
    if first.len() == 4 {
        return Some(parts.dated(Some(year(first)?), day_number(second)?, day_number(third?)?));
    }
    let (first, second) = (day_number(first)?, day_number(second)?);
    let year = match third {
        None if separator == '-' => return None,
        None => None,
        Some(short) if short.len() == 2 => Some(i32::try_from(2000 + number(short)?).ok()?),
        Some(text) => Some(year(text)?),
    };
    let is_possible = |month: u32, day: u32| (1..=12).contains(&month) && (1..=31).contains(&day);
    match (is_possible(second, first), is_possible(first, second) && separator != '.') {
        (true, true) if first != second => Some(parts.on(None)),
        (true, _) => Some(parts.dated(year, second, first)),
        (false, true) => Some(parts.dated(year, first, second)),
        // "2.50" is a price, "50/50" a share.
        (false, false) => {
            let is_date =
                year.is_some() || separator == '/' && (13..=31).contains(&first.min(second)) && first.max(second) <= 31;
            is_date.then(|| parts.on(None))
        }
    }
}

/// An ISO date and time: "2026-12-24t15:00", with or without an offset.
fn timestamp(word: &str, parts: Parts) -> Option<Parts> {
    let (date, time) = word.split_once('t').filter(|_| parts.clock.is_none())?;
    let dated = numeric(date, parts)?;
    let (time, offset) = match (time.strip_suffix('z'), time.find(['+', '-'])) {
        (Some(time), _) => (time, Some(FixedOffset::east_opt(0)?)),
        (None, Some(index)) => {
            let (time, offset) = time.split_at_checked(index)?;
            (time, Some(offset.parse().ok()?))
        }
        (None, None) => (time, None),
    };
    let (hour, minutes, _) = hour_and_minutes(time)?;
    let minutes = hour * 60 + minutes?;
    let timed = Parts { clock: Some(Clock::Exact(minutes)), ..dated };
    match (offset, dated.day) {
        (Some(offset), Some(Day::Date(date))) => {
            let point = local(date, minutes)?.checked_sub_offset(offset)?.and_utc();
            Some(Parts { point: Some(point), ..timed })
        }
        _ => Some(timed),
    }
}

/// The day of the week that is so many weeks after this one. Weeks begin on Monday.
fn of_week(date: NaiveDate, weeks: i64, weekday: Weekday) -> Option<NaiveDate> {
    let days = i64::from(weekday.num_days_from_monday()) - i64::from(date.weekday().num_days_from_monday());
    date.checked_add_signed(TimeDelta::days(days + 7 * weeks))
}

fn month_end(first: NaiveDate) -> Option<NaiveDate> {
    first.checked_add_months(Months::new(1))?.pred_opt()
}

fn local(date: NaiveDate, minutes: u32) -> Option<NaiveDateTime> {
    date.and_time(NaiveTime::MIN).checked_add_signed(TimeDelta::minutes(minutes.into()))
}

fn instant(zone: Tz, date: NaiveDate, minutes: u32) -> Option<DateTime<Tz>> {
    wall_clock(zone, local(date, minutes)?)
}

/// The instant of a wall-clock time: the first if it occurs twice, with the offset before the gap if it is skipped.
fn wall_clock(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Tz>> {
    if local.year() > MAX_YEAR {
        return None;
    }
    zone.from_local_datetime(&local).earliest().or_else(|| {
        // No zone has skipped more than a day.
        let before = zone.offset_from_utc_datetime(&local.checked_sub_days(Days::new(1))?).fix();
        Some(local.checked_sub_offset(before)?.and_utc().with_timezone(&zone))
    })
}

#[cfg(test)]
mod tests;
