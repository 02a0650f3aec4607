use chrono::{Timelike, Weekday};
use chrono_tz::{
    America::New_York,
    Australia::Lord_Howe,
    Europe::{Berlin, London},
    Pacific::Apia,
};
use proptest::prelude::*;

use self::strategies::{any_part, any_rule, any_start, any_zone, written};
use super::*;

mod differential;
mod strategies;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn rule(text: &str, zone: Tz) -> Recurrence {
    Recurrence::parse(text, zone, "rule").unwrap()
}

/// The first `many` occurrences after a task due at `due_at`, each computed from the previous one.
fn times(recurrence: &Recurrence, due_at: &str, many: usize) -> Vec<DateTime<Utc>> {
    let start = recurrence.local(utc(due_at));
    let mut last = start;
    let mut times = Vec::new();
    while times.len() < many {
        let Some(next) = recurrence.next(start, last, DateTime::<Utc>::MIN_UTC, &[]) else { break };
        times.push(next.at);
        last = next.local;
    }
    times
}

fn formatted(recurrence: &Recurrence, due_at: &str, many: usize) -> Vec<String> {
    times(recurrence, due_at, many).iter().map(|at| at.format("%F %R").to_string()).collect()
}

fn refused(text: &str) -> String {
    let recurrence = Recurrence::parse(&normalize(text), Berlin, "rule");
    let due_at = utc("2026-03-01T08:00:00Z");
    let error = recurrence.and_then(|recurrence| recurrence.check(due_at, due_at, "rule")).unwrap_err();
    let details = tonic_types::StatusExt::get_details_bad_request(&tonic::Status::from(error)).unwrap();
    details.field_violations[0].description.clone()
}

#[test]
fn wall_clock_time_survives_clock_changes() {
    // Berlin: CET until 29 March 2026, 02:00, then CEST; back on 25 October.
    let daily = rule("FREQ=DAILY", Berlin);
    assert_eq!(
        formatted(&daily, "2026-03-27T08:00:00Z", 3),
        ["2026-03-28 08:00", "2026-03-29 07:00", "2026-03-30 07:00"]
    );
    assert_eq!(
        formatted(&daily, "2026-10-23T07:00:00Z", 3),
        ["2026-10-24 07:00", "2026-10-25 08:00", "2026-10-26 08:00"]
    );
}

#[test]
fn gaps_use_the_offset_before_and_overlaps_the_first_time() {
    // 02:30 does not exist on 29 March in Berlin, and exists twice on 25 October.
    let daily = rule("FREQ=DAILY", Berlin);
    assert_eq!(
        formatted(&daily, "2026-03-28T01:30:00Z", 2),
        ["2026-03-29 01:30", "2026-03-30 00:30"],
        "03:30 on the day of the change, and 02:30 again on the next"
    );
    assert_eq!(formatted(&daily, "2026-10-24T00:30:00Z", 2), ["2026-10-25 00:30", "2026-10-26 01:30"]);
    // Half an hour only, on the southern hemisphere.
    let howe = rule("FREQ=DAILY", Lord_Howe);
    assert_eq!(formatted(&howe, "2026-10-02T15:45:00Z", 2), ["2026-10-03 15:45", "2026-10-04 15:15"]);
    // Samoa skipped 30 December 2011.
    let apia = rule("FREQ=DAILY", Apia);
    assert_eq!(
        formatted(&apia, "2011-12-29T19:00:00Z", 2),
        ["2011-12-30 19:00", "2011-12-31 19:00"],
        "29 December, the day that was not there becomes the 31st, which does not come twice"
    );
}

#[test]
fn skipped_hour_creates_no_second_task() {
    let hourly = rule("FREQ=HOURLY", New_York);
    let times = times(&hourly, "2026-03-08T05:30:00Z", 4);
    assert!(times.is_sorted_by(|a, b| *b - *a >= TimeDelta::hours(1)), "{times:?}");
}

#[test]
fn month_without_the_day_is_omitted() {
    assert_eq!(
        formatted(&rule("FREQ=MONTHLY", London), "2026-01-31T12:00:00Z", 3),
        ["2026-03-31 11:00", "2026-05-31 11:00", "2026-07-31 11:00"]
    );
    assert_eq!(
        formatted(&rule("FREQ=MONTHLY;BYMONTHDAY=-1", London), "2026-01-31T12:00:00Z", 2),
        ["2026-02-28 12:00", "2026-03-31 11:00"]
    );
    assert_eq!(formatted(&rule("FREQ=YEARLY", London), "2024-02-29T12:00:00Z", 1), ["2028-02-29 12:00"]);
}

#[test]
fn rule_ends_by_count_time_or_day() {
    let due = "2026-03-27T08:00:00Z";
    assert_eq!(formatted(&rule("FREQ=DAILY;COUNT=3", Berlin), due, 9).len(), 2, "the first is the task itself");
    let until = rule("FREQ=DAILY;UNTIL=20260329T065959Z", Berlin);
    assert_eq!(formatted(&until, due, 9), ["2026-03-28 08:00"]);
    let until = rule("FREQ=DAILY;UNTIL=20260329T070000Z", Berlin);
    assert_eq!(formatted(&until, due, 9), ["2026-03-28 08:00", "2026-03-29 07:00"]);
    assert_eq!(formatted(&rule("FREQ=DAILY;UNTIL=20260329", Berlin), due, 9), ["2026-03-28 08:00", "2026-03-29 07:00"]);
}

#[test]
fn past_occurrences_are_omitted() {
    let daily = rule("FREQ=WEEKLY;BYDAY=MO,WE", Berlin);
    let start = daily.local(utc("2026-03-02T08:00:00Z"));
    let next = daily.next(start, start, utc("2026-03-18T08:00:00Z"), &[]).unwrap();
    assert_eq!(next.at, utc("2026-03-23T08:00:00Z"), "the one at that very time has come");
    let counted = rule("FREQ=WEEKLY;BYDAY=MO,WE;COUNT=4", Berlin);
    assert_eq!(counted.next(start, start, utc("2026-03-18T08:00:00Z"), &[]), None, "those left out count");
}

#[test]
fn invalid_rules_are_refused_with_a_reason() {
    for (text, expected) in [
        ("every monday", "must be the value of an RRULE"),
        ("RRULE:FREQ=DAILY", "must be the value of an RRULE"),
        ("FREQ=DAILY\nDTSTART:20260101T000000Z", "must be the value of an RRULE"),
        ("", "must be an RRULE"),
        ("INTERVAL=2", "must be an RRULE"),
        ("FREQ=SOMETIMES", "must be an RRULE"),
        ("FREQ=DAILY;COLOR=RED", "must be an RRULE"),
        ("FREQ=WEEKLY;BYMONTHDAY=3", "must not have BYMONTHDAY with WEEKLY"),
        ("FREQ=DAILY;BYHOUR=24", "must be an RRULE"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20300101", "must not have both UNTIL and COUNT"),
        ("FREQ=DAILY;UNTIL=20300101;UNTIL=20310101", "must not have more than one UNTIL"),
        ("FREQ=DAILY;FREQ=DAILY", "must not have more than one FREQ"),
        ("FREQ=DAILY;", "must be an RRULE"),
        ("FREQ=DAILY;BYHOUR=", "must be an RRULE (RFC 5545): BYHOUR takes numbers from 0 to 23"),
        ("FREQ=DAILY;BYMONTH=13", "must be an RRULE (RFC 5545): BYMONTH takes numbers from 1 to 12"),
        ("FREQ=YEARLY;BYYEARDAY=0", "must be an RRULE (RFC 5545): BYYEARDAY takes numbers from 1 to 366, or"),
        ("FREQ=YEARLY;BYYEARDAY=-367", "must be an RRULE (RFC 5545): BYYEARDAY takes numbers from 1 to 366, or"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "must be an RRULE (RFC 5545): BYMONTHDAY takes numbers from 1 to 31, or"),
        ("FREQ=MONTHLY;BYDAY=0MO", "must be an RRULE (RFC 5545): BYDAY takes numbers from 1 to 53, or"),
        ("FREQ=MONTHLY;BYDAY=-54MO", "must be an RRULE (RFC 5545): BYDAY takes numbers from 1 to 53, or"),
        ("FREQ=MONTHLY;BYDAY=6MO", "must have a time in the fifty years"),
        ("FREQ=WEEKLY;WKST=XX", "must be an RRULE (RFC 5545): unknown WKST “XX”"),
        ("FREQ=DAILY;INTERVAL=99999999999", "must be an RRULE (RFC 5545): INTERVAL must be a number"),
        ("FREQ=DAILY;BYYEARDAY=100", "must not have BYYEARDAY with MONTHLY, WEEKLY or DAILY"),
        ("FREQ=MONTHLY;BYWEEKNO=20", "must not have BYWEEKNO except with YEARLY"),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=1MO", "must not have a number in BYDAY with BYWEEKNO"),
        ("FREQ=MONTHLY;BYSETPOS=1", "must not have BYSETPOS without another BY… part"),
        ("FREQ=DAILY;UNTIL=2030-1-1", "must have a date"),
        ("FREQ=DAILY;UNTIL=TOMORROW", "must have a date"),
        ("FREQ=DAILY;UNTIL=20300101T000000", "must have a date"),
        ("FREQ=DAILY;INTERVAL=0", "must have INTERVAL of at least 1"),
        ("FREQ=DAILY;COUNT=0", "must have COUNT of at least 1"),
        ("FREQ=MINUTELY;INTERVAL=59", "must have times at least an hour apart"),
        ("FREQ=MINUTELY;INTERVAL=60;BYSECOND=0,30", "must have times at least an hour apart"),
        ("FREQ=SECONDLY;INTERVAL=3599", "must have times at least an hour apart"),
        ("FREQ=SECONDLY", "must have times at least an hour apart"),
        ("FREQ=DAILY;BYMINUTE=0,1", "must have times at least an hour apart"),
        ("FREQ=WEEKLY;BYDAY=2MO", "must not have a number in BYDAY"),
        ("FREQ=DAILY;COUNT=1", "must have a time in the fifty years"),
        ("FREQ=DAILY;UNTIL=20200101", "must have a time in the fifty years"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "must have a time in the fifty years"),
        ("FREQ=YEARLY;INTERVAL=51", "must have a time in the fifty years"),
        ("FREQ=HOURLY;INTERVAL=2;BYHOUR=8", "must have a time in the fifty years"),
    ] {
        let reason = refused(text);
        assert!(reason.starts_with(expected), "{text}: {reason}");
    }
    let (daily, now) = (rule("FREQ=DAILY", Berlin), utc("2026-03-01T08:00:00Z"));
    assert!(daily.check(now - TimeDelta::days(365), now, "rule").is_ok());
    assert!(daily.check(now - TimeDelta::days(367), now, "rule").is_err());
    assert!(parse_timezone("Europe/Atlantis", "zone").is_err() && parse_timezone("Europe/Berlin", "zone").is_ok());
}

#[test]
fn week_numbers_follow_iso_8601() {
    // 2026 has 53 weeks, and the last one ends in January.
    let last = rule("FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO,SU", London);
    assert_eq!(formatted(&last, "2026-06-01T11:00:00Z", 2), ["2026-12-28 12:00", "2027-01-03 12:00"]);
    let negative = rule("FREQ=YEARLY;BYWEEKNO=-1;BYDAY=MO", London);
    assert_eq!(formatted(&negative, "2026-06-01T11:00:00Z", 2), ["2026-12-28 12:00", "2027-12-27 12:00"]);
}

#[test]
fn weekdays_combine_and_the_rarest_day_is_found() {
    let both = rule("FREQ=MONTHLY;BYDAY=MO,1TU", London);
    assert_eq!(formatted(&both, "2026-01-05T12:00:00Z", 2), ["2026-01-06 12:00", "2026-01-12 12:00"]);
    // Not in 2100, which is no leap year.
    let rarest = rule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", London);
    assert_eq!(formatted(&rarest, "2072-02-29T12:00:00Z", 1), ["2112-02-29 12:00"]);
}

#[test]
fn search_ends_after_the_last_day() {
    // The fiftieth year starts on the last day, and has its occurrence in December.
    let rule = rule("FREQ=YEARLY;BYDAY=-4MO;INTERVAL=2", chrono_tz::UTC);
    let start = rule.local(utc("2000-01-01T00:00:00Z"));
    let times = Occurrences { rule: &rule.rule, start };
    let last = times.between(start.date(), start.date() + MAX_HORIZON).last().unwrap();
    assert_eq!(last.to_string(), "2048-12-07 00:00:00");
}

#[test]
fn old_series_continues_without_delay() {
    let hourly = rule("FREQ=HOURLY;INTERVAL=5", Berlin);
    let start = hourly.local(utc("1976-01-01T00:00:00Z"));
    let next = hourly.next(start, start, utc("2026-03-01T00:00:00Z"), &[]).unwrap();
    assert_eq!((next.local - start).num_hours() % 5, 0);
    assert!(next.at - utc("2026-03-01T00:00:00Z") <= TimeDelta::hours(5));
}

proptest! {
    // Each case expands more than a year.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Over every clock change of the test zones: a daily task has the same wall-clock time each day, or, in a gap, one
    /// that is later by the gap, on that day only.
    #[test]
    fn wall_clock_time_is_stable(zone in any_zone(), start in any_start(), interval in 1u16..4) {
        let daily = rule(&format!("FREQ=DAILY;INTERVAL={interval}"), zone);
        let (mut last, mut before) = (start, daily.to_instant(start));
        for nth in 1..400 {
            let Some(next) = daily.next(last, last, before, &[]) else { break };
            prop_assert!(next.at > before, "time goes on");
            // The expected time is that many days later. A skipped day has none.
            let expected = start + TimeDelta::days(i64::from(interval) * nth);
            let shows = next.at.with_timezone(&zone).naive_local();
            match expected.and_local_timezone(zone) {
                chrono::LocalResult::Single(_) | chrono::LocalResult::Ambiguous(..) if next.local == expected => {
                    prop_assert_eq!(shows, expected);
                }
                _ if next.local == expected => {
                    prop_assert!(shows > expected && shows - expected <= TimeDelta::days(1));
                }
                _ => break,
            }
            (last, before) = (next.local, next.at);
        }
    }

    /// Computing occurrences one by one, as tasks are completed, yields those of the rule from its start.
    #[test]
    fn computing_one_by_one_equals_expanding_the_rule(zone in any_zone(), start in any_start(), days in prop::sample::subsequence(
        vec!["MO", "TU", "WE", "TH", "FR", "SA", "SU"], 1..4), interval in 1u16..4, count in 2u32..20)
    {
        let text = format!("FREQ=WEEKLY;INTERVAL={interval};BYDAY={};COUNT={count}", days.join(","));
        let weekly = rule(&text, zone);
        let times = Occurrences { rule: &weekly.rule, start };
        let all: Vec<_> = times.between(start.date(), start.date() + MAX_HORIZON).collect();
        prop_assert_eq!(all.len() as u32, count);
        let mut last = start;
        let mut one_by_one = Vec::new();
        while let Some(next) = weekly.next(start, last, DateTime::<Utc>::MIN_UTC, &[]) {
            one_by_one.push(next.local);
            last = next.local;
        }
        let weekdays = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
        let named = |day: Weekday| weekdays.iter().position(|&d| d == day).map(|nth| ["MO", "TU", "WE", "TH", "FR", "SA", "SU"][nth]);
        prop_assert!(one_by_one.iter().all(|time| days.contains(&named(time.weekday()).unwrap())));
        prop_assert!(one_by_one.iter().all(|time| (time.hour(), time.minute()) == (start.hour(), start.minute())));
        // All of them, except the first when it is the task itself, and days that the zone skipped.
        let skipped = all.iter().filter(|local| local.and_local_timezone(zone).earliest().is_none()).count();
        prop_assert!(one_by_one.len() + skipped + 1 >= all.iter().filter(|&&local| local > start).count());
    }

    /// From a later start on, the occurrences are the same, without earlier ones.
    #[test]
    fn later_start_omits_earlier_occurrences(text in any_rule(), start in any_start(), later in 0i64..500) {
        let recurrence = rule(&text, chrono_tz::UTC);
        let times = Occurrences { rule: &recurrence.rule, start };
        let (from, to) = (start.date() + TimeDelta::days(later), start.date() + TimeDelta::days(3 * 366));
        let on: Vec<_> = times.between(from, to).skip_while(|time| time.date() < from).take(9).collect();
        let all = times.between(start.date(), to).skip_while(|time| time.date() < from);
        prop_assert_eq!(on, all.take(9).collect::<Vec<_>>());
    }

    /// For any input and any start, the number of examined days is bounded.
    #[test]
    fn examined_days_are_bounded(parts in prop::collection::vec(any_part(), 0..6), start in any_start(),
        age in 0i64..20_000)
    {
        let Ok(recurrence) = Recurrence::parse(&normalize(&parts.join(";")), chrono_tz::UTC, "rule") else { return Ok(()) };
        let from = start.date() + TimeDelta::days(age);
        let times = Occurrences { rule: &recurrence.rule, start };
        let days: i64 = times.periods(from, from + MAX_HORIZON).map(|(first, last)| (last - first).num_days() + 1).sum();
        // A period may start before the range and end after it.
        prop_assert!(days <= MAX_HORIZON.num_days() + 2 * 366, "{} days", days);
    }

    /// Any input is parsed or refused quickly.
    #[test]
    fn any_parts_are_parsed_or_refused(parts in prop::collection::vec(any_part(), 0..6), zone in any_zone(), start in any_start()) {
        let text = parts.join(";");
        if let Ok(recurrence) = Recurrence::parse(&normalize(&text), zone, "rule") {
            let due_at = recurrence.to_instant(start);
            if recurrence.check(due_at, due_at, "rule").is_ok() {
                prop_assert!(recurrence.next(start, start, due_at, &[]).unwrap().at > due_at);
            }
        }
    }
}

proptest! {
    /// Any input in any script is parsed, or refused with a sentence.
    #[test]
    fn any_text_is_parsed_or_refused(text in prop_oneof![".{0,500}", "(FREQ|BYDAY|UNTIL|BYSETPOS|;|=|,|-|[0-9A-Z]){0,60}"]) {
        if let Err(error) = Recurrence::parse(&normalize(&text), Berlin, "rule") {
            prop_assert_eq!(error.reason(), baton_errors::Reason::ValidationFailed);
        }
    }

    /// Formatting and parsing a rule yields the same rule, for any order of its parts.
    #[test]
    fn formatted_rule_parses_to_itself(text in any_rule(), nth in 0usize..5) {
        let read: Rule = text.parse().unwrap();
        let mut parts: Vec<String> = written(&read).split(';').map(str::to_owned).collect();
        let turn = nth % parts.len();
        parts.rotate_left(turn);
        prop_assert_eq!(parts.join(";").parse::<Rule>().unwrap(), read);
    }
}

#[test]
fn signs_leading_zeros_and_order_are_normalized() {
    let plain: Rule = "FREQ=MONTHLY;BYMONTHDAY=-1,1,2;BYDAY=1MO".parse().unwrap();
    assert_eq!("BYDAY=+01MO;FREQ=MONTHLY;BYMONTHDAY=+2,1,-1,01".parse::<Rule>().unwrap(), plain);
}

#[test]
fn every_number_of_the_rfc_is_accepted() {
    let due = "2026-03-02T08:00:00Z";
    let last_but_four = rule("FREQ=MONTHLY;BYDAY=-5MO", London);
    // The first of months with five Mondays.
    assert_eq!(formatted(&last_but_four, due, 2), ["2026-06-01 07:00", "2026-08-03 07:00"]);
    for nth in (1..=53).flat_map(|nth| [nth, -nth]) {
        let yearly = rule(&format!("FREQ=YEARLY;BYDAY={nth}FR"), Berlin);
        assert!(yearly.check(utc(due), utc(due), "rule").is_ok(), "{nth}");
        let monthly = Recurrence::parse(&format!("FREQ=MONTHLY;BYDAY={nth}FR,MO"), Berlin, "rule").unwrap();
        assert!(monthly.check(utc(due), utc(due), "rule").is_ok(), "{nth}");
    }
    assert_eq!(formatted(&rule("FREQ=DAILY;BYSECOND=60", Berlin), due, 2), ["2026-03-02 08:00", "2026-03-03 08:00"]);
    assert_eq!(rule("FREQ=DAILY;BYSECOND=60", Berlin).rule.seconds, [59], "no zone has leap seconds");
    let every_90_minutes = rule("FREQ=MINUTELY;INTERVAL=90;BYHOUR=9,11,12", Berlin);
    assert_eq!(formatted(&every_90_minutes, due, 3), ["2026-03-02 11:00", "2026-03-03 08:00", "2026-03-03 11:00"]);
    assert!(every_90_minutes.check(utc(due), utc(due), "rule").is_ok());
}

#[test]
fn skipped_times_are_omitted_across_clock_changes() {
    let daily = rule("FREQ=DAILY", Berlin);
    let start = daily.local(utc("2026-03-27T01:30:00Z"));
    let skip = |days: &[i64]| days.iter().map(|days| start + TimeDelta::days(*days)).collect::<Vec<_>>();
    let next =
        |days: &[i64]| daily.next(start, start, utc("2026-03-27T01:30:00Z"), &skip(days)).unwrap().at.to_string();
    assert_eq!(next(&[]), "2026-03-28 01:30:00 UTC");
    // 02:30 does not exist on the 29th.
    assert_eq!(next(&[1]), "2026-03-29 01:30:00 UTC");
    assert_eq!(next(&[1, 2]), "2026-03-30 00:30:00 UTC");
    assert_eq!(daily.local_time_of(start, utc("2026-03-29T01:30:00Z")), Some(start + TimeDelta::days(2)));
    assert_eq!(daily.local_time_of(start, utc("2026-03-29T01:31:00Z")), None);
    assert_eq!(rule("FREQ=DAILY;COUNT=2", Berlin).local_time_of(start, utc("2026-03-29T01:30:00Z")), None, "the third");
    // Both wall-clock times of a repeated hour.
    let hourly = rule("FREQ=HOURLY", New_York);
    let start = hourly.local(utc("2026-03-08T06:30:00Z"));
    let gap = hourly.next(start, start, utc("2026-03-08T06:30:00Z"), &[]).unwrap();
    let after = hourly.next(start, start, utc("2026-03-08T06:30:00Z"), &[gap.local]).unwrap();
    assert_eq!(
        (gap.at.to_string(), after.at.to_string()),
        ("2026-03-08 07:30:00 UTC".into(), "2026-03-08 08:30:00 UTC".into())
    );
}
