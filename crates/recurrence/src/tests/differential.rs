//! Compares occurrences of random rules with python-dateutil, in time zones whose clocks change.
//!
//! Where dateutil departs from RFC 5545, [`DEPARTURES`] has an example, and `dateutil_times.py` rewrites the rule into
//! a form that dateutil expands correctly, so no rule is left out.

use std::{
    env,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use chrono::{NaiveDate, NaiveTime};
use chrono_tz::IANA_TZDB_VERSION;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use super::{
    super::{rule::Frequency, *},
    London, rule,
    strategies::{ZONES, any_rule, any_zone},
};

/// Number of compared rules.
const RULES: usize = 10_000;
/// Compared occurrences per rule.
const MAX_TIMES: usize = 8;

/// A rule with its start.
#[derive(Debug, Clone)]
struct Case {
    rule: String,
    start: NaiveDateTime,
    zone: Tz,
}

impl Case {
    /// The last compared year: later for longer periods.
    fn last_year(&self) -> i32 {
        let rule: Rule = self.rule.parse().unwrap();
        let years = match rule.frequency {
            Frequency::Yearly => 12,
            Frequency::Monthly => 5,
            Frequency::Weekly | Frequency::Daily => 2,
            Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => 1,
        };
        self.start.year() + years
    }

    /// The occurrences as the scheduler computes them, one by one.
    fn times(&self) -> Vec<i64> {
        let recurrence = rule(&self.rule, self.zone);
        let end = NaiveDate::from_ymd_opt(self.last_year(), 12, 31).unwrap().and_hms_opt(23, 59, 59).unwrap();
        let mut times = Vec::new();
        let mut after = recurrence.to_instant(self.start);
        while times.len() < MAX_TIMES
            && let Some(next) = recurrence.first(self.start, after, end, &[])
        {
            times.push(next.at.timestamp());
            after = next.at;
        }
        times
    }

    fn json(&self, corrected: bool) -> Value {
        json!({
            "rule": self.rule,
            "start": self.start.format("%FT%T").to_string(),
            "zone": self.zone.name(),
            "last_year": self.last_year(),
            "most": MAX_TIMES,
            "corrected": corrected,
        })
    }
}

/// A Python with dateutil and the same time zone data: the first on the PATH, to which `scripts/env.sh` adds the one of
/// `scripts/setup`.
fn python() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let import = "import dateutil.rrule, sys, tzdata; sys.exit(tzdata.IANA_VERSION != sys.argv[1])";
    let has_dateutil = |python: &PathBuf| {
        let tried = Command::new(python).args(["-c", import, IANA_TZDB_VERSION]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let pythons = env::split_paths(&path).map(|folder| folder.join("python3")).filter(|python| python.exists());
    pythons.into_iter().find(has_dateutil).unwrap_or_else(|| {
        panic!("no python-dateutil with tzdata {IANA_TZDB_VERSION}: run scripts/setup --tests, and this by ./test")
    })
}

fn dateutil(cases: &[Case], corrected: bool) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dateutil_times.py");
    let mut python = Command::new(python());
    let mut oracle = python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let cases: Vec<Value> = cases.iter().map(|case| case.json(corrected)).collect();
    oracle.stdin.take().unwrap().write_all(Value::from(cases).to_string().as_bytes()).unwrap();
    let output = oracle.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The days on which a zone's clocks change.
fn changes(zone: Tz) -> Vec<NaiveDate> {
    let first = NaiveDate::from_ymd_opt(1996, 1, 1).unwrap();
    let offset = |day: NaiveDate| zone.offset_from_utc_datetime(&day.and_time(NaiveTime::MIN)).fix();
    let last = NaiveDate::from_ymd_opt(2037, 1, 1).unwrap();
    first
        .iter_days()
        .take_while(|day| *day < last)
        .filter(|day| offset(*day) != offset(*day + TimeDelta::days(1)))
        .collect()
}

/// Half of the cases start a few days before a clock change, at the hour of the change.
fn random_cases(seed: u64) -> Vec<Case> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let changes: Vec<(Tz, Vec<NaiveDate>)> = ZONES.iter().map(|zone| (*zone, changes(*zone))).collect();
    let start =
        (any_zone(), any::<bool>(), any::<prop::sample::Index>(), 0i64..9, prop_oneof![0u32..4, 0u32..24], 0u32..60);
    let strategy = (any_rule(), start);
    let case = || {
        let (rule, (zone, near, index, before, hour, minute)) = strategy.new_tree(&mut runner).unwrap().current();
        let days = &changes.iter().find(|(known, _)| *known == zone).unwrap().1;
        let day = match days.as_slice() {
            days @ [_, ..] if near => *index.get(days) - TimeDelta::days(before),
            _ => NaiveDate::from_yo_opt(1996, 1).unwrap() + TimeDelta::days(index.index(41 * 365) as i64),
        };
        Case { rule, start: day.and_hms_opt(hour, minute, 0).unwrap(), zone }
    };
    std::iter::repeat_with(case).take(RULES).collect()
}

/// BATON_TEST_SEED selects other rules.
#[test]
fn occurrences_agree_with_dateutil() {
    let seed = env::var("BATON_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5_545);
    let cases = random_cases(seed);
    let (ours, expected) = thread::scope(|scope| {
        let expected = scope.spawn(|| dateutil(&cases, true));
        (cases.iter().map(Case::times).collect::<Vec<_>>(), expected.join().unwrap())
    });
    let mut different = Vec::new();
    let mut with_times = 0;
    for ((case, times), expected) in cases.iter().zip(ours).zip(&expected) {
        with_times += usize::from(!times.is_empty());
        let times = Value::from(times);
        if times != *expected {
            different.push(format!("{case:?}\n    ours {times}\n    dateutil {expected}"));
        }
    }
    eprintln!("seed {seed}: {with_times} of {RULES} rules have times");
    let some: Vec<_> = different.iter().take(10).map(String::as_str).collect();
    assert!(different.is_empty(), "seed {seed}: {} rules differ:\n{}", different.len(), some.join("\n"));
    assert!(with_times > RULES / 2, "{with_times} rules have times");
}

/// Where dateutil departs from RFC 5545: the section, the reason, and a rule with its start in London and its first
/// occurrences.
const DEPARTURES: &[(&str, &str, &str, &str, &[&str])] = &[
    (
        "3.3.10",
        "what a rule does not say is as in DTSTART: BYWEEKNO alone means DTSTART's day of the week, not all seven",
        "FREQ=YEARLY;BYWEEKNO=20",
        "2026-01-06T09:00:00",
        &["2026-05-12 08:00", "2027-05-18 08:00"],
    ),
    (
        "3.3.10",
        "BYDAY is a list: values with a number and without add up",
        "FREQ=MONTHLY;BYDAY=MO,1TU",
        "2026-01-05T12:00:00",
        &["2026-01-06 12:00", "2026-01-12 12:00"],
    ),
    (
        "3.3.10",
        "numbers of BYDAY go to 53, and a month has no sixth Monday; dateutil fails",
        "FREQ=MONTHLY;BYDAY=53MO,2TU",
        "2026-12-01T12:00:00",
        &["2026-12-08 12:00", "2027-01-12 12:00"],
    ),
    (
        "3.3.10",
        "BYSETPOS counts in the whole period, and the first week begins before DTSTART",
        "FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=2",
        "2026-01-06T12:00:00",
        &["2026-01-07 12:00", "2026-01-14 12:00"],
    ),
    (
        "3.3.10",
        "the first day of 2022 is in week 52 of 2021; dateutil takes the length of 2022 for it, and says 53",
        "FREQ=YEARLY;BYWEEKNO=53;BYDAY=SA",
        "2015-06-01T12:00:00",
        &["2016-01-02 12:00", "2021-01-02 12:00", "2027-01-02 12:00"],
    ),
    (
        "3.3.10",
        "the first of 53 weeks is also the last but 52, in the days of the year before as well",
        "FREQ=YEARLY;BYWEEKNO=-53;BYDAY=MO",
        "2015-06-01T12:00:00",
        &["2019-12-30 12:00", "2025-12-29 12:00"],
    ),
    (
        "3.3.12",
        "without leap seconds, second 60 is second 59; dateutil fails",
        "FREQ=DAILY;BYSECOND=60",
        "2026-01-06T09:00:00",
        &["2026-01-06 09:00", "2026-01-07 09:00"],
    ),
];

#[test]
fn dateutil_departures_are_as_listed() {
    let case = |rule: &str, start: &str| Case { rule: rule.to_owned(), start: start.parse().unwrap(), zone: London };
    let cases: Vec<Case> = DEPARTURES.iter().map(|(_, _, rule, start, _)| case(rule, start)).collect();
    let (plain, corrected) = (dateutil(&cases, false), dateutil(&cases, true));
    for ((case, (section, reason, .., expected)), (plain, corrected)) in
        cases.iter().zip(DEPARTURES).zip(plain.iter().zip(&corrected))
    {
        let times = case.times();
        let formatted = |at: &i64| DateTime::from_timestamp(*at, 0).unwrap().format("%F %R").to_string();
        let first: Vec<String> = times.iter().take(expected.len()).map(formatted).collect();
        assert_eq!(first, *expected, "RFC 5545, {section}: {reason}");
        assert_eq!(*corrected, Value::from(times), "RFC 5545, {section}: {reason}");
        assert_ne!(plain, corrected, "dateutil does as the RFC says now: {reason}");
    }
}
