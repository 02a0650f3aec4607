//! Pseudonyms of people: one-way, or reversible with a key per person. Those of different purposes cannot be linked without
//! a key.
//!
//! Purposes are texts that the code knows, such as `analytics`, or `export 2026-Q4` for rows that must not be linked between
//! quarters. They are not secret.
//!
//! A reversible pseudonym does not name the key that opens it. A vault keeps the keys, for example under the one-way pseudonym
//! of the same person. When it deletes a person's key, the reversible pseudonyms of that person are one-way as well.

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
    hmac,
};
use data_encoding::BASE32_NOPAD;
use uuid::Uuid;

/// Length of a one-way pseudonym, in characters: 16 bytes in base32.
pub const PSEUDONYM_CHARACTERS: usize = 26;
/// Length of a reversible pseudonym, in characters: 32 bytes in base32, of which 16 authenticate.
pub const SEALED_CHARACTERS: usize = 52;

/// Separate the keys and texts of this module from others that are made with the same keys, and from later versions.
const ONE_WAY: &[u8] = b"baton anonymization one-way pseudonym v1: ";
const REVERSIBLE: &[u8] = b"baton anonymization reversible pseudonym v1: ";

/// Why a pseudonym cannot be made or opened. No variant holds an id or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The cryptographic library failed.
    #[error("the pseudonym cannot be computed")]
    Failed,
    /// The pseudonym was sealed with another key or for another purpose, or was modified.
    #[error("the pseudonym belongs to another person or purpose, or was modified")]
    NotAuthentic,
}

/// The root key, from which the keys of all purposes are derived.
pub struct RootKey(Prk);

impl RootKey {
    /// Uses a configured key of 32 random bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Salt::new(HKDF_SHA256, &[]).extract(key))
    }
}

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootKey")
    }
}

/// The one-way pseudonyms of one purpose.
pub struct Pseudonyms(hmac::Key);

impl Pseudonyms {
    /// Derives the key of a purpose from the root key, by HKDF-SHA-256 (RFC 5869) without salt.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn new(root: &RootKey, purpose: &str) -> Result<Self, Error> {
        let info = [ONE_WAY, purpose.as_bytes()];
        let key = root.0.expand(&info, hmac::HMAC_SHA256).map_err(|_| Error::Failed)?;
        Ok(Self(key.into()))
    }

    /// The pseudonym of a person: the first 16 bytes of HMAC-SHA-256 (RFC 2104) of the id's 16 bytes, as
    /// [`PSEUDONYM_CHARACTERS`] characters of base32 in lower case (`a` to `z` and `2` to `7`). With a million people, two have
    /// the same with a probability below 2^-89.
    pub fn of(&self, person: Uuid) -> String {
        let tag = hmac::sign(&self.0, person.as_bytes());
        encode(&tag.as_ref()[..16])
    }
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

/// A reversible pseudonym of `person`, which [`open`] opens with the same key and purpose: the id sealed by AES-256-GCM-SIV
/// (RFC 8452), as [`SEALED_CHARACTERS`] characters of base32 in lower case. The key belongs to this person alone.
///
/// The pseudonym of a person and a purpose is always the same, so rows can be joined. For that the nonce is constant: with
/// GCM-SIV, a repeated nonce reveals only that two texts and contexts are equal (RFC 8452, section 9). AES-GCM would reveal
/// the texts.
///
/// # Errors
/// [`Error::Failed`].
pub fn seal(person_key: &[u8; 32], purpose: &str, person: Uuid) -> Result<String, Error> {
    let mut sealed = person.as_bytes().to_vec();
    cipher(person_key)?.seal_in_place_append_tag(nonce(), context(purpose), &mut sealed).map_err(|_| Error::Failed)?;
    Ok(encode(&sealed))
}

/// The person of a reversible pseudonym.
///
/// # Errors
/// [`Error::NotAuthentic`] unless [`seal`] made it with this key and purpose. [`Error::Failed`].
pub fn open(person_key: &[u8; 32], purpose: &str, pseudonym: &str) -> Result<Uuid, Error> {
    // One text per pseudonym: capital letters are not accepted.
    let is_canonical = pseudonym.len() == SEALED_CHARACTERS && !pseudonym.bytes().any(|byte| byte.is_ascii_uppercase());
    let decoded = is_canonical.then(|| BASE32_NOPAD.decode(pseudonym.to_ascii_uppercase().as_bytes()));
    let mut sealed = decoded.and_then(Result::ok).ok_or(Error::NotAuthentic)?;
    let opened = cipher(person_key)?.open_in_place(nonce(), context(purpose), &mut sealed);
    Uuid::from_slice(opened.map_err(|_| Error::NotAuthentic)?).map_err(|_| Error::NotAuthentic)
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
    UnboundKey::new(&AES_256_GCM_SIV, key).map(LessSafeKey::new).map_err(|_| Error::Failed)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// The additional authenticated data, of which the whole pseudonym depends: those of two purposes have nothing in common.
fn context(purpose: &str) -> Aad<Vec<u8>> {
    Aad::from([REVERSIBLE, purpose.as_bytes()].concat())
}

fn encode(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pseudonym(root: &[u8; 32], purpose: &str, person: u128) -> String {
        Pseudonyms::new(&RootKey::new(root), purpose).unwrap().of(Uuid::from_u128(person))
    }

    proptest! {
        #[test]
        fn pseudonyms_are_stable_and_differ_by_person_purpose_and_root(root: [u8; 32], other: [u8; 32], person: u128) {
            let made = pseudonym(&root, "analytics", person);
            prop_assert_eq!(made.len(), PSEUDONYM_CHARACTERS);
            prop_assert!(made.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')));
            prop_assert_eq!(&made, &pseudonym(&root, "analytics", person));
            prop_assert_ne!(&made, &pseudonym(&root, "export", person));
            prop_assert_ne!(&made, &pseudonym(&root, "analytics", person ^ 1));
            prop_assume!(root != other);
            prop_assert_ne!(&made, &pseudonym(&other, "analytics", person));
        }

        #[test]
        fn sealed_pseudonym_opens_only_with_its_key_and_purpose(
            key: [u8; 32],
            person: u128,
            purpose: String,
            place in 0..SEALED_CHARACTERS,
        ) {
            let person = Uuid::from_u128(person);
            let sealed = seal(&key, &purpose, person).unwrap();
            prop_assert_eq!(sealed.len(), SEALED_CHARACTERS);
            prop_assert_eq!(&sealed, &seal(&key, &purpose, person).unwrap());
            prop_assert_eq!(open(&key, &purpose, &sealed), Ok(person));
            let mut other = key;
            other[0] ^= 1;
            prop_assert_eq!(open(&other, &purpose, &sealed), Err(Error::NotAuthentic));
            prop_assert_eq!(open(&key, &format!("{purpose}."), &sealed), Err(Error::NotAuthentic));
            let mut changed = sealed.clone().into_bytes();
            changed[place] = if changed[place] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(open(&key, &purpose, &changed), Err(Error::NotAuthentic));
            prop_assert_eq!(open(&key, &purpose, &sealed.to_ascii_uppercase()), Err(Error::NotAuthentic));
        }

        #[test]
        fn arbitrary_text_does_not_open(text in prop_oneof![any::<String>(), "[a-z2-7]{52}"]) {
            prop_assert_eq!(open(&[1; 32], "analytics", &text), Err(Error::NotAuthentic));
        }

        #[test]
        fn sealed_pseudonyms_of_two_purposes_share_no_block(key: [u8; 32], person: u128) {
            let sealed = |purpose| {
                let sealed = seal(&key, purpose, Uuid::from_u128(person)).unwrap();
                BASE32_NOPAD.decode(sealed.to_ascii_uppercase().as_bytes()).unwrap()
            };
            let (analytics, export) = (sealed("analytics"), sealed("export"));
            prop_assert!(analytics[..16] != export[..16] && analytics[16..] != export[16..]);
        }
    }

    #[test]
    fn debug_output_shows_no_key() {
        let root = RootKey::new(&[1; 32]);
        assert_eq!(format!("{root:?} {:?}", Pseudonyms::new(&root, "a")), "RootKey Ok(Pseudonyms)");
    }

    /// The expected texts are from Python: `hmac` of its standard library, and `AESGCMSIV` of `cryptography` 48.
    #[test]
    fn pseudonyms_are_those_of_another_implementation() {
        let key: [u8; 32] = std::array::from_fn(|index| index as u8);
        let person = 0x0190_0000_0000_7000_8000_0000_0000_002a;
        assert_eq!(pseudonym(&key, "analytics", person), "or6ycnzexln7nk7bqpuj3wgr3a");
        assert_eq!(
            seal(&key, "analytics", Uuid::from_u128(person)).as_deref(),
            Ok("t4hrduxcq7hfpt4n6yuq2sfigeqgcpxsmeywonimwuk5jvnogw6q")
        );
    }
}
