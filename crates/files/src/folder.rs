//! A folder instead of a store: for one machine alone. What a store's server does is done here.

use std::{fs, sync::Arc, time::Duration};

use anyhow::Context as _;
use baton_errors::{Error, Reason, Result};
use baton_runtime::Clock;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, path::Path};
use url::Url;

use crate::{
    FilesConfig,
    ticket::{Allows, Signer, Ticket},
};

/// Where its URLs lead, below the gateway's address.
const PATH: &str = "v1/files";

/// A folder of files, and the tickets to them. Clones share it.
#[derive(Debug, Clone)]
pub struct Folder {
    store: Arc<LocalFileSystem>,
    signer: Signer,
    public_url: Url,
    clock: Clock,
}

/// A file on its way to a client.
pub struct Download {
    /// Its size in bytes.
    pub size: u64,
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Disposition`.
    pub disposition: String,
    /// Its content.
    pub content: BoxStream<'static, Result<Bytes, object_store::Error>>,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Why a URL was not served.
#[derive(Debug)]
pub enum Refused {
    /// The token is not one of ours, has expired, or is for another method.
    Ticket,
    /// There is no such file any more.
    Absent,
    /// The content is not as long as was announced.
    Size,
    /// The client stopped sending, or the disk does not take it.
    Broken(Error),
}

impl Folder {
    pub(crate) fn open(config: &FilesConfig, clock: Clock) -> anyhow::Result<Self> {
        let path = config.url.to_file_path().ok().context("BATON_TASK_ATTACHMENTS_URL is not like file:///folder")?;
        let key = config.signing_key.as_ref().context("a folder of files needs BATON_TASK_ATTACHMENTS_SIGNING_KEY")?;
        let public_url = config.public_url.clone();
        let public_url = public_url.context("a folder of files needs BATON_TASK_ATTACHMENTS_PUBLIC_URL")?;
        fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let store = LocalFileSystem::new_with_prefix(path)?.with_automatic_cleanup(true).with_fsync(true);
        Ok(Self { store: Arc::new(store), signer: Signer::new(key)?, public_url, clock })
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    pub(crate) fn upload_url(&self, key: &str, size: u32, valid: Duration) -> Result<Url> {
        self.url(key, Allows::Put { size }, valid)
    }

    pub(crate) fn download_url(
        &self,
        key: &str,
        disposition: String,
        content_type: &str,
        valid: Duration,
    ) -> Result<Url> {
        self.url(key, Allows::Get { disposition, content_type: content_type.to_owned() }, valid)
    }

    fn url(&self, key: &str, allows: Allows, valid: Duration) -> Result<Url> {
        let expires = (self.clock.now() + valid).timestamp();
        let token = self.signer.sign(&Ticket { key: key.to_owned(), allows, expires }).map_err(Error::internal)?;
        let mut url = self.public_url.clone();
        url.set_path(&format!("{}/{PATH}/{token}", url.path().trim_end_matches('/')));
        Ok(url)
    }

    /// Takes what a client sends: as many bytes as its ticket says, no more. The file is there whole or not at all.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn take<E: std::error::Error + Send + Sync + 'static>(
        &self,
        token: &str,
        content: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<(), Refused> {
        let (key, expected) = match self.signer.verify(token, self.clock.now()) {
            Some(Ticket { key, allows: Allows::Put { size }, .. }) => (key, u64::from(size)),
            _ => return Err(Refused::Ticket),
        };
        let mut file = self.store.put_multipart(&Path::from(key)).await.map_err(broken)?;
        let mut size = 0;
        let mut content = std::pin::pin!(content);
        // What is dropped before it is complete is removed.
        while let Some(part) = content.try_next().await.map_err(|error| Refused::Broken(Error::internal(error)))? {
            size += part.len() as u64;
            if size > expected {
                return Err(Refused::Size);
            }
            file.put_part(part.into()).await.map_err(broken)?;
        }
        if size != expected {
            return Err(Refused::Size);
        }
        file.complete().await.map_err(broken)?;
        Ok(())
    }

    /// Gives a client what it has a ticket for.
    ///
    /// # Errors
    /// Why it was not given.
    pub async fn give(&self, token: &str) -> Result<Download, Refused> {
        let Some(Ticket { key, allows: Allows::Get { disposition, content_type }, .. }) =
            self.signer.verify(token, self.clock.now())
        else {
            return Err(Refused::Ticket);
        };
        match self.store.get(&Path::from(key)).await {
            Ok(found) => {
                let size = found.meta.size;
                Ok(Download { size, content_type, disposition, content: found.into_stream().boxed() })
            }
            Err(object_store::Error::NotFound { .. }) => Err(Refused::Absent),
            Err(error) => Err(broken(error)),
        }
    }
}

fn broken(error: object_store::Error) -> Refused {
    Refused::Broken(Error::from(Reason::Unavailable).because(error))
}
