//! Checkpoints (C2SP tlog-checkpoint): size and root of a tree, as the text of a signed note.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Hash, NoteError, SignedNote, Signer, Verifier, key::is_forbidden};

/// A checkpoint that cannot be read, or not be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note is malformed, or not signed by a known key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Origin and extension lines must not be empty or have line breaks or control characters.
    #[error("a line of a checkpoint must not be empty or contain control characters")]
    Line,
    /// There are not three lines, each with a newline at its end.
    #[error("a checkpoint must have lines for origin, size and root")]
    Format,
    /// The second line is not a decimal number of 64 bits without leading zeros.
    #[error("a checkpoint's size must be a decimal number without leading zeros")]
    Size,
    /// The third line is not the base64 of a SHA-256 hash.
    #[error("a checkpoint's root must be the base64 of 32 bytes")]
    Root,
    /// The checkpoint is of another log.
    #[error("the checkpoint is of the log {0}")]
    OtherOrigin(String),
}

/// The state of a log at some size. Its text:
///
/// ```text
/// baton.example/accounts/0190c8f2
/// 20852163
/// CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
/// ```
///
/// [`fmt::Display`] writes the text, and [`FromStr`] reads it, without signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// The state of the log that `origin` names: by the specification, a URL without scheme, spaces and `+`.
    ///
    /// # Errors
    /// [`CheckpointError::Line`] if the origin is empty, or has a line break or control character.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        check_line(origin)?;
        Ok(Self { origin: origin.to_owned(), size, root, extensions: Vec::new() })
    }

    /// Adds an extension line. The specification recommends to use none.
    ///
    /// # Errors
    /// [`CheckpointError::Line`] if it is empty, or has a line break or control character.
    pub fn with_extension(mut self, line: &str) -> Result<Self, CheckpointError> {
        check_line(line)?;
        self.extensions.push(line.to_owned());
        Ok(self)
    }

    /// The log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root hash of the tree of this size.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The extension lines, in order.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// Signs the checkpoint. A log must never sign two checkpoints without a consistency proof between them.
    pub fn sign(&self, signer: &Signer) -> SignedNote {
        SignedNote::sign_valid(self.to_string(), signer)
    }

    /// The checkpoint in a signed note, if it is of the log `origin` and signed by one of the known keys.
    ///
    /// The origin is compared because one key may sign the checkpoints of several logs.
    ///
    /// # Errors
    /// If the note or its text is malformed, the signature of a known key is wrong, no known key has signed, or the
    /// checkpoint is of another log.
    pub fn open(note: &str, origin: &str, known: &[Verifier]) -> Result<Self, CheckpointError> {
        let note: SignedNote = note.parse()?;
        let checkpoint: Self = note.verify(known)?.parse()?;
        if checkpoint.origin == origin { Ok(checkpoint) } else { Err(CheckpointError::OtherOrigin(checkpoint.origin)) }
    }
}

fn check_line(line: &str) -> Result<(), CheckpointError> {
    let valid = !line.is_empty() && !line.contains(|c| c == '\n' || is_forbidden(c));
    if valid { Ok(()) } else { Err(CheckpointError::Line) }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Format)?.split('\n');
        let mut next = || lines.next().ok_or(CheckpointError::Format);
        let (origin, size, root) = (next()?, next()?, next()?);
        let checkpoint = Self::new(origin, parse_size(size)?, parse_root(root)?)?;
        lines.try_fold(checkpoint, Self::with_extension)
    }
}

fn parse_size(text: &str) -> Result<u64, CheckpointError> {
    let size: u64 = text.parse().map_err(|_| CheckpointError::Size)?;
    // The parser also accepts `+1` and `01`.
    if size.to_string() == text { Ok(size) } else { Err(CheckpointError::Size) }
}

fn parse_root(text: &str) -> Result<Hash, CheckpointError> {
    let root = STANDARD.decode(text).map_err(|_| CheckpointError::Root)?;
    root.try_into().map_err(|_| CheckpointError::Root)
}
