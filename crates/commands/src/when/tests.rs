//! Tests of points in time.

use Tz::{America__New_York as NewYork, Australia__Lord_Howe as LordHowe, Europe__Berlin as Berlin};
use proptest::prelude::*;

use super::*;

/// A Wednesday.
const NOW: &str = "2026-03-04 10:00";

fn time(zone: Tz, text: &str) -> DateTime<Tz> {
    wall_clock(zone, NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()).unwrap()
}

/// What the words before "|" mean, as local time, or how many words are taken if it is another number.
fn read(now: &DateTime<Tz>, text: &str) -> String {
    let expected = text.split(" |").next().unwrap_or_default().split(' ').count();
    let words: Vec<&str> = text.split(' ').filter(|word| *word != "|").collect();
    match parse(&words, now) {
        None => "none".to_owned(),
        Some(Match { words, .. }) if words != expected => format!("{words} words"),
        Some(Match { meaning: Meaning::Unclear, .. }) => "unclear".to_owned(),
        Some(Match { meaning: Meaning::At(time), .. }) => time.format("%Y-%m-%d %H:%M").to_string(),
    }
}

/// Checks lines of a meaning and the texts that have it.
fn check(now: &str, cases: &str) {
    let now = time(Berlin, now);
    for (expected, texts) in cases.lines().filter_map(|line| line.trim().split_once(" = ")) {
        for text in texts.split("; ") {
            assert_eq!(read(&now, text), expected, "{text}, at {now}");
        }
    }
}

#[test]
fn day_without_time_ends_at_its_close() {
    let cases = "
        2026-03-04 17:00 = today; later today; eod; cob; end of day; the end of the day; end of today; today eod
        2026-03-04 17:00 = close of business; end of the working day; end of business; at eod; today by eod
        2026-03-05 17:00 = tomorrow; tmrw; eod tomorrow; tomorrow by eod; end of day tomorrow; end of tomorrow
        2026-03-06 17:00 = the day after tomorrow; day after tomorrow; end of the day after tomorrow; cob friday
        2026-03-06 17:00 = end of day on friday; friday by close of business; end of friday; friday at the latest";
    check(NOW, cases);
}

#[test]
fn today_after_its_close_is_its_last_minute() {
    let cases = "
        2026-03-04 23:59 = today; later today; eod today; end of today; tonight; this evening; 2026-03-04; 4.3.26
        2026-03-05 17:00 = eod; end of day; tomorrow
        2026-03-05 18:00 = evening; in the evening
        2026-03-04 22:00 = today at 22:00; at 10 tonight; tonight at 10
        unclear = this afternoon; today at noon; today at 5; tonight at 8";
    check("2026-03-04 21:00", cases);
    check("2026-03-04 16:59", "2026-03-04 17:00 = today");
    check("2026-03-04 17:00", "2026-03-04 23:59 = today");
    check("2026-03-04 23:59", "unclear = today");
}

#[test]
fn parts_of_the_day_have_times() {
    let cases = "
        2026-03-05 09:00 = tomorrow morning; first thing tomorrow; tomorrow first thing; in the morning; morning
        2026-03-05 09:00 = first thing; first thing in the morning; first thing tomorrow morning
        2026-03-04 12:00 = noon; at noon; midday; 12 noon; today at noon; at noon today
        2026-03-05 12:00 = tomorrow at noon; noon tomorrow; tomorrow noon; tomorrow before noon
        2026-03-04 15:00 = this afternoon; afternoon; in the afternoon; today in the afternoon
        2026-03-04 18:00 = this evening; evening; in the evening; today evening; later this evening
        2026-03-04 20:00 = tonight; later tonight; at night; this night
        2026-03-05 20:00 = tomorrow night; tomorrow at night
        2026-03-10 18:00 = tuesday evening; next tuesday evening; evening of the 10th; in the evening on march 10
        unclear = this morning; today in the morning; tomorrow morning at 3pm; tonight at 2am; tonight at 2
        none = night; the morning; in the; first; at; this; later";
    check(NOW, cases);
}

#[test]
fn midnight_is_the_end_of_the_day_that_is_meant() {
    let cases = "
        2026-03-05 00:00 = midnight; at midnight; today at midnight; midnight tonight; tonight at 12; 12am tonight
        2026-03-06 00:00 = tomorrow at midnight; midnight tomorrow; 12 midnight tomorrow; tomorrow 24:00
        2026-03-07 00:00 = friday at midnight; midnight on friday; friday midnight
        2026-03-05 00:00 = tomorrow 12am; tomorrow at 00:00; 12am; at 00:00";
    check(NOW, cases);
    check("2026-03-06 23:00", "2026-03-07 00:00 = friday midnight");
}

#[test]
fn bare_hours_are_those_of_the_working_day() {
    let cases = "
        2026-03-04 17:00 = at 5; 5pm; 5 pm; 5 p.m; 5p.m; 17:00; 17h; 17:00:00; 5 o'clock; five o'clock; at five
        2026-03-04 17:00 = 5pm today; at 5 today; today at 5; today by 5; 5 in the afternoon; five pm
        2026-03-04 17:30 = 5:30pm; 5.30pm; at 5:30; 5:30; half past 5; half past five; at half past 5 pm
        2026-03-04 17:45 = quarter to 6; a quarter to six; at quarter to 6 pm; 17:45; 17h45; at 17.45
        2026-03-04 17:15 = a quarter past 5; 5:15; at five fifteen; quarter past 17
        2026-03-04 12:45 = quarter to 1; quarter to 13; 12:45; 12:45pm; at 12:45
        2026-03-04 11:00 = at 11; 11:00; 11am; eleven am
        2026-03-04 12:00 = at 12; 12pm; 12:00; at twelve
        2026-03-04 15:00 = 15:00; at 15; 3pm; at 3
        2026-03-04 20:00 = tonight at 8; at 8 tonight; 8 in the evening; 8 at night; this evening at 8
        2026-03-05 07:00 = at 7; 7:00; 7am; 7 in the morning; tomorrow at 7; tomorrow morning at 7
        2026-03-05 09:30 = 9:30; tomorrow morning at 9:30; at 9:30 tomorrow; at 9:30 tomorrow morning
        2026-03-05 02:30 = 02:30; at 02:30; 2:30am; tomorrow 02:30; 02h30
        2026-03-09 09:30 = monday morning at 9:30; 9:30 on monday morning; monday at 9:30 in the morning
        2026-03-05 17:00 = tomorrow | 5; tomorrow | at 3.4; tomorrow | at; tomorrow | by 5 percent
        unclear = 5pm utc; at 15:00 gmt; eod pst; tomorrow at 9 est; 7pm in the morning
        none = 5; 15; 17; five; 25:00; 12:75; 15am; 2h; 2.50; at 0; at 5 minutes; at 3.4; half; quarter to";
    check(NOW, cases);
}

#[test]
fn time_that_is_past_is_that_of_tomorrow() {
    let cases = "
        2026-03-05 15:00 = 3pm; at 3; 15:00; afternoon
        2026-03-05 16:00 = 4pm
        2026-03-04 16:01 = 16:01
        unclear = today at 3; 3pm today; this afternoon; 2026-03-04 15:00; 2026-03-04t15:00";
    check("2026-03-04 16:00", cases);
}

#[test]
fn weekday_is_the_next_one() {
    let cases = "
        2026-03-04 17:00 = wednesday; wed; this wednesday; wednesday this week
        2026-03-11 09:00 = wednesday morning; wednesday at 9; next wednesday at 9
        2026-03-06 17:00 = friday; fri; this friday; coming friday; the coming friday; friday of this week
        2026-03-06 15:00 = friday at 3; friday 3pm; 3pm friday; 3pm on friday; at 3 on friday
        2026-03-13 17:00 = next friday; the next friday; friday next week; next week on friday; friday week
        2026-03-09 17:00 = monday; mon; next monday; next week monday; the monday of next week
        2026-03-08 17:00 = sun; sunday
        2026-03-05 17:00 = thu; thur; thurs
        2026-03-13 17:00 = friday the 13th; friday march 13; fri 13.3; friday 13 march 2026; friday 2026-03-13
        2026-03-06 17:00 = friday | meeting; friday | or; friday | 3 reports; friday | the
        unclear = last friday; monday this week; friday the 12th; monday 2026-03-13; friday 3/4
        unclear = friday or monday; today or tomorrow or friday
        none = friday's; fridays; the friday; next; next week; this week; the; satur";
    check(NOW, cases);
    let cases = "
        2026-03-13 17:00 = friday; this friday; next friday; end of week
        2026-03-06 20:00 = friday 8pm";
    check("2026-03-06 18:00", cases);
    let cases = "
        2026-03-08 17:00 = sunday
        2026-03-09 17:00 = monday; next monday";
    check("2026-03-08 12:00", cases);
}

#[test]
fn spans_of_days_end_at_a_close() {
    let cases = "
        2026-03-07 17:00 = in 3 days; in three days; within 3 days; 3 days from now; in the next 3 days; in 3d
        2026-03-07 12:00 = in 3 days at noon; at noon in 3 days
        2026-03-18 17:00 = in two weeks; in 2 weeks; in a fortnight; in a couple of weeks; two weeks from today
        2026-03-11 17:00 = in a week; in one week; in a week's time; a week from today; within the next week
        2026-03-13 17:00 = a week from friday; a week after friday; 7 days from friday; in 1 week and 2 days
        2026-03-13 09:00 = a week from friday at 9; at 9 a week from friday
        2026-04-04 17:00 = in a month; in 1 month
        2027-03-04 17:00 = in a year; in 12 months; a year from now
        2027-09-04 17:00 = in a year and a half; in one and a half years; in 1.5 years; in 18 months
        2026-03-06 17:00 = in 2 days | and 3 tasks; in 2 days | from; in 2 days | off
        unclear = in a few days; in several weeks; 3 days ago; an hour ago; in half a week; in 99999 years
        unclear = 2 days before friday; a week before march 31
        none = 3 days; a week; in; in a; in 0 days; in 3; in 3 tasks; in next week; in a month's; the next day";
    check(NOW, cases);
    let cases = "
        2026-02-28 17:00 = in a month
        2026-03-31 17:00 = in 2 months";
    check("2026-01-31 10:00", cases);
    check("2028-01-30 10:00", "2028-02-29 17:00 = in a month");
    let cases = "
        2029-02-28 17:00 = in a year
        2032-02-29 17:00 = in 4 years; feb 29 2032";
    check("2028-02-29 10:00", cases);
}

#[test]
fn working_days_are_monday_to_friday() {
    let cases = "
        2026-03-05 17:00 = in a working day; next working day; the next business day; end of the next business day
        2026-03-06 17:00 = in 2 working days; within two business days; in 2 workdays; 2 working days from now
        2026-03-09 17:00 = in 3 working days
        2026-03-11 12:00 = in 5 working days at noon
        2026-03-18 17:00 = in ten business days
        2026-03-10 17:00 = 2 working days from friday; 2 business days after friday";
    check(NOW, cases);
    for weekend in ["2026-03-06 10:00", "2026-03-07 10:00", "2026-03-08 10:00"] {
        check(weekend, "2026-03-09 17:00 = in 1 working day");
        check(weekend, "2026-03-16 17:00 = in 6 working days");
    }
}

#[test]
fn spans_of_hours_are_exact() {
    let now = time(Berlin, NOW) + TimeDelta::nanoseconds(30_000_000_001);
    let cases = "
        180 = in 3 hours; 3 hours from now; in three hours; in 3h; in the next 3 hours; in 180 minutes
        60 = in an hour; in 1 hour; an hour from now; within an hour; in the next hour; in 60 mins
        90 = in 90 minutes; in an hour and a half; in one and a half hours; in 1.5 hours; in 90min; in 90m
        90 = in 1 hour and 30 minutes; in 1 hour 30 minutes; in 1h 30m; in an hour and 30 min
        30 = in half an hour; half an hour from now; in a half hour; in 30 minutes; in thirty minutes
        15 = in a quarter of an hour; in fifteen minutes; a quarter of an hour from now
        1440 = in 24 hours
        1560 = in 1 day and 2 hours; in a day and two hours";
    for (minutes, texts) in cases.lines().filter_map(|line| line.trim().split_once(" = ")) {
        for text in texts.split("; ") {
            let words: Vec<&str> = text.split(' ').collect();
            let meaning = Meaning::At(now + TimeDelta::minutes(minutes.parse().unwrap()));
            assert_eq!(parse(&words, &now), Some(Match { words: words.len(), meaning }), "{text}");
        }
    }
}

#[test]
fn ends_of_periods_are_their_last_days() {
    let cases = "
        2026-03-06 17:00 = end of week; end of the week; the end of this week; eow; at the end of the week
        2026-03-13 17:00 = end of next week; the end of next week
        2026-03-31 17:00 = end of month; end of the month; eom; month end; month-end; last day of the month
        2026-03-31 17:00 = end of quarter; eoq; end of this quarter; end of q1; end of march; last day of march
        2026-03-31 12:00 = end of the month at noon; at noon at the end of the month
        2026-04-30 17:00 = end of next month; next month end; end of april; the end of april 2026
        2026-06-30 17:00 = end of next quarter; end of q2
        2026-12-31 17:00 = end of year; end of the year; eoy; year-end; end of 2026; end of december
        2027-12-31 17:00 = end of next year; end of 2027
        2027-02-28 17:00 = end of february; end of feb
        2026-03-15 17:00 = end of the 15th; end of march 15; end of day on march 15
        unclear = end of 2025; end of january 2026; end of feb 30
        none = end; end of; the end; end of the; end of the sprint; week end; last day of the week; next month";
    check(NOW, cases);
    let cases = "
        2026-12-31 17:00 = end of month; end of quarter; eoy
        2027-01-31 17:00 = end of next month";
    check("2026-12-31 10:00", cases);
    let cases = "
        2026-12-31 23:59 = end of month; end of year
        2027-03-31 17:00 = end of q1; end of next quarter";
    check("2026-12-31 18:00", cases);
    check("2028-02-01 10:00", "2028-02-29 17:00 = end of month; end of february; feb 29; 29.2");
    check("2026-03-06 10:00", "2026-03-06 17:00 = end of week; eow");
    check("2026-03-07 10:00", "2026-03-13 17:00 = end of week; end of next week");
}

#[test]
fn date_without_year_or_month_is_the_next_one() {
    let cases = "
        2026-03-04 17:00 = march 4; the 4th; 4.3
        2027-03-04 09:00 = march 4 at 9; 4.3 at 9am
        2026-03-15 17:00 = the 15th; 15th; march 15; 15 march; 15th of march; the 15th of march; mar 15th; 15.03.
        2026-03-15 17:00 = the 15th of this month; 15th of the month; march the 15th; march 15 2026; 15/3; 3/15/26
        2026-04-03 17:00 = the 3rd; the 3rd of next month; third of next month; april third; 3 apr
        2027-03-03 17:00 = march 3; 3 march; 3rd of march; 3.3; 3/3; march 3rd 2027; 3.3.27; 3.3.2027
        2026-12-24 17:00 = dec 24; 24 dec 2026; 24.12; 24.12.; 24.12.2026; 24.12.26; 2026-12-24; 24/12; 12/24
        2026-12-24 15:00 = dec 24 at 3; at 15:00 on dec 24; 3pm on the 24th of december; 24.12 15:00
        2026-12-24 15:00 = 2026-12-24 15:00; 2026-12-24t15:00; 2026-12-24t14:00z; 2026-12-24t09:00:00-05:00
        2026-09-05 17:00 = sept 5; 5 september; sep 5th
        2026-05-05 17:00 = may 5; 5 may; 5th of may; 5/5
        2028-02-29 17:00 = feb 29; 29 february; 29.2
        unclear = 3/4; 3/4/2026; 03/04/26; at 5 on 3/4; feb 30; 31.4; 31 april; 2026-02-30; 32.1.2026; 13/13
        unclear = yesterday; yesterday at 3; the day before yesterday; dec 24 2025; 24.12.2025; 2026-03-03
        unclear = the 3rd of this month; the 31st of next month; 2027-02-29; 2026-13-01t15:00
        none = may; march; mar; second; the second; first; the first; march 3 pm; march 2027; 2026; 2026-12
        none = 24/7; 50/50; 2.50; 1.2.3; the 32nd; the; the 15; 15 of; 3/4/5/6; 12-24; 0.5; 2026-12-24t";
    check(NOW, cases);
    let cases = "
        2026-04-15 17:00 = the 15th
        2027-03-15 17:00 = march 15";
    check("2026-03-15 18:00", cases);
    check("2026-01-31 18:00", "2026-03-31 17:00 = the 31st");
    check("2026-12-31 18:00", "2027-01-01 17:00 = tomorrow; jan 1; the 1st");
    check("2096-02-29 18:00", "2104-02-29 17:00 = feb 29");
}

#[test]
fn skipped_time_has_the_offset_before_the_gap_and_repeated_time_is_the_first() {
    for (zone, now, text, expected) in [
        (Berlin, "2026-03-28 10:00", "tomorrow at 02:30", "2026-03-29T03:30:00+02:00"),
        (Berlin, "2026-03-28 10:00", "in 24 hours", "2026-03-29T11:00:00+02:00"),
        (Berlin, "2026-03-28 10:00", "in a day", "2026-03-29T17:00:00+02:00"),
        (Berlin, "2026-10-24 10:00", "tomorrow at 02:30", "2026-10-25T02:30:00+02:00"),
        (Berlin, "2026-10-24 10:00", "in 1 day and 3 hours", "2026-10-25T13:00:00+01:00"),
        (NewYork, "2026-03-07 10:00", "2:30am tomorrow", "2026-03-08T03:30:00-04:00"),
        (NewYork, "2026-10-31 10:00", "1:30am tomorrow", "2026-11-01T01:30:00-04:00"),
        (NewYork, "2026-10-31 10:00", "tomorrow", "2026-11-01T17:00:00-05:00"),
        (LordHowe, "2026-10-03 10:00", "tomorrow at 02:15", "2026-10-04T02:45:00+11:00"),
        (LordHowe, "2026-04-04 10:00", "tomorrow at 01:45", "2026-04-05T01:45:00+11:00"),
        (LordHowe, "2026-04-05 01:15", "in 1 hour", "2026-04-05T01:45:00+10:30"),
    ] {
        let words: Vec<&str> = text.split(' ').collect();
        let meaning = Meaning::At(DateTime::parse_from_rfc3339(expected).unwrap().with_timezone(&zone));
        assert_eq!(parse(&words, &time(zone, now)).unwrap().meaning, meaning, "{text}, at {now}");
    }
}

const VOCABULARY: &str = "today tomorrow yesterday tonight the day after before next last this coming later week \
    month quarter year end of in within at on by or and a an half couple few past to from ago now first thing \
    morning afternoon evening night noon midnight 12 5 15 0 99999 5pm pm a.m 17:00 5:30 24:00 02:30 17h 5.30 \
    o'clock five thirty eod cob eow close business working days hours minutes weeks months years 3d 90min 1.5 \
    monday fri sat may march feb sept 29 30 3rd 31st second third 3/4 25/12 24.12 31.4. 2026 2027 2026-12-24 \
    2026-12-24t15:00z 9999-12-31 q1 month-end week's time utc friday's latest é 💡";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_words_are_read_or_not(
        words in prop::collection::vec(prop::sample::select(VOCABULARY.split(' ').collect::<Vec<_>>()), 0..8),
        zone in prop::sample::select(vec![Berlin, NewYork, LordHowe]),
        seconds in 1_700_000_000_i64..1_900_000_000,
    ) {
        let now = DateTime::from_timestamp(seconds, 0).unwrap().with_timezone(&zone);
        let read = parse(&words, &now);
        if let Some(Match { words: taken, meaning }) = read {
            prop_assert!((1..=words.len()).contains(&taken));
            prop_assert!(!matches!(meaning, Meaning::At(time) if time <= now), "{meaning:?} is not after {now}");
        }
        let more: Vec<&str> = words.iter().copied().chain(["zebra", "tomorrow"]).collect();
        prop_assert_eq!(parse(&more, &now), read);
    }

    #[test]
    fn any_word_is_read_or_not(word in "[0-9]{0,5}[-:./a-z'’é]{0,3}[0-9]{0,5}[-:./tz+]{0,2}[0-9]{0,5}") {
        let now = time(Berlin, NOW);
        for words in [vec![&*word], vec!["at", &word], vec!["in", &word, "hours"], vec!["march", &word]] {
            parse(&words, &now);
        }
    }
}
