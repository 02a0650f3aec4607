//! International bank account numbers: the country's length and form, and the checksum (ISO 13616).

use iban::Iban;

use crate::{Entity, Found};

/// Letters and digits of a number, at most (ISO 13616) and at least (Norway).
const LENGTHS: std::ops::RangeInclusive<usize> = 15..=34;

/// Adds the account numbers of a text.
pub(crate) fn find(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    let mut begin = 0;
    // Each begins with two letters and two digits.
    for at in 2..bytes.len().saturating_sub(1) {
        let start = at - 2;
        let is_start = bytes[at].is_ascii_digit()
            && bytes[at + 1].is_ascii_digit()
            && bytes[start].is_ascii_alphabetic()
            && bytes[start + 1].is_ascii_alphabetic();
        if start < begin || !is_start || text[..start].ends_with(char::is_alphanumeric) {
            continue;
        }
        if let Some(end) = end(text, start) {
            found.push(Found::new(start..end, Entity::Iban));
            begin = end;
        }
    }
}

/// Where the number that begins here ends. Spaces and hyphens may separate its groups.
fn end(text: &str, start: usize) -> Option<usize> {
    let mut number = String::with_capacity(*LENGTHS.end());
    let mut longest = None;
    let mut after_separator = false;
    for (index, c) in text[start..].char_indices() {
        if c.is_ascii_alphanumeric() && number.len() < *LENGTHS.end() {
            number.push(c.to_ascii_uppercase());
            after_separator = false;
            let end = start + index + 1;
            let is_whole = !text[end..].starts_with(char::is_alphanumeric);
            if is_whole && LENGTHS.contains(&number.len()) && number.parse::<Iban>().is_ok() {
                longest = Some(end);
            }
        } else if matches!(c, ' ' | '-' | '\u{a0}' | '\u{202f}') && !after_separator {
            after_separator = true;
        } else {
            break;
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        find(text, &mut found);
        found.into_iter().map(|found| &text[found.start..found.end]).collect()
    }

    #[test]
    fn account_numbers_are_found() {
        for iban in [
            "DE89370400440532013000",
            "DE89 3704 0044 0532 0130 00",
            "gb82west12345698765432",
            "GB82-WEST-1234-5698-7654-32",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
        ] {
            assert_eq!(all(iban), [iban]);
            assert_eq!(all(&format!("IBAN: {iban}, thanks")), [iban]);
            assert_eq!(all(&format!("é{iban}")), [""; 0], "part of a word");
            assert_eq!(all(&format!("{iban} by tomorrow 12")), [iban]);
        }
    }

    #[test]
    fn wrong_checksums_are_not_found() {
        for text in ["DE88370400440532013000", "DE8937040044053201300", "XX12", "AB12 and so on", "RFC 5321"] {
            assert_eq!(all(text), [""; 0]);
        }
    }
}
