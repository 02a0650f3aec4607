//! Numbers that authorities and companies give to people: by form, or after words such as "passport". And UUIDs.

use std::sync::LazyLock;

use regex::Regex;

use crate::{Entity, Found};

/// Numbers whose form alone shows them.
static BY_FORM: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let forms = [
        // United States: social security number, individual taxpayer number.
        r"\d{3}-\d{2}-\d{4}",
        // United Kingdom: national insurance number (HMRC, NIM39110).
        r"(?i:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?\d{2}[ -]?\d{2}[ -]?\d{2}[ -]?[A-D])",
        // Brazil: CPF.
        r"\d{3}\.\d{3}\.\d{3}-\d{2}",
        // Italy: codice fiscale.
        r"(?i:[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z])",
        // Spain: DNI and NIE.
        r"(?:\d{8}|[XYZ]\d{7})-?[TRWAGMYFPDXBNJZSQVHLCKE]",
        // India: PAN.
        r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]",
        // Sweden: personnummer with its separator.
        r"(?:19|20)?\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[-+]\d{4}",
    ];
    Regex::new(&format!(r"\b(?:{})\b", forms.join("|"))).ok()
});

/// Words, and the number after them.
static BY_WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let words = [
        r"passports?|reisepass|passeport|pasaporte|passaporto",
        r"driver'?s?’?s?(?: and vehicle)? licen[cs]e|driving licen[cs]e|driver’s licen[cs]e|führerschein|dl",
        r"social security|social insurance|ssn|sin|national insurance|nino|nhs|medicare|medicaid|aadhaar|pan card",
        r"tax ?(?:payer)?(?: identification| file)?|tin|itin|vat|ust-?id|steuer-?id|steuernummer|siret|siren|nif|nie|dni|cpf|bsn|pesel|egn",
        r"personnummer|personalausweis|identity card|id card|national id|residence permit|visa|insurance|member(?:ship)?|licen[cs]e plate",
        r"account|acct\.?|routing|sort code|swift|bic|kontonummer|blz",
    ];
    let number = r"[A-Za-z]{0,4}[-.]?\d[A-Za-z0-9]*(?:[-. /]?[A-Za-z]{0,2}\d[A-Za-z0-9]*)*";
    let between = r"(?:\s+(?:number|num\.?|no\.?|nr\.?|id|code|#))?(?:\s+(?:is|was|ist)|\s*[:=#])?\s*";
    Regex::new(&format!(r"(?i)\b(?:{})\b{between}({number})", words.join("|"))).ok()
});

static UUID: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b").ok());

/// Letters and digits of a number that words announce.
const LENGTHS: std::ops::RangeInclusive<usize> = 5..=24;
/// Digits of it, at least.
const MIN_DIGITS: usize = 4;

/// Adds the numbers of a text.
pub(crate) fn find(text: &str, uuids: bool, found: &mut Vec<Found>) {
    let forms =
        BY_FORM.iter().flat_map(|form| form.find_iter(text)).filter(|number| is_standalone(text, number.range()));
    found.extend(forms.map(|number| Found::new(number.range(), Entity::Id)));
    for captures in BY_WORDS.iter().flat_map(|words| words.captures_iter(text)) {
        let Some(number) = captures.get(1) else { continue };
        let length = number.as_str().chars().filter(char::is_ascii_alphanumeric).count();
        let digits = number.as_str().bytes().filter(u8::is_ascii_digit).count();
        if LENGTHS.contains(&length) && digits >= MIN_DIGITS && is_standalone(text, number.range()) {
            found.push(Found::new(number.range(), Entity::Id));
        }
    }
    if uuids {
        let uuids = UUID.iter().flat_map(|uuid| uuid.find_iter(text));
        found.extend(uuids.map(|uuid| Found::new(uuid.range(), Entity::Uuid)));
    }
}

/// Whether it is not a part of a longer number.
fn is_standalone(text: &str, range: std::ops::Range<usize>) -> bool {
    let joins = |c: char| matches!(c, '-' | '_');
    !text[..range.start].ends_with(joins) && !text[range.end..].starts_with(joins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        find(text, false, &mut found);
        found.sort_unstable_by_key(|found| found.start);
        found.dedup_by_key(|found| found.start);
        found.into_iter().map(|found| &text[found.start..found.end]).collect()
    }

    #[test]
    fn numbers_are_found_by_form() {
        for number in [
            "643-21-6917",
            "AB 12 34 56 C",
            "529.982.247-25",
            "RSSMRA85T10A562S",
            "12345678Z",
            "ABCPK1234L",
            "811218-9876",
        ] {
            assert_eq!(all(&format!("It is {number}.")), [number]);
        }
    }

    #[test]
    fn numbers_are_found_after_words() {
        for (text, number) in [
            ("My driver's license number is yo0047868", "yo0047868"),
            ("Passport No. C01X00T47", "C01X00T47"),
            ("SSN: 643216917", "643216917"),
            ("tax id 12 345 678 901", "12 345 678 901"),
            ("account number 12345678, please", "12345678"),
        ] {
            assert_eq!(all(text), [number]);
        }
    }

    #[test]
    fn other_numbers_are_not_found() {
        for text in [
            "2026-11-30",
            "visa in 30 days",
            "account 12",
            "passport by 2026",
            "1643-21-69170",
            "PR-643-21-6917",
            "tax 2%",
        ] {
            assert_eq!(all(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn uuids_are_found_if_wanted() {
        let text = "task 019ad0c4-7d3e-7cc1-b5a0-3f6e2f1f4a11 is late";
        let mut found = Vec::new();
        find(text, true, &mut found);
        assert_eq!(found, [Found::new(5..41, Entity::Uuid)]);
        assert_eq!(all(text), [""; 0]);
    }
}
