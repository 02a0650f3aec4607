//! Detects numbers that a double cannot represent exactly.
//!
//! Parsers read JSON numbers as doubles (RFC 8259, section 6) and round numbers with more digits. Decoders refuse the
//! numbers that are marked here.

use super::value::Json;

/// A double represents every number of up to this many digits without an exponent exactly.
const MAX_EXACT_DIGITS: usize = 15;

/// Replaces each number of `json` that a double does not represent exactly by [`Json::Lossy`]. `text` is its source.
pub(crate) fn mark_lossy(json: &mut Json<'_>, text: &[u8]) {
    // Fast path: one pass over the bytes shows for nearly all requests that all numbers are short.
    if Tokens(text).all(is_short) {
        return;
    }
    mark_in_order(json, &mut Tokens(text));
}

/// Visits numbers in the order of the text, which members and items keep.
fn mark_in_order(json: &mut Json<'_>, tokens: &mut Tokens<'_>) {
    match json {
        Json::Number(_) => {
            if tokens.next().is_some_and(|token| !is_short(token) && !is_exact(token)) {
                *json = Json::Lossy;
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| mark_in_order(item, tokens)),
        Json::Object(members) => members.iter_mut().for_each(|(_, value)| mark_in_order(value, tokens)),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Lossy => {}
    }
}

fn is_short(token: &[u8]) -> bool {
    token.len() <= MAX_EXACT_DIGITS && !token.iter().any(|byte| matches!(byte, b'e' | b'E'))
}

/// Whether the nearest double prints as the same number.
fn is_exact(token: &[u8]) -> bool {
    let Some(text) = std::str::from_utf8(token).ok() else { return false };
    let Some(double) = text.parse::<f64>().ok().filter(|double| double.is_finite()) else { return false };
    let given = significant_digits(text);
    given.is_some() && given == significant_digits(&format!("{double:e}"))
}

/// Returns the digits without leading and trailing zeros, and the power of ten of the last digit.
fn significant_digits(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_end_matches('0');
    if digits.trim_start_matches('0').is_empty() {
        return Some((String::new(), 0));
    }
    let exponent: i64 = exponent.parse().ok()?;
    let moved = i64::try_from(all.len() - digits.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    Some((digits.trim_start_matches('0').to_owned(), exponent.checked_add(moved)?))
}

/// The numbers of a JSON text, in order.
struct Tokens<'a>(&'a [u8]);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut at = 0;
        loop {
            match self.0.get(at)? {
                b'"' => {
                    at += 1;
                    while *self.0.get(at)? != b'"' {
                        at += if self.0[at] == b'\\' { 2 } else { 1 };
                    }
                    at += 1;
                }
                b'-' | b'0'..=b'9' => break,
                _ => at += 1,
            }
        }
        let from = &self.0[at..];
        let in_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let (token, rest) = from.split_at(from.iter().position(|byte| !in_number(byte)).unwrap_or(from.len()));
        self.0 = rest;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::value;

    fn lossy(text: &str) -> bool {
        value::parse(text.as_bytes()).unwrap() == Json::Lossy
    }

    #[test]
    fn numbers_that_would_be_rounded_are_lossy() {
        for kept in [
            "0",
            "-0",
            "0.0",
            "1.50",
            "0.1",
            "123456789012345",
            "9007199254740992",
            "1e300",
            "1.5E-10",
            "10000000000000000000000",
            "0.000000000000000000001",
            "-2.50e+3",
            "1000000000000000000000000000000",
        ] {
            assert!(!lossy(kept), "{kept}");
        }
        for rounded in [
            "9007199254740993",
            "12345678901234567890",
            "123456789012345678901234567890",
            "0.1234567890123456789",
            "3.00000000000000000001",
            "1e-400",
            "1.00000000000000000001e5",
            "-123456789012345678901234567890",
            "4.0e-324",
        ] {
            assert!(lossy(rounded), "{rounded}");
        }
    }

    #[test]
    fn numbers_in_strings_and_keys_are_ignored() {
        let text = r#"{"a \" 9007199254740993": [1, "9007199254740993", {"b\\": 9007199254740993}, 2], "c": 0.5}"#;
        let Json::Object(members) = value::parse(text.as_bytes()).unwrap() else { panic!("an object") };
        let Json::Array(items) = &members[0].1 else { panic!("an array") };
        assert!(matches!(items[0], Json::Number(_)) && matches!(items[3], Json::Number(_)));
        let Json::Object(inner) = &items[2] else { panic!("an object") };
        assert_eq!(inner[0].1, Json::Lossy);
        assert!(matches!(members[1].1, Json::Number(_)));
    }

    proptest! {
        #[test]
        fn printed_doubles_are_exact(double in any::<f64>().prop_filter("finite", |double| double.is_finite())) {
            for text in [format!("{double:e}"), double.to_string()] {
                prop_assert!(!lossy(&text), "{}", text);
            }
        }

        #[test]
        fn exact_numbers_survive_a_round_trip(digits in "[1-9][0-9]{0,24}", point in 0usize..25) {
            let at = point.min(digits.len());
            let text = if at == digits.len() || at == 0 { digits } else { format!("{}.{}", &digits[..at], &digits[at..]) };
            if !lossy(&text) {
                let again = format!("{:e}", text.parse::<f64>().unwrap());
                prop_assert_eq!(significant_digits(&again), significant_digits(&text));
            }
        }
    }
}
