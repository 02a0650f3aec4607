//! Payment cards: the issuer's prefix and length, and the Luhn checksum (ISO/IEC 7812-1).

use crate::{Entity, Found, number::Run};

/// Groups of a card's number, at most: nineteen digits in fours are five.
const MAX_GROUPS: usize = 6;

/// Adds the cards of a text.
pub(crate) fn find(text: &str, runs: &[Run], found: &mut Vec<Found>) {
    for run in runs {
        let mut first = 0;
        while first < run.groups.len() {
            let last = first + MAX_GROUPS.min(run.groups.len() - first);
            // The longest first.
            let count = (first + 1..=last).rev().find(|&end| is_card(text, &run.groups[first..end]));
            if let Some(end) = count {
                found.push(Found::new(run.groups[first].start..run.groups[end - 1].end, Entity::Card));
                first = end;
            } else {
                first += 1;
            }
        }
    }
}

/// Whether the groups together are a card.
fn is_card(text: &str, groups: &[std::ops::Range<usize>]) -> bool {
    let length: usize = groups.iter().map(ExactSizeIterator::len).sum();
    if !(12..=19).contains(&length) {
        return false;
    }
    // Between all groups stands the same space or hyphen.
    let mut separators = groups.windows(2).map(|pair| &text[pair[0].end..pair[1].start]);
    let separator = separators.next().unwrap_or(" ");
    if !matches!(separator, " " | "-" | "\u{a0}" | "\u{202f}" | "\u{2011}")
        || !separators.all(|other| other == separator)
    {
        return false;
    }
    // Groups of one or two digits are parts of dates and of phone numbers.
    if groups.len() > 1 && groups.iter().any(|group| group.len() < 3) {
        return false;
    }
    let digits: Vec<u32> =
        groups.iter().flat_map(|group| text[group.clone()].bytes()).map(|byte| u32::from(byte - b'0')).collect();
    has_issuer(&digits) && luhn(&digits)
}

/// Whether an issuer has numbers with this beginning and of this length.
fn has_issuer(digits: &[u32]) -> bool {
    let prefix = |len: usize| digits[..len].iter().fold(0, |number, digit| number * 10 + digit);
    let length = digits.len();
    match (prefix(1), prefix(2), prefix(3), prefix(4)) {
        // Visa.
        (4, ..) => matches!(length, 13 | 16 | 18 | 19),
        // American Express.
        (_, 34 | 37, ..) => length == 15,
        // Diners Club.
        (_, 36 | 38 | 39, ..) | (_, _, 300..=305 | 309, _) => (14..=19).contains(&length),
        // JCB, which has 3528 to 3589; generators of test data use all that begins with 35.
        (_, 35, ..) => (16..=19).contains(&length),
        (.., 1800 | 2131) => length == 15,
        // Mastercard, Mir, Troy.
        (_, 51..=55, ..) | (.., 2200..=2204 | 2221..=2720 | 9792) => length == 16,
        // Maestro, Discover, UnionPay, RuPay.
        (6, ..) | (_, 50 | 56..=58, ..) | (.., 604) => true,
        (_, 81 | 82, ..) => (16..=19).contains(&length),
        _ => false,
    }
}

/// The checksum of ISO/IEC 7812-1.
fn luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u32 =
        digits.iter().rev().enumerate().map(|(at, &digit)| if at % 2 == 1 { doubled(digit) } else { digit }).sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::runs;

    fn all(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        find(text, &runs(text), &mut found);
        found.into_iter().map(|found| &text[found.start..found.end]).collect()
    }

    #[test]
    fn cards_of_all_issuers_are_found() {
        for card in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4222222222222",
            "378282246310005",
            "3782 822463 10005",
            "30569309025904",
            "6011111111111117",
            "3530111333300000",
            "5555555555554444",
            "2223003122003222",
            "180092617964050",
            "587662702899",
            "6304000000000000",
            "060447724364",
        ] {
            assert_eq!(all(card), [card]);
            assert_eq!(all(&format!("12 {card}, 7/26")), [card]);
            assert_eq!(all(&format!("{card} 123")), [card]);
        }
    }

    #[test]
    fn other_numbers_are_not_found() {
        for text in
            ["4111111111111112", "1764461452123", "0000000000000000", "41111111111111111111111", "4111 11-11 1111"]
        {
            assert_eq!(all(text), [""; 0]);
        }
    }
}
