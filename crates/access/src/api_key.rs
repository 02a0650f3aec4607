//! API keys as text: `bat_`, 40 random letters and digits, and a checksum of six. The beginning and the
//! checksum let secret scanners recognise a leaked key (`bat_[0-9A-Za-z]{46}`), and let a service refuse a
//! mistyped one without asking anybody.

use rand::{Rng, distr::Alphanumeric};
use sha2::{Digest, Sha256};
use tonic::metadata::{Ascii, MetadataValue};

const BEGINNING: &str = "bat_";
const RANDOM: usize = 40;
const CHECKSUM: usize = 6;
/// How much of a key is shown to recognise it by.
const SHOWN: usize = 12;

/// A key that has the form of one of ours.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// A new key, of 238 random bits.
    pub fn new() -> Self {
        let random: String = rand::rng().sample_iter(Alphanumeric).take(RANDOM).map(char::from).collect();
        let text = format!("{BEGINNING}{random}");
        let checksum = checksum(&text);
        Self(text + &checksum)
    }

    /// Whether a bearer token is meant as an API key.
    pub fn is_meant(bearer: &str) -> bool {
        bearer.starts_with(BEGINNING)
    }

    /// The key, if its form and checksum hold.
    pub fn parse(text: &str) -> Option<Self> {
        let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM)?)?;
        let random = body.strip_prefix(BEGINNING)?;
        let fits = random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric());
        (fits && checksum(body) == sum).then(|| Self(text.to_owned()))
    }

    /// The key itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// How it begins.
    pub fn prefix(&self) -> &str {
        &self.0[..SHOWN]
    }

    /// What is stored of it. It has 238 random bits, so a fast hash is enough.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

impl Default for ApiKey {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ApiKey").field(&self.prefix()).finish()
    }
}

/// A key as a call presented it.
#[derive(Debug, Clone)]
pub struct PresentedKey {
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// The `Authorization` value, to ask auth with.
    pub authorization: MetadataValue<Ascii>,
}

/// CRC-32 in base 62, padded to six digits.
fn checksum(text: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32(text.as_bytes());
    let mut digits = [DIGITS[0]; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|&digit| char::from(digit)).collect()
}

/// CRC-32 (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn a_key_with_another_character_is_none(place in 0_usize..50, other in "[0-9A-Za-z]") {
            let key = ApiKey::new();
            prop_assert!(ApiKey::parse(key.expose()).is_some());
            let mut typo = key.expose().to_owned();
            typo.replace_range(place..=place, &other);
            prop_assert!(typo == key.expose() || ApiKey::parse(&typo).is_none());
        }

        #[test]
        fn nothing_else_is_a_key(text: String) {
            prop_assert!(ApiKey::parse(&text).is_none());
        }
    }

    #[test]
    fn it_is_not_printed() {
        let key = ApiKey::new();
        assert_eq!((key.expose().len(), key.prefix().len()), (50, 12));
        assert!(!format!("{key:?}").contains(key.expose()));
        assert!(ApiKey::parse(&format!("{}é", &key.expose()[..49])).is_none());
    }
}
