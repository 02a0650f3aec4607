//! Phone numbers.

use crate::Problem;

const FORM: Problem =
    Problem::new("must be an international phone number, such as +49 170 1234567: a plus sign, then 7 to 15 digits");
const TRUNK: Problem = Problem::new(
    "must not have a 0 in brackets: write the number as it is dialled from abroad, such as +49 170 1234567",
);

/// The number in E.164 format: a plus sign and up to 15 digits.
///
/// Spaces and the visual separators of RFC 3966 (`-`, `.`, brackets) are removed. Brackets around digits that begin
/// with 0 are rejected. They contain the trunk prefix, which some countries drop in international numbers and some
/// (Italy) do not, and dropping it wrongly yields another number. Slashes are rejected because in some countries they
/// separate two numbers, and letters because they begin an extension.
///
/// # Errors
/// If it is not such a number.
pub fn parse(given: &str) -> Result<String, Problem> {
    let mut number = String::with_capacity(16);
    let mut open = false;
    let mut before = None;
    for c in given.trim().chars() {
        match c {
            '+' if number.is_empty() && before.is_none() => number.push('+'),
            '0' if before == Some('(') => return Err(TRUNK),
            '0'..='9' if number.starts_with('+') && number.len() < 16 => number.push(c),
            '(' if !open && number.len() > 1 => open = true,
            ')' if open && before != Some('(') => open = false,
            ' ' | '\u{a0}' | '\u{202f}' | '-' | '.' if number.len() > 1 => {}
            _ => return Err(FORM),
        }
        // `( 0)` is `(0)`.
        if before != Some('(') || !matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '-' | '.') {
            before = Some(c);
        }
    }
    if open || !(8..=16).contains(&number.len()) || number.starts_with("+0") {
        return Err(FORM);
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_normalized_to_e164() {
        for (given, number) in [
            ("+491701234567", "+491701234567"),
            (" +49 (170) 123-45.67 ", "+491701234567"),
            ("+1 650-253-0000", "+16502530000"),
            ("+39\u{a0}06 698 82000", "+390669882000"),
        ] {
            assert_eq!(parse(given).as_deref(), Ok(number));
        }
    }

    #[test]
    fn ambiguous_numbers_are_rejected() {
        for bad in [
            "",
            "+",
            "0170 1234567",
            "0049 170 1234567",
            "+49 (0)170 1234567",
            "+49 ( 0 ) 170 1234567",
            "+49(0170)1234567",
            "+0170 1234567",
            "+49 170/1234567",
            "+49 170 1234567 ext. 8",
            "+49 170 1234567x8",
            "+49 170 1234567;ext=8",
            "+1 800 FLOWERS",
            "++491701234567",
            "+49+1701234567",
            "+49 (170 1234567",
            "+49 170) 1234567",
            "+49 () 170 1234567",
            "+4917012345678901",
            "+12345",
            "+４９ 170 1234567",
            "+٤٩ 170 1234567",
            "+49 170 1234567\n+49 170 7654321",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsed_number_keeps_its_digits(given in "[+0-9 ().\\-/a-z]{0,24}") {
            if let Ok(number) = parse(&given) {
                let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
                prop_assert_eq!(digits(&given), digits(&number));
                prop_assert_eq!(parse(&number), Ok(number.clone()));
            }
        }
    }
}
