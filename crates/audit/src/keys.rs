//! The keys that sign checkpoints.

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_merkle::{Checkpoint, Hash, Signer, Verifier};
use baton_runtime::Secret;
use uuid::Uuid;

/// The keys of a service's checkpoints: the first one signs, all are published.
#[derive(Debug)]
pub struct LogKeys {
    name: String,
    signers: Vec<Signer>,
}

impl LogKeys {
    /// Uses `keys`, separated by commas: seeds of 32 random bytes in base64. `name` is the name of the keys, and what the
    /// origins of the logs begin with: `example.com/activity`.
    ///
    /// # Errors
    /// If there is no key, one does not have that form, or the name cannot be one.
    pub fn new(name: &str, keys: &Secret) -> anyhow::Result<Self> {
        let keys = keys.expose().split(',').map(str::trim).filter(|key| !key.is_empty());
        let signer = |key: &str| {
            let seed = STANDARD.decode(key).ok().and_then(|seed| <[u8; 32]>::try_from(seed).ok());
            let seed = seed.context("a key must be 32 bytes in base64")?;
            Ok(Signer::from_seed(name, &seed)?)
        };
        let signers = keys.map(signer).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!signers.is_empty(), "there is no key");
        Ok(Self { name: name.to_owned(), signers })
    }

    /// The origin of a log, by which its checkpoints are told from those of others.
    pub fn origin(&self, log: Uuid) -> String {
        format!("{}/{log}", self.name)
    }

    /// The public keys in the form of Go's `sumdb/note`; the first one signs.
    pub fn verifiers(&self) -> impl Iterator<Item = &Verifier> {
        self.signers.iter().map(Signer::verifier)
    }

    /// The signed checkpoint of a log.
    ///
    /// # Errors
    /// If the log cannot have one.
    pub(crate) fn checkpoint(&self, log: Uuid, size: u64, root: Hash) -> anyhow::Result<String> {
        let signer = self.signers.first().context("there is no key")?;
        Ok(Checkpoint::new(&self.origin(log), size, root)?.sign(signer).to_string())
    }
}
