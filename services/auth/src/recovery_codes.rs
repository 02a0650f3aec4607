//! Recovery codes: one-time codes for users who have lost their authenticator app.

use baton_runtime::random;
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// Codes per user.
const CODE_COUNT: usize = 10;
/// 120 random bits. From 112 bits on, a plain hash is enough at rest (ASVS 5.0, 6.5.2).
const CODE_BYTES: usize = 15;
/// Characters of a code, without hyphens.
const CODE_LEN: usize = 24;
const GROUP_LEN: usize = 4;

/// Generates ten codes: as shown to the user, and their hashes.
pub(crate) fn generate() -> (Vec<String>, Vec<Vec<u8>>) {
    (0..CODE_COUNT)
        .map(|_| {
            let code = BASE32_NOPAD.encode(&random::bytes::<CODE_BYTES>()).to_lowercase();
            let hash = hash(&code);
            (with_hyphens(&code), hash)
        })
        .unzip()
}

/// Returns the hash of a typed code; `None` when it is not a recovery code. Case, spaces and hyphens are ignored.
pub(crate) fn parse(text: &str) -> Option<Vec<u8>> {
    let code: String =
        text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let known = |b: u8| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b);
    (code.len() == CODE_LEN && code.bytes().all(known)).then(|| hash(&code))
}

fn with_hyphens(code: &str) -> String {
    let mut shown = String::with_capacity(CODE_LEN + CODE_LEN / GROUP_LEN);
    for (index, character) in code.chars().enumerate() {
        if index > 0 && index % GROUP_LEN == 0 {
            shown.push('-');
        }
        shown.push(character);
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
    fn ten_distinct_codes_parse_in_any_spelling() {
        let (shown, stored) = generate();
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
    fn totp_codes_and_malformed_texts_are_refused() {
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
        fn parse_never_panics(text in ".*") {
            prop_assert!(parse(&text).is_none_or(|hash| hash.len() == 32));
        }
    }
}
