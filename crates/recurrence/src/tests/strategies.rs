//! Strategies for rules, time zones and starts.

use chrono::{NaiveDate, Weekday};
use proptest::{collection::btree_set, option::weighted, prelude::*, sample::select};

use super::super::{
    rule::{FREQUENCIES, Frequency, WEEKDAYS},
    *,
};

/// Zones with distinct clock changes: by half an hour, at midnight, twice around Ramadan, by a whole day, abolished
/// recently, and never.
pub(super) const ZONES: [Tz; 12] = [
    chrono_tz::UTC,
    chrono_tz::Europe::Berlin,
    chrono_tz::Europe::London,
    chrono_tz::America::New_York,
    chrono_tz::America::St_Johns,
    chrono_tz::America::Sao_Paulo,
    chrono_tz::Australia::Lord_Howe,
    chrono_tz::Africa::Casablanca,
    chrono_tz::Asia::Tehran,
    chrono_tz::Asia::Kathmandu,
    chrono_tz::Pacific::Apia,
    chrono_tz::Africa::Cairo,
];

pub(super) fn any_zone() -> impl Strategy<Value = Tz> {
    select(&ZONES[..])
}

pub(super) fn any_start() -> impl Strategy<Value = NaiveDateTime> {
    // Mostly around the middle of the night, when clocks change.
    let hour = prop_oneof![3 => 0u32..4, 1 => 0u32..24];
    (2000i32..2037, 1u32..=366, hour, 0u32..60).prop_map(|(year, day, hour, minute)| {
        let first = NaiveDate::from_yo_opt(year, 1).unwrap();
        let day = NaiveDate::from_yo_opt(year, day).unwrap_or(first);
        day.and_hms_opt(hour, minute, 0).unwrap()
    })
}

/// Numbers up to `most`, mostly few, and mostly near the limits.
fn some(least: i32, most: i32, signed: bool) -> impl Strategy<Value = String> {
    let size = prop_oneof![
        2 => least..=most,
        1 => least..=most.min(least + 3),
        1 => (most - 2).max(least)..=most,
    ];
    let number = (size, any::<bool>()).prop_map(move |(size, end)| if signed && end { -size } else { size });
    btree_set(number, 1..4).prop_map(|numbers| {
        let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
        numbers.join(",")
    })
}

fn some_weekdays(numbered: bool) -> impl Strategy<Value = String> {
    let nth = prop_oneof![6 => 1i32..=5, 1 => 6i32..=53].prop_flat_map(|nth| select(vec![nth, -nth]));
    let day = (maybe(if numbered { 0.5 } else { 0.0 }, nth), select(&WEEKDAYS[..]));
    let day = day.prop_map(|(nth, (name, _))| format!("{}{name}", nth.map(|nth| nth.to_string()).unwrap_or_default()));
    btree_set(day, 1..4).prop_map(|days| days.into_iter().collect::<Vec<_>>().join(","))
}

/// A value, or more often `None`; always `None` where `chance` is 0.
fn maybe<S: Strategy + 'static>(chance: f64, strategy: S) -> BoxedStrategy<Option<S::Value>>
where
    S::Value: Clone,
{
    if chance > 0.0 { weighted(chance, strategy).boxed() } else { Just(None).boxed() }
}

/// Rules of RFC 5545 that Baton accepts, with any combination of allowed parts.
pub(super) fn any_rule() -> impl Strategy<Value = String> {
    select(&FREQUENCIES[..])
        .prop_flat_map(of_frequency)
        .prop_filter("goes together", |text| text.parse::<Rule>().is_ok_and(|rule| rule.check().is_ok()))
}

fn of_frequency((name, frequency): (&'static str, Frequency)) -> impl Strategy<Value = String> {
    use Frequency::{Daily, Hourly, Minutely, Monthly, Secondly, Weekly, Yearly};
    let when = |allowed: bool, chance: f64| if allowed { chance } else { 0.0 };
    let within_a_day = frequency >= Hourly;
    let interval = match frequency {
        Yearly | Monthly | Weekly | Daily => 1u32..5,
        Hourly => 1..30,
        Minutely => 60..300,
        Secondly => 3_600..20_000,
    };
    let interval = prop_oneof![2 => Just(interval.start), 1 => interval];
    let numbered = frequency <= Monthly;
    let days = (
        maybe(0.3, some(1, 12, false)),
        maybe(when(frequency == Yearly, 0.2), some(1, 53, true)),
        maybe(when(frequency == Yearly || within_a_day, 0.15), some(1, 366, true)),
        maybe(when(frequency != Weekly, 0.25), some(1, 31, true)),
        maybe(0.4, some_weekdays(numbered)),
    );
    let one_of = |most: i32, many: bool| {
        some(0, most, false).prop_map(move |list| {
            let first = list.split(',').next().unwrap_or_default().to_owned();
            if many { list } else { first }
        })
    };
    let times = (
        maybe(0.25, some(0, 23, false)),
        maybe(0.2, one_of(59, frequency >= Minutely)),
        maybe(0.1, one_of(60, frequency == Secondly)),
    );
    let position = prop_oneof![3 => 1i32..=4, 1 => 5i32..=366].prop_flat_map(|at| select(vec![at, -at]));
    let positions =
        btree_set(position, 1..4).prop_map(|all| all.iter().map(i32::to_string).collect::<Vec<_>>().join(","));
    let rest = (maybe(0.2, positions), maybe(0.3, select(&WEEKDAYS[..])), maybe(0.2, 1u32..30));
    (interval, days, times, rest).prop_map(move |(interval, days, times, (positions, week_start, count))| {
        let parts = [
            (interval > 1).then(|| ("INTERVAL", interval.to_string())),
            days.0.map(|list| ("BYMONTH", list)),
            days.1.map(|list| ("BYWEEKNO", list)),
            days.2.map(|list| ("BYYEARDAY", list)),
            days.3.map(|list| ("BYMONTHDAY", list)),
            days.4.map(|list| ("BYDAY", list)),
            times.0.map(|list| ("BYHOUR", list)),
            times.1.map(|list| ("BYMINUTE", list)),
            times.2.map(|list| ("BYSECOND", list)),
            positions.map(|list| ("BYSETPOS", list)),
            week_start.map(|(name, _)| ("WKST", name.to_owned())),
            count.map(|count| ("COUNT", count.to_string())),
        ];
        let parts = parts.into_iter().flatten().map(|(name, value)| format!(";{name}={value}"));
        format!("FREQ={name}{}", parts.collect::<String>())
    })
}

/// Anything that a client might send as a part of a rule.
pub(super) fn any_part() -> impl Strategy<Value = String> {
    let freq = select(&FREQUENCIES[..]).prop_map(|(name, _)| format!("FREQ={name}"));
    let name = select(vec![
        "BYMONTH",
        "BYMONTHDAY",
        "BYYEARDAY",
        "BYWEEKNO",
        "BYHOUR",
        "BYMINUTE",
        "BYSECOND",
        "BYSETPOS",
        "INTERVAL",
        "COUNT",
        "UNTIL",
        "WKST",
        "BYDAY",
    ]);
    let value = prop_oneof![
        (-400i32..400).prop_map(|number| number.to_string()),
        select(vec!["MO", "-1FR", "5SU", "99999999999", "2,3", "20260101", "20260101T000000Z", ""])
            .prop_map(str::to_owned),
        "[A-Z0-9,+-]{0,8}",
    ];
    prop_oneof![freq, (name, value).prop_map(|(name, value)| format!("{name}={value}"))]
}

/// Formats a rule as the RFC does.
pub(super) fn written(rule: &Rule) -> String {
    let weekday = |weekday: Weekday| WEEKDAYS.iter().find(|(_, known)| *known == weekday).unwrap().0;
    let numbers = |list: &[i32]| list.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let day = |day: &rule::DayOfWeek| {
        format!("{}{}", day.nth.map_or(String::new(), |nth| nth.to_string()), weekday(day.weekday))
    };
    let until = |until: Until| match until {
        Until::Instant(time) => time.format("%Y%m%dT%H%M%SZ").to_string(),
        Until::Day(day) => day.format("%Y%m%d").to_string(),
    };
    let parts = [
        ("INTERVAL", rule.interval.to_string()),
        ("COUNT", rule.count.map(|count| count.to_string()).unwrap_or_default()),
        ("UNTIL", rule.until.map(until).unwrap_or_default()),
        ("BYMONTH", numbers(&rule.months)),
        ("BYWEEKNO", numbers(&rule.weeks)),
        ("BYYEARDAY", numbers(&rule.year_days)),
        ("BYMONTHDAY", numbers(&rule.month_days)),
        ("BYDAY", rule.weekdays.iter().map(day).collect::<Vec<_>>().join(",")),
        ("BYHOUR", numbers(&rule.hours)),
        ("BYMINUTE", numbers(&rule.minutes)),
        ("BYSECOND", numbers(&rule.seconds)),
        ("BYSETPOS", numbers(&rule.positions)),
        ("WKST", weekday(rule.week_start).to_owned()),
    ];
    let frequency = FREQUENCIES.iter().find(|(_, known)| *known == rule.frequency).unwrap().0;
    let parts = parts.into_iter().filter(|(_, value)| !value.is_empty());
    let parts: String = parts.map(|(name, value)| format!(";{name}={value}")).collect();
    format!("FREQ={frequency}{parts}")
}
