//! A folder instead of a store: for one machine alone. What a store's server does is done here.

use std::{
    fs,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use baton_conditional::{Conditions, Malformed, Outcome, Selected, Tag, Validators, select};
use baton_errors::{Error, Reason, Result};
use baton_runtime::Clock;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use http::{HeaderMap, Method};
use object_store::{ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, path::Path};
use url::Url;

use crate::{
    FilesConfig,
    signed_url::{Allows, Signer, Ticket},
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

/// A file on its way to a client, or as much of it as the client asks for.
pub struct Download {
    /// Its size in bytes, all of it.
    pub size: u64,
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Disposition`.
    pub disposition: String,
    /// `ETag`; a strong one, since a file is replaced and never changed.
    pub etag: String,
    /// `Last-Modified`.
    pub last_modified: SystemTime,
    /// What of it is sent.
    pub content: Content,
}

/// The bytes of a file, in pieces.
pub type ContentStream = BoxStream<'static, Result<Bytes, object_store::Error>>;

/// What is sent of a file.
pub enum Content {
    /// All of it: 200.
    Whole(ContentStream),
    /// These bytes: 206.
    Part(Range<u64>, ContentStream),
    /// Nothing, since it does not have the bytes that the client asks for: 416.
    Unsatisfiable,
    /// Nothing, since the client has it: 304.
    NotModified,
    /// Nothing, since it is not what the client expects: 412.
    Failed,
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
    /// A header has not the form that it must have.
    Header(Malformed),
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

    /// Gives a client what it has a ticket for: all of it, or the range that it asks for (RFC 9110, sections 13 and
    /// 14).
    ///
    /// # Errors
    /// Why it was not given.
    pub async fn give(&self, token: &str, method: &Method, headers: &HeaderMap) -> Result<Download, Refused> {
        let now = self.clock.now();
        let Some(Ticket { key, allows: Allows::Get { disposition, content_type }, .. }) =
            self.signer.verify(token, now)
        else {
            return Err(Refused::Ticket);
        };
        let conditions = Conditions::of(headers).map_err(Refused::Header)?;
        // Opens the file once: what is compared is what is sent.
        let mut found = match self.store.get(&Path::from(key)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(Refused::Absent),
            Err(error) => return Err(broken(error)),
        };
        let size = found.meta.size;
        let etag = found.meta.e_tag.clone().unwrap_or_default();
        let tag = Tag::parse(etag.as_bytes()).ok_or_else(|| Refused::Broken(Error::internal("a file has no ETag")))?;
        // HTTP's dates count whole seconds.
        let last_modified = found.meta.last_modified.timestamp().try_into().map(Duration::from_secs);
        let last_modified = SystemTime::UNIX_EPOCH + last_modified.unwrap_or_default();
        let current = Validators { tag, last_modified: Some(last_modified) };
        let content = match conditions.evaluate(method, &current, Tag::equals_strongly) {
            Outcome::NotModified => Content::NotModified,
            Outcome::Failed => Content::Failed,
            Outcome::Proceed => match select(method, headers, size, &current, now.into()) {
                Selected::Whole => Content::Whole(found.into_stream().boxed()),
                Selected::Unsatisfiable => Content::Unsatisfiable,
                Selected::Part(part) => {
                    found.range = part.clone();
                    Content::Part(part, found.into_stream().boxed())
                }
            },
        };
        Ok(Download { size, content_type, disposition, etag, last_modified, content })
    }
}

fn broken(error: object_store::Error) -> Refused {
    Refused::Broken(Error::from(Reason::Unavailable).with_source(error))
}
