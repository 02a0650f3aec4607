//! One key per person, kept outside the databases and their backups.
//!
//! Some data about people cannot be deleted in place: archives, evidence, what was written into backups. It is sealed with the
//! person's key, and destroying the key makes all of it unreadable, wherever copies of it are. So the vault must have no
//! copies of its own: a bucket without versions and without backups, or a folder that no backup contains.
//!
//! ```text
//! people/<user id>     the key, sealed with the keys of BATON_VAULT_KEYS
//! pseudonyms/<name>    whose pseudonym it is, sealed likewise
//! ```
//!
//! Whoever reads the vault alone, or the configuration alone, reads no key.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_errors::{Error, Reason, Result};
use baton_files::{Bucket, BucketConfig};
use baton_runtime::{Secret, random};
use baton_sealing::Sealer;
use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions, path::Path};
use url::Url;
use uuid::Uuid;

baton_runtime::config! {
    /// Where the vault is.
    pub struct VaultConfig {
        /// The vault of people's keys, in no backup: `s3://bucket/folder`, a bucket without versions, or `file:///folder` on a
        /// single machine (`baton up`).
        pub url: Url = "BATON_VAULT_URL";
        /// URL of the S3-compatible server, `https://host`. AWS when absent.
        pub endpoint: Option<Url> = "BATON_VAULT_ENDPOINT";
        /// The bucket's region.
        pub region: String = "BATON_VAULT_REGION", default "us-east-1";
        /// Id of the access key; when absent, the role of the machine (AWS) is used.
        pub access_key: Option<Secret> = "BATON_VAULT_ACCESS_KEY";
        /// Secret of the access key.
        pub secret_key: Option<Secret> = "BATON_VAULT_SECRET_KEY";
        /// What people's keys are sealed with: `id:key` separated by commas, each key 32 random bytes in base64. The first one
        /// seals, all open.
        pub keys: Secret = "BATON_VAULT_KEYS";
    }
}

/// The vault. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Vault {
    bucket: Bucket,
    sealer: Sealer,
}

/// The key of a person.
#[derive(Clone)]
pub struct PersonKey([u8; 32]);

impl PersonKey {
    /// The key itself.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals data of the person for a `context`, such as `consent:<id>`, with which alone it can be opened.
    ///
    /// # Errors
    /// INTERNAL if the system has no randomness.
    pub fn seal(&self, context: &str, data: &[u8]) -> Result<Vec<u8>> {
        self.sealer()?.seal(context, data).map_err(Error::internal)
    }

    /// Opens sealed data with the same context.
    ///
    /// # Errors
    /// INTERNAL if it was sealed for another context or with another key, or was modified.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        self.sealer()?.open(context, sealed).map_err(Error::internal)
    }

    fn sealer(&self) -> Result<Sealer> {
        let key = Secret::new(format!("person:{}", STANDARD.encode(self.0)));
        Sealer::new(&key).map_err(Error::internal)
    }
}

impl std::fmt::Debug for PersonKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonKey")
    }
}

impl Vault {
    /// Opens the vault. It is not accessed before its first use.
    ///
    /// # Errors
    /// If the configuration is invalid, or the folder cannot be created.
    pub fn open(config: &VaultConfig) -> anyhow::Result<Self> {
        let bucket = Bucket::open(BucketConfig {
            variables: "BATON_VAULT",
            url: &config.url,
            endpoint: config.endpoint.as_ref(),
            region: &config.region,
            access_key: config.access_key.as_ref(),
            secret_key: config.secret_key.as_ref(),
        })?;
        Ok(Self { bucket, sealer: Sealer::new(&config.keys)? })
    }

    /// The key of a person; it is made if there is none. Concurrent calls return the same one.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn key(&self, person: Uuid) -> Result<PersonKey> {
        if let Some(key) = self.existing_key(person).await? {
            return Ok(key);
        }
        let sealed = self.sealer.seal(&context(person), &random::bytes::<32>()).map_err(Error::internal)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.bucket.store.put_opts(&self.path(person), Bytes::from(sealed).into(), options).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(unavailable(error)),
        }
        // The one that is there: another call may have been first.
        let key = self.existing_key(person).await?;
        key.ok_or_else(|| Error::new(Reason::Unavailable, "the person's key was destroyed a moment ago"))
    }

    /// The key of a person; `None` if it was never made, or was destroyed.
    ///
    /// # Errors
    /// UNAVAILABLE; INTERNAL if it was sealed with a key that is not configured.
    pub async fn existing_key(&self, person: Uuid) -> Result<Option<PersonKey>> {
        let Some(sealed) = self.read(&self.path(person)).await? else { return Ok(None) };
        let key = self.sealer.open(&context(person), &sealed).map_err(Error::internal)?;
        let key = key.try_into().map_err(|_| Error::internal("a person's key does not have 32 bytes"))?;
        Ok(Some(PersonKey(key)))
    }

    /// Destroys the key of a person. Safe to repeat.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn destroy(&self, person: Uuid) -> Result<()> {
        self.delete(&self.path(person)).await
    }

    /// Notes whose pseudonym this is. `name` is made of letters, digits and hyphens. Safe to repeat.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn note_pseudonym(&self, name: &str, person: Uuid) -> Result<()> {
        let sealed = self.sealer.seal(&pseudonym_context(name), person.as_bytes()).map_err(Error::internal)?;
        let path = self.pseudonym_path(name);
        self.bucket.store.put(&path, Bytes::from(sealed).into()).await.map_err(unavailable)?;
        Ok(())
    }

    /// Whose pseudonym this is; `None` if nobody's, any more.
    ///
    /// # Errors
    /// UNAVAILABLE; INTERNAL if it was sealed with a key that is not configured.
    pub async fn whose_pseudonym(&self, name: &str) -> Result<Option<Uuid>> {
        let Some(sealed) = self.read(&self.pseudonym_path(name)).await? else { return Ok(None) };
        let id = self.sealer.open(&pseudonym_context(name), &sealed).map_err(Error::internal)?;
        Ok(Some(Uuid::from_slice(&id).map_err(Error::internal)?))
    }

    /// Forgets whose pseudonym this is. Safe to repeat.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn forget_pseudonym(&self, name: &str) -> Result<()> {
        self.delete(&self.pseudonym_path(name)).await
    }

    async fn read(&self, path: &Path) -> Result<Option<Bytes>> {
        match self.bucket.store.get(path).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(unavailable)?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        match self.bucket.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn path(&self, person: Uuid) -> Path {
        self.bucket.path(&format!("people/{person}"))
    }

    fn pseudonym_path(&self, name: &str) -> Path {
        self.bucket.path(&format!("pseudonyms/{name}"))
    }
}

fn pseudonym_context(name: &str) -> String {
    format!("pseudonym:{name}")
}

fn context(person: Uuid) -> String {
    format!("person key:{person}")
}

fn unavailable(error: object_store::Error) -> Error {
    Error::from(Reason::Unavailable).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(folder: &std::path::Path, key: &str) -> Vault {
        let url = Url::from_directory_path(folder.join("vault")).unwrap();
        let (region, keys) = ("us-east-1".to_owned(), Secret::new(key));
        Vault::open(&VaultConfig { url, endpoint: None, region, access_key: None, secret_key: None, keys }).unwrap()
    }

    const KEY: &str = "a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const OTHER: &str = "b:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[tokio::test]
    async fn a_person_has_one_key_until_it_is_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path(), KEY);
        let (ann, ben) = (Uuid::now_v7(), Uuid::now_v7());
        assert!(vault.existing_key(ann).await.unwrap().is_none());
        let keys = futures_util::future::join_all((0..8).map(|_| vault.key(ann))).await;
        let keys: Vec<[u8; 32]> = keys.into_iter().map(|key| *key.unwrap().expose()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "concurrent calls agree");
        assert_ne!(vault.key(ben).await.unwrap().expose(), &keys[0]);
        // The file does not have it in clear.
        let file = std::fs::read(folder.path().join(format!("vault/people/{ann}"))).unwrap();
        assert!(!file.windows(32).any(|bytes| bytes == keys[0]));
        vault.destroy(ann).await.unwrap();
        vault.destroy(ann).await.unwrap();
        assert!(vault.existing_key(ann).await.unwrap().is_none());
        assert_ne!(vault.key(ann).await.unwrap().expose(), &keys[0], "another person, as far as anybody can tell");
    }

    #[tokio::test]
    async fn keys_are_bound_to_their_person_and_to_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let ours = vault(folder.path(), KEY);
        let (ann, ben) = (Uuid::now_v7(), Uuid::now_v7());
        ours.key(ann).await.unwrap();
        assert_eq!(vault(folder.path(), OTHER).key(ann).await.unwrap_err().reason(), Reason::Internal);
        let rotated = vault(folder.path(), &format!("{OTHER},{KEY}"));
        assert_eq!(rotated.key(ann).await.unwrap().expose(), ours.key(ann).await.unwrap().expose());
        let file = |person: Uuid| folder.path().join(format!("vault/people/{person}"));
        std::fs::copy(file(ann), file(ben)).unwrap();
        assert_eq!(ours.key(ben).await.unwrap_err().reason(), Reason::Internal, "a swapped file");
    }

    #[tokio::test]
    async fn what_is_sealed_for_a_person_opens_in_its_context_only() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path(), KEY);
        let (ann, ben) = (vault.key(Uuid::now_v7()).await.unwrap(), vault.key(Uuid::now_v7()).await.unwrap());
        let sealed = ann.seal("note:1", b"hers").unwrap();
        assert_eq!(ann.open("note:1", &sealed).unwrap(), b"hers");
        assert!(ann.open("note:2", &sealed).is_err() && ben.open("note:1", &sealed).is_err());
    }

    #[tokio::test]
    async fn pseudonyms_are_known_until_they_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path(), KEY);
        let ann = Uuid::now_v7();
        vault.note_pseudonym("abc", ann).await.unwrap();
        vault.note_pseudonym("abc", ann).await.unwrap();
        assert_eq!(vault.whose_pseudonym("abc").await.unwrap(), Some(ann));
        assert_eq!(vault.whose_pseudonym("abd").await.unwrap(), None);
        vault.forget_pseudonym("abc").await.unwrap();
        vault.forget_pseudonym("abc").await.unwrap();
        assert_eq!(vault.whose_pseudonym("abc").await.unwrap(), None);
    }
}
