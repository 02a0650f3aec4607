//! Pseudonyms of people, for services that publish figures or train models.
//!
//! A one-way pseudonym is an HMAC with a key of the purpose. A reversible one is the person's id, sealed with the person's key
//! for the purpose; the vault has that key, and notes whose pseudonym it is. An erasure destroys both, so nobody opens it
//! afterwards.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_anonymization::pseudonym::{Pseudonyms, RootKey, open, seal};
use baton_errors::{Error, Reason, Result};
use baton_runtime::Secret;
use baton_vault::Vault;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use crate::{convert::hexadecimal, purpose::PURPOSES};

/// Requests to the vault at a time.
const MAX_IN_FLIGHT: usize = 16;

/// Makes and opens pseudonyms. Clones share the keys.
#[derive(Clone)]
pub(crate) struct Names {
    root: Arc<RootKey>,
    vault: Vault,
}

impl Names {
    /// Uses a key of 32 bytes in base64.
    ///
    /// # Errors
    /// If it does not have that form.
    pub(crate) fn new(key: &Secret, vault: Vault) -> anyhow::Result<Self> {
        let key = STANDARD.decode(key.expose().trim()).ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
        let key = key.ok_or_else(|| anyhow::anyhow!("BATON_PRIVACY_PSEUDONYM_KEY must be 32 bytes in base64"))?;
        Ok(Self { root: Arc::new(RootKey::new(&key)), vault })
    }

    /// The one-way pseudonyms of people.
    pub(crate) fn one_way(&self, purpose: &str, people: &[Uuid]) -> Result<Vec<String>> {
        let names = Pseudonyms::new(&self.root, purpose).map_err(Error::internal)?;
        Ok(people.iter().map(|&person| names.of(person)).collect())
    }

    /// The reversible pseudonyms of people; empty for one whose erasure was faster.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn reversible(&self, purpose: &str, people: Vec<Uuid>) -> Result<Vec<String>> {
        let names = stream::iter(people).map(|person| async move {
            let key = self.vault.key(person).await?;
            let name = seal(key.expose(), purpose, person).map_err(Error::internal)?;
            let noted = hexadecimal(&hash(&name));
            self.vault.note_pseudonym(&noted, person).await?;
            if self.vault.existing_key(person).await?.is_none() {
                // An erasure was faster.
                self.vault.forget_pseudonym(&noted).await?;
                return Ok(String::new());
            }
            Ok::<_, Error>(name)
        });
        names.buffered(MAX_IN_FLIGHT).try_collect().await
    }

    /// Whose pseudonym for this purpose it is; `None` if nobody's, any more.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn open(&self, purpose: &str, name: &str) -> Result<Option<Uuid>> {
        let Some(person) = self.vault.whose_pseudonym(&hexadecimal(&hash(name))).await? else { return Ok(None) };
        let Some(key) = self.vault.existing_key(person).await? else { return Ok(None) };
        Ok(open(key.expose(), purpose, name).ok())
    }

    /// Destroys the key of a person, and whatever says whose pseudonyms theirs are. Safe to repeat.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub(crate) async fn destroy(&self, person: Uuid) -> Result<()> {
        // The pseudonyms follow from the key, so it goes last.
        match self.vault.existing_key(person).await {
            Ok(Some(key)) => {
                for purpose in &PURPOSES {
                    let name = seal(key.expose(), purpose.id, person).map_err(Error::internal)?;
                    self.vault.forget_pseudonym(&hexadecimal(&hash(&name))).await?;
                }
            }
            Ok(None) => {}
            Err(error) if error.reason() == Reason::Unavailable => return Err(error),
            // One that nobody can open makes no pseudonym, and is destroyed all the same.
            Err(error) => tracing::warn!(user.id = %person, %error, "the key of a person cannot be opened"),
        }
        self.vault.destroy(person).await
    }

    /// The vault.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }
}

/// SHA-256 of a pseudonym.
pub(crate) fn hash(name: &str) -> Vec<u8> {
    digest(&SHA256, name.as_bytes()).as_ref().to_vec()
}
