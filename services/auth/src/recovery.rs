//! Recovery codes: what opens the second factor's door when the authenticator app is lost.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// Codes that a person has at a time.
const CODES: usize = 10;
/// 120 random bits: from 112 on a plain hash is enough at rest (ASVS 5.0, 6.5.2), and nobody guesses one.
const BYTES: usize = 15;
/// Letters and digits of a code.
const LENGTH: usize = 24;
const GROUP: usize = 4;

/// Ten new codes as they are shown, and what is stored of them.
pub(crate) fn new_codes() -> (Vec<String>, Vec<Vec<u8>>) {
    (0..CODES)
        .map(|_| {
            let code = BASE32_NOPAD.encode(&rand::random::<[u8; BYTES]>()).to_lowercase();
            let hash = hash(&code);
            (grouped(&code), hash)
        })
        .unzip()
}

/// What is stored of the code that a person typed; `None` when it is no recovery code. Case, spaces and hyphens do
/// not matter.
pub(crate) fn parse(text: &str) -> Option<Vec<u8>> {
    let code: String =
        text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let known = |b: u8| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b);
    (code.len() == LENGTH && code.bytes().all(known)).then(|| hash(&code))
}

fn grouped(code: &str) -> String {
    let mut shown = String::with_capacity(LENGTH + LENGTH / GROUP);
    for (index, letter) in code.chars().enumerate() {
        if index > 0 && index % GROUP == 0 {
            shown.push('-');
        }
        shown.push(letter);
    }
    shown
}

fn hash(code: &str) -> Vec<u8> {
    Sha256::digest(code).to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_codes_that_differ_are_recognised_however_they_are_typed() {
        let (shown, stored) = new_codes();
        assert_eq!(shown.iter().collect::<HashSet<_>>().len(), 10);
        for (shown, stored) in shown.iter().zip(&stored) {
            assert_eq!(shown.len(), 29, "{shown}");
            let spaced = format!(" {} ", shown.replace('-', " ").to_uppercase());
            for typed in [shown.clone(), shown.replace('-', ""), spaced] {
                assert_eq!(parse(&typed).as_ref(), Some(stored), "{typed}");
            }
        }
    }

    #[test]
    fn totp_codes_and_nonsense_are_no_recovery_codes() {
        for text in [
            "",
            "123456",
            "abcd-efgh-ijkl-mnop-qrst-uvw",
            "abcd-efgh-ijkl-mnop-qrst-uvw1",
            "äbcd-efgh-ijkl-mnop-qrst-uv",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_breaks_it(text in ".*") {
            prop_assert!(parse(&text).is_none_or(|hash| hash.len() == 32));
        }
    }
}
