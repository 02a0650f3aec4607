//! Phone numbers: the international form, the national forms of given regions, and any after words such as "call".

use std::ops::Range;

use phonenumber::country;

use crate::{
    Entity, Found,
    number::{Run, is_separator},
};

/// Groups of a number, at most: French numbers have five, and a country code before them.
const MAX_GROUPS: usize = 8;
/// Digits of an international number, at least: "+150000" is a difference.
const MIN_INTERNATIONAL: usize = 8;
/// Bytes before and after a number in which words show that it is one.
const CONTEXT_BEFORE: usize = 40;
const CONTEXT_AFTER: usize = 12;

/// The beginnings of words that stand before phone numbers.
const WORDS_BEFORE: &[&str] = &[
    "call",
    "phone",
    "tel.",
    "tel:",
    "tel ",
    "telephone",
    "telefon",
    "mobil",
    "cell ",
    "cell:",
    "cellphone",
    "fax",
    "dial",
    "sms",
    "whatsapp",
    "ring me",
    "rang",
    "reach",
    "desk",
    "handy",
    "hotline",
    "pager",
    "messag",
    "text me",
    "answering at",
    "my number",
    "his number",
    "her number",
    "contact number",
    "anruf",
    "ruf ",
    "rufnummer",
    "teléfono",
    "téléphone",
    "appel",
    "landline",
    "extension",
    "durchwahl",
    "nummer",
];
/// Words that stand after them.
const WORDS_AFTER: &[&str] = &["office", "fax", "mobil", "cell", "home", "work", "desk", "phone", "tel"];

/// The regions whose national numbers are found.
#[derive(Debug)]
pub(crate) struct Regions(Vec<country::Id>);

impl Regions {
    /// The regions with these ISO 3166 codes.
    pub(crate) fn new(codes: &[String]) -> Self {
        Self(codes.iter().filter_map(|code| code.to_ascii_uppercase().parse().ok()).collect())
    }

    /// The number in E.164 format. A national number must be valid in one of the regions.
    pub(crate) fn e164(&self, value: &str) -> Option<String> {
        let digits = dialled(value);
        if digits.starts_with('+') {
            return Some(digits);
        }
        self.0.iter().find_map(|&region| national(region, &digits))
    }
}

/// A national number in E.164 format, if it is valid in the region.
fn national(region: country::Id, digits: &str) -> Option<String> {
    let number = phonenumber::parse(Some(region), digits).ok().filter(phonenumber::PhoneNumber::is_valid)?;
    // With the zeros that belong to it, such as those of Italy.
    Some(format!("+{}{}", number.code().value(), number.national()))
}

/// The digits of a number, with a plus if it is international, and without its extension and a trunk prefix in brackets.
fn dialled(value: &str) -> String {
    let value = value.trim_start_matches('(');
    let number = value.find(|c: char| c.is_alphabetic() || c == '#').map_or(value, |extension| &value[..extension]);
    let is_international = value.starts_with('+') || value.starts_with("00");
    let number = if is_international { number.replacen("(0)", "", 1) } else { number.to_owned() };
    let digits = number.chars().filter(char::is_ascii_digit);
    if is_international {
        let plus = std::iter::once('+');
        return plus.chain(digits.skip(if value.starts_with('+') { 0 } else { 2 })).collect();
    }
    digits.collect()
}

/// Adds the phone numbers of a text.
pub(crate) fn find(text: &str, runs: &[Run], regions: &Regions, found: &mut Vec<Found>) {
    for run in runs.iter().filter(|run| !is_money(text, run)) {
        let mut first = 0;
        while first < run.groups.len() {
            if let Some(date) = date(text, &run.groups[first..]) {
                first += date;
                continue;
            }
            let last = first + MAX_GROUPS.min(run.groups.len() - first);
            let end = (first + 1..=last).rev().find(|&end| {
                let is_rest = end == run.groups.len() && run.groups.len() <= MAX_GROUPS;
                is_phone(text, &run.groups[first..end], is_rest.then_some(regions))
            });
            if let Some(end) = end {
                let start = start(text, run.groups[first].start);
                let end_of_number = extension(text, run.groups[end - 1].end);
                found.push(Found::new(start..end_of_number, Entity::Phone));
                first = end;
            } else {
                first += 1;
            }
        }
    }
}

/// Whether a currency stands beside a run.
fn is_money(text: &str, run: &Run) -> bool {
    let (Some(first), Some(last)) = (run.groups.first(), run.groups.last()) else { return false };
    let currency = ["$", "€", "£", "¥", "EUR", "USD", "GBP", "CHF"];
    let before = text[..first.start].trim_end_matches(' ');
    let after = text[last.end..].trim_start_matches(' ');
    currency.iter().any(|currency| before.ends_with(currency) || after.starts_with(currency))
}

/// Whether the groups are a number. The regions' rules are slow, so they are given for few of the many combinations.
fn is_phone(text: &str, groups: &[Range<usize>], regions: Option<&Regions>) -> bool {
    let (Some(first), Some(last)) = (groups.first(), groups.last()) else { return false };
    let digits: usize = groups.iter().map(ExactSizeIterator::len).sum();
    if !(6..=15).contains(&digits) {
        return false;
    }
    let before = &text[..first.start];
    // Part of a word or of a fraction.
    if before.ends_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '#'))
        || before.ends_with(['.', ',']) && before[..before.len() - 1].ends_with(|c: char| c.is_ascii_digit())
        || text[last.end..].starts_with(|c: char| c.is_alphabetic() && c != 'x' || matches!(c, '_' | '%' | ':'))
    {
        return false;
    }
    if before.strip_suffix('(').unwrap_or(before).ends_with('+') {
        return digits >= MIN_INTERNATIONAL;
    }
    let lengths: Vec<usize> = groups.iter().map(ExactSizeIterator::len).collect();
    let separators: Vec<&str> = groups.windows(2).map(|pair| &text[pair[0].end..pair[1].start]).collect();
    if is_sum(text, groups, &lengths, &separators) {
        return false;
    }
    // North America's form is nobody else's, and used everywhere.
    let is_american = matches!(separators[..], ["-", "-"] | [".", "."] | [") " | ")" | ")-", "-" | " "]);
    if lengths == [3, 3, 4] && is_american {
        return true;
    }
    if has_context(text, first.start, last.end) {
        return true;
    }
    let Some(regions) = regions else { return false };
    // "CVE-2026-105207" is a name.
    if before.strip_suffix('-').is_some_and(|before| before.ends_with(char::is_alphanumeric)) {
        return false;
    }
    let number = &text[first.start..last.end];
    // Without separators it is a number of many kinds, unless it begins as phone numbers do.
    let may_be_bare = |region: &country::Id| {
        number.starts_with('0') || digits == 10 && matches!(region, country::Id::US | country::Id::CA)
    };
    let digits = dialled(number);
    let mut in_question = regions.0.iter().filter(|region| groups.len() > 1 || may_be_bare(region));
    in_question.any(|&region| national(region, &digits).is_some())
}

/// How many groups of a run are a date, if it begins with one.
fn date(text: &str, groups: &[Range<usize>]) -> Option<usize> {
    let is_between = |index: usize, from: u32, to: u32| {
        groups
            .get(index)
            .is_some_and(|group| text[group.clone()].parse::<u32>().is_ok_and(|part| (from..=to).contains(&part)))
    };
    let len = |index: usize| groups.get(index).map_or(0, ExactSizeIterator::len);
    let separator = |index: usize| groups.get(index + 1).map_or("", |next| &text[groups[index].end..next.start]);
    if !matches!(separator(0), "-" | "/" | ".") || separator(1) != separator(0) {
        return None;
    }
    let is_short = |index: usize| matches!(len(index), 1 | 2);
    let year_first = len(0) == 4
        && is_between(0, 1800, 2199)
        && is_short(1)
        && is_between(1, 1, 12)
        && is_short(2)
        && is_between(2, 1, 31);
    let year_last = is_short(0)
        && is_between(0, 1, 31)
        && is_short(1)
        && is_between(1, 1, 31)
        && (len(2) == 4 && is_between(2, 1800, 2199) || len(2) == 2);
    // French numbers are pairs with dots too, but more of them.
    let goes_on = separator(2) == separator(0);
    (year_first || year_last && !goes_on).then_some(3)
}

/// Whether it is rather an IP address, years, or a number with separators of thousands.
fn is_sum(text: &str, groups: &[Range<usize>], lengths: &[usize], separators: &[&str]) -> bool {
    let is_year =
        |group: &Range<usize>| text[group.clone()].parse::<u32>().is_ok_and(|year| (1900..2100).contains(&year));
    let are_years = lengths.iter().all(|&len| len == 4) && groups.iter().all(is_year);
    let are_dotted = lengths.len() > 1 && separators.iter().all(|&separator| separator == ".");
    let is_ip = are_dotted && lengths.len() == 4;
    let is_sum = are_dotted && lengths[0] < 3 && lengths[1..].iter().all(|&len| len == 3);
    let is_thousands = lengths == [3, 3] && separators == [" "] && !text[groups[0].clone()].starts_with('0');
    are_years || is_ip || is_sum || is_thousands
}

/// Whether words beside it say that it is a phone number.
fn has_context(text: &str, start: usize, end: usize) -> bool {
    let before = &text[text.floor_char_boundary(start.saturating_sub(CONTEXT_BEFORE))..start];
    let before = before.to_lowercase();
    let begins_word = |at: usize| !before[..at].ends_with(char::is_alphabetic);
    if WORDS_BEFORE.iter().any(|word| before.match_indices(word).any(|(at, _)| begins_word(at))) {
        return true;
    }
    let after = &text[end..text.ceil_char_boundary(text.len().min(end + CONTEXT_AFTER))];
    let after = after.trim_start_matches(|c: char| is_separator(c)).to_lowercase();
    WORDS_AFTER.iter().any(|word| after.starts_with(word))
}

/// Where a number begins whose digits begin here: at its plus or bracket.
fn start(text: &str, digits: usize) -> usize {
    let before = &text.as_bytes()[..digits];
    match before {
        [.., b'+', b'('] | [.., b'(', b'+'] => digits - 2,
        [.., b'+' | b'('] => digits - 1,
        _ => digits,
    }
}

/// Where a number ends with its extension: "x12", "ext. 12".
fn extension(text: &str, end: usize) -> usize {
    let rest = &text[end..];
    let marker =
        [" ext. ", " ext.", " ext ", ", ext. ", " x", "x", " #"].into_iter().find(|marker| rest.starts_with(marker));
    let Some(marker) = marker else { return end };
    let digits = rest[marker.len()..].bytes().take_while(u8::is_ascii_digit).count();
    if (1..=6).contains(&digits) { end + marker.len() + digits } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::runs;

    fn all<'a>(text: &'a str, regions: &[&str]) -> Vec<&'a str> {
        let codes: Vec<String> = regions.iter().map(|&code| code.to_owned()).collect();
        let mut found = Vec::new();
        find(text, &runs(text), &Regions::new(&codes), &mut found);
        found.into_iter().map(|found| &text[found.start..found.end]).collect()
    }

    #[test]
    fn international_and_american_numbers_are_found_everywhere() {
        for number in [
            "+49 170 1234567",
            "+41 (0)27 240 04 99",
            "+447700556093",
            "(650) 253-0000",
            "650-253-0000",
            "650.253.0000",
            "(894)134-3524",
            "650-752-7354x549",
            "650-752-7354 ext. 12",
        ] {
            assert_eq!(all(&format!("It is {number}."), &[]), [number]);
        }
    }

    #[test]
    fn national_numbers_are_found_in_their_regions() {
        for (region, number) in [
            ("DE", "0170 1234567"),
            ("DE", "01701234567"),
            ("DE", "030/901820"),
            ("FR", "01 23 45 67 89"),
            ("GB", "07912 345678"),
            ("US", "6502530000"),
            ("US", "650 253 0000"),
        ] {
            assert_eq!(all(&format!("It is {number}."), &[region]), [number]);
            assert_eq!(all(&format!("It is {number}."), &["IS"]), [""; 0], "{number}");
        }
    }

    #[test]
    fn words_show_numbers_of_any_region() {
        for text in ["Call me at 87 47 98", "87 47 98 (office)", "Fax:\n87 47 98", "text me: 87 47 98"] {
            assert_eq!(all(text, &[]), ["87 47 98"]);
        }
    }

    #[test]
    fn other_numbers_are_not_found() {
        for text in [
            "2026-11-30 12:30",
            "30.11.2026",
            "11/30/2026",
            "call on 2026-11-30",
            "192.168.100.200",
            "1.234.567",
            "€ 1 234 567 890",
            "$100,000,000",
            "12.345678",
            "1764461452",
            "1764461452123",
            "task 12345678",
            "2019 2020",
            "v1.2.3",
            "CVE-2026-105207",
            "we reach 100 000 people",
            "tell them 12 345 678",
            "a + 12345678, +150000",
            "abc1234567",
        ] {
            assert_eq!(all(text, &["US", "DE", "GB"]), [""; 0], "{text}");
        }
    }
}
