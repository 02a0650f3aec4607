//! API keys as text: `bat_`, 40 random letters and digits, and a checksum of six. Prefix and checksum let secret
//! scanners recognize a leaked key (`bat_[0-9A-Za-z]{46}`), and let a service refuse a mistyped key without a look-up.

use baton_runtime::random;
use sha2::{Digest, Sha256};
use tonic::metadata::{Ascii, MetadataValue};

const PREFIX: &str = "bat_";
const RANDOM_LEN: usize = 40;
const CHECKSUM_LEN: usize = 6;
/// Characters of a key that are displayed to recognize it.
const PREFIX_LEN: usize = 12;

/// A well-formed API key.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Generates a key with 238 random bits.
    pub fn new() -> Self {
        let random = random::alphanumeric(RANDOM_LEN);
        let text = format!("{PREFIX}{random}");
        let checksum = checksum(&text);
        Self(text + &checksum)
    }

    /// Whether a bearer token has the prefix of an API key.
    pub fn is_meant(bearer: &str) -> bool {
        bearer.starts_with(PREFIX)
    }

    /// Parses a key, and verifies its form and checksum.
    pub fn parse(text: &str) -> Option<Self> {
        let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM_LEN)?)?;
        let random = body.strip_prefix(PREFIX)?;
        let fits = random.len() == RANDOM_LEN && random.bytes().all(|b| b.is_ascii_alphanumeric());
        (fits && checksum(body) == sum).then(|| Self(text.to_owned()))
    }

    /// The key itself, for the only response that contains it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The first characters, for display.
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX_LEN]
    }

    /// The hash that is stored. The key has 238 random bits, so a fast hash is enough.
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

/// The key of a call.
#[derive(Debug, Clone)]
pub struct PresentedKey {
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// The `Authorization` value, for the look-up at auth.
    pub authorization: MetadataValue<Ascii>,
}

/// CRC-32 in base 62, padded to six digits.
fn checksum(text: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32(text.as_bytes());
    let mut digits = [DIGITS[0]; CHECKSUM_LEN];
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
    fn checksum_is_crc32() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn mistyped_key_is_refused(place in 0_usize..50, other in "[0-9A-Za-z]") {
            let key = ApiKey::new();
            prop_assert!(ApiKey::parse(key.expose()).is_some());
            let mut typo = key.expose().to_owned();
            typo.replace_range(place..=place, &other);
            prop_assert!(typo == key.expose() || ApiKey::parse(&typo).is_none());
        }

        #[test]
        fn arbitrary_text_is_not_a_key(text: String) {
            prop_assert!(ApiKey::parse(&text).is_none());
        }
    }

    #[test]
    fn debug_output_hides_the_key() {
        let key = ApiKey::new();
        assert_eq!((key.expose().len(), key.prefix().len()), (50, 12));
        assert!(!format!("{key:?}").contains(key.expose()));
        assert!(ApiKey::parse(&format!("{}é", &key.expose()[..49])).is_none());
    }
}
