//! Ed25519 keys of signed notes.

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

/// Signature type of Ed25519 (C2SP signed-note, "Signature types").
const ED25519_TYPE: u8 = 0x01;
/// Length of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name is empty, or has a space, a control character or `+`.
    #[error("a key's name must not be empty or contain spaces, control characters or +")]
    Name,
    /// The seed is not one of Ed25519.
    #[error("the seed does not fit Ed25519")]
    Seed,
    /// The text does not have the form `name+hash+base64`.
    #[error("a verifier key must have the form name+hash+base64")]
    Format,
    /// The key is not one of Ed25519.
    #[error("the key's type is unknown: only Ed25519 is supported")]
    Algorithm,
    /// The hash is not that of name and key.
    #[error("the hash does not belong to the name and the key")]
    Hash,
}

/// Whether the text can be the name of a key: not empty, without Unicode spaces and `+` (C2SP signed-note). Control
/// characters are refused too, because no note may contain them.
pub(crate) fn is_key_name(name: &str) -> bool {
    let allowed = |c: char| !c.is_whitespace() && c != '+' && !is_forbidden(c);
    !name.is_empty() && name.chars().all(allowed)
}

/// ASCII control characters other than newline, which a note must not contain (C2SP signed-note, "Format").
pub(crate) fn is_forbidden(c: char) -> bool {
    c < ' ' && c != '\n'
}

/// A named private key, which signs notes.
///
/// Name and id of the key are part of each signature, so verifiers of one log do not accept signatures of another that has
/// the same seed and a different name. By C2SP tlog-checkpoint, the name should be the log's origin.
pub struct Signer {
    key: Ed25519KeyPair,
    verifier: Verifier,
}

impl Signer {
    /// The key pair of a seed (RFC 8032, section 5.1.5): 32 random bytes.
    ///
    /// # Errors
    /// [`KeyError::Name`], or [`KeyError::Seed`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Seed)?;
        let public_key = key.public_key().as_ref().try_into().map_err(|_| KeyError::Seed)?;
        Ok(Self { key, verifier: Verifier::new(name, public_key)? })
    }

    /// The public key.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    pub(crate) fn sign(&self, text: &str) -> Vec<u8> {
        self.key.sign(text.as_bytes()).as_ref().to_vec()
    }
}

impl fmt::Debug for Signer {
    /// Without the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.verifier).finish()
    }
}

/// A named public key, which verifies notes.
///
/// Its text is a verifier key as Go's `golang.org/x/mod/sumdb/note` prints it: `name+hash+base64(0x01 || key)`, with the
/// key id as eight lower-case hexadecimal digits. [`FromStr`] accepts this form only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: u32,
    public_key: [u8; PUBLIC_KEY_BYTES],
}

impl Verifier {
    /// A public key (RFC 8032, section 5.1.5) with its name.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: &str, public_key: [u8; 32]) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519_TYPE]).chain_update(public_key);
        let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
        Ok(Self { name: name.to_owned(), id: u32::from_be_bytes([a, b, c, d]), public_key })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id: the first four bytes of `SHA-256(name || 0x0A || 0x01 || public key)`, big-endian.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The public key (RFC 8032, section 5.1.5).
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    pub(crate) fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public_key).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519_TYPE];
        key.extend(self.public_key);
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(key))
    }
}

impl FromStr for Verifier {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Format)?;
        let (hash, key) = rest.split_once('+').ok_or(KeyError::Format)?;
        let key = STANDARD.decode(key).map_err(|_| KeyError::Format)?;
        let (kind, key) = key.split_first().ok_or(KeyError::Format)?;
        if *kind != ED25519_TYPE {
            return Err(KeyError::Algorithm);
        }
        let verifier = Self::new(name, key.try_into().map_err(|_| KeyError::Format)?)?;
        if hash != format!("{:08x}", verifier.id) {
            return Err(KeyError::Hash);
        }
        Ok(verifier)
    }
}
