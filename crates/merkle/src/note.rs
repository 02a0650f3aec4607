//! Signed notes (C2SP signed-note): a text with signatures below it.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    Signer, Verifier,
    key::{is_forbidden, is_key_name},
};

/// Begins a signature line: an em dash and a space.
const SIGNATURE_PREFIX: &str = "— ";
/// Most signatures of a note, as in Go's `sumdb/note`. The specification requires at least 16.
const MAX_SIGNATURES: usize = 100;
/// Length of a key id.
const KEY_ID_BYTES: usize = 4;

/// A note that cannot be read, or is not signed by a known key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text does not end with a newline, or has a control character.
    #[error("a note's text must end with a newline and have no control characters")]
    Text,
    /// There is no empty line with signature lines after it.
    #[error("a note must end with an empty line and signature lines")]
    Format,
    /// A signature line does not have the form `— name base64`.
    #[error("a signature line must have the form: — name base64")]
    SignatureLine,
    /// There are more than 100 signatures.
    #[error("a note must not have more than 100 signatures")]
    TooManySignatures,
    /// A signature of a known key is wrong: the text was changed, or the signature.
    #[error("the signature of {0} is wrong")]
    InvalidSignature(String),
    /// No known key has signed.
    #[error("the note is not signed by a known key")]
    Unsigned,
}

/// A signature of a note, verified or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Name of the key.
    pub name: String,
    /// Id of the key.
    pub key_id: u32,
    /// The signature without the key id.
    pub bytes: Vec<u8>,
}

/// A text with signatures, which were not verified yet.
///
/// [`fmt::Display`] writes the encoded note, and [`FromStr`] reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

impl SignedNote {
    /// Signs a text, which ends with a newline.
    ///
    /// # Errors
    /// [`NoteError::Text`].
    pub fn sign(text: &str, signer: &Signer) -> Result<Self, NoteError> {
        if !is_note_text(text) {
            return Err(NoteError::Text);
        }
        Ok(Self::sign_valid(text.to_owned(), signer))
    }

    /// Signs what is the text of a note.
    pub(crate) fn sign_valid(text: String, signer: &Signer) -> Self {
        let mut note = Self { text, signatures: Vec::new() };
        note.push_signature(signer);
        note
    }

    /// Adds the signature of another key. It replaces one of the same key.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`].
    pub fn add_signature(&mut self, signer: &Signer) -> Result<(), NoteError> {
        let verifier = signer.verifier();
        self.signatures.retain(|signature| !is_by(signature, verifier));
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        self.push_signature(signer);
        Ok(())
    }

    fn push_signature(&mut self, signer: &Signer) {
        let (name, key_id) = (signer.verifier().name().to_owned(), signer.verifier().id());
        self.signatures.push(Signature { name, key_id, bytes: signer.sign(&self.text) });
    }

    /// The signatures, in order.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The text, including its last newline, if one of the known keys has signed it. Signatures of unknown keys are
    /// ignored.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`], or [`NoteError::InvalidSignature`] if any signature of a known key is wrong.
    pub fn verify(&self, known: &[Verifier]) -> Result<&str, NoteError> {
        let mut verified = false;
        for signature in &self.signatures {
            for verifier in known.iter().filter(|verifier| is_by(signature, verifier)) {
                if !verifier.verifies(&self.text, &signature.bytes) {
                    return Err(NoteError::InvalidSignature(signature.name.clone()));
                }
                verified = true;
            }
        }
        if verified { Ok(&self.text) } else { Err(NoteError::Unsigned) }
    }
}

/// Whether a signature claims to be by this key. Name and id together identify a key.
fn is_by(signature: &Signature, verifier: &Verifier) -> bool {
    signature.name == verifier.name() && signature.key_id == verifier.id()
}

fn is_note_text(text: &str) -> bool {
    text.ends_with('\n') && !text.contains(is_forbidden)
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            let mut bytes = signature.key_id.to_be_bytes().to_vec();
            bytes.extend(&signature.bytes);
            writeln!(f, "{SIGNATURE_PREFIX}{} {}", signature.name, STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

impl FromStr for SignedNote {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        // The text may have empty lines; the last one separates it from the signatures.
        let end = note.rfind("\n\n").ok_or(NoteError::Format)?;
        let (text, lines) = note.split_at(end + 1);
        if !is_note_text(text) {
            return Err(NoteError::Text);
        }
        let lines = lines.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n')).ok_or(NoteError::Format)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(parse_signature(line).ok_or(NoteError::SignatureLine)?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }
}

fn parse_signature(line: &str) -> Option<Signature> {
    let (name, signature) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    let bytes = STANDARD.decode(signature).ok()?;
    let (key_id, bytes) = bytes.split_first_chunk::<KEY_ID_BYTES>()?;
    let valid = is_key_name(name) && !bytes.is_empty();
    valid.then(|| Signature { name: name.to_owned(), key_id: u32::from_be_bytes(*key_id), bytes: bytes.to_vec() })
}
