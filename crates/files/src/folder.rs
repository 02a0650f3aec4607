//! A local folder in place of an object store, for a single machine. It does what a store's server does.

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
    signed_url::{Claims, Operation, Signer},
};

/// Path of its URLs, below the gateway's address.
const PATH: &str = "v1/files";

/// A folder of files, with signed URLs. Clones share it.
#[derive(Debug, Clone)]
pub struct Folder {
    store: Arc<LocalFileSystem>,
    signer: Signer,
    public_url: Url,
    clock: Clock,
}

/// A file to send to a client, or a part of it.
pub struct Download {
    /// Size of the whole file, in bytes.
    pub size: u64,
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Disposition`.
    pub disposition: String,
    /// `ETag`; a strong one, because files are replaced and never modified.
    pub etag: String,
    /// `Last-Modified`.
    pub last_modified: SystemTime,
    /// The part of the file to send.
    pub content: Content,
}

/// The bytes of a file, in chunks.
pub type ContentStream = BoxStream<'static, Result<Bytes, object_store::Error>>;

/// The part of a file to send.
pub enum Content {
    /// The whole file: 200.
    Whole(ContentStream),
    /// A range of bytes: 206.
    Part(Range<u64>, ContentStream),
    /// Nothing, because the requested range is beyond the end: 416.
    Unsatisfiable,
    /// Nothing, because the client has the current file: 304.
    NotModified,
    /// Nothing, because the file does not match the client's condition: 412.
    Failed,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Why a request by signed URL was refused.
#[derive(Debug)]
pub enum Refused {
    /// The token is invalid, expired, or for another method.
    Ticket,
    /// The file does not exist.
    Absent,
    /// The size of the content is not the announced one.
    Size,
    /// A conditional header is malformed.
    Header(Malformed),
    /// The client stopped sending, or the disk failed.
    Broken(Error),
}

impl Folder {
    pub(crate) fn open(config: &FilesConfig, clock: Clock) -> anyhow::Result<Self> {
        let path =
            config.url.to_file_path().ok().context("BATON_TASK_ATTACHMENTS_URL must have the form file:///folder")?;
        let key = config.signing_key.as_ref().context("a folder of files needs BATON_TASK_ATTACHMENTS_SIGNING_KEY")?;
        let public_url = config.public_url.clone();
        let public_url = public_url.context("a folder of files needs BATON_TASK_ATTACHMENTS_PUBLIC_URL")?;
        fs::create_dir_all(&path).with_context(|| format!("cannot create the folder {}", path.display()))?;
        let store = LocalFileSystem::new_with_prefix(path)?.with_automatic_cleanup(true).with_fsync(true);
        Ok(Self { store: Arc::new(store), signer: Signer::new(key)?, public_url, clock })
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    pub(crate) fn upload_url(&self, key: &str, size: u32, valid: Duration) -> Result<Url> {
        self.url(key, Operation::Put { size }, valid)
    }

    pub(crate) fn download_url(
        &self,
        key: &str,
        disposition: String,
        content_type: &str,
        valid: Duration,
    ) -> Result<Url> {
        self.url(key, Operation::Get { disposition, content_type: content_type.to_owned() }, valid)
    }

    fn url(&self, key: &str, operation: Operation, valid: Duration) -> Result<Url> {
        let expires = (self.clock.now() + valid).timestamp();
        let token = self.signer.sign(&Claims { key: key.to_owned(), operation, expires }).map_err(Error::internal)?;
        let mut url = self.public_url.clone();
        url.set_path(&format!("{}/{PATH}/{token}", url.path().trim_end_matches('/')));
        Ok(url)
    }

    /// Stores an upload. The signed URL fixes its size. The file is stored completely or not at all.
    ///
    /// # Errors
    /// The reason for the refusal.
    pub async fn take<E: std::error::Error + Send + Sync + 'static>(
        &self,
        token: &str,
        content: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<(), Refused> {
        let (key, expected) = match self.signer.verify(token, self.clock.now()) {
            Some(Claims { key, operation: Operation::Put { size }, .. }) => (key, u64::from(size)),
            _ => return Err(Refused::Ticket),
        };
        let mut file = self.store.put_multipart(&Path::from(key)).await.map_err(unavailable)?;
        let mut size = 0;
        let mut content = std::pin::pin!(content);
        // An upload that is dropped before it is complete is removed.
        while let Some(part) = content.try_next().await.map_err(|error| Refused::Broken(Error::internal(error)))? {
            size += part.len() as u64;
            if size > expected {
                return Err(Refused::Size);
            }
            file.put_part(part.into()).await.map_err(unavailable)?;
        }
        if size != expected {
            return Err(Refused::Size);
        }
        file.complete().await.map_err(unavailable)?;
        Ok(())
    }

    /// Returns the file of a signed URL: all of it, or the requested range (RFC 9110, sections 13 and 14).
    ///
    /// # Errors
    /// The reason for the refusal.
    pub async fn give(&self, token: &str, method: &Method, headers: &HeaderMap) -> Result<Download, Refused> {
        let now = self.clock.now();
        let Some(Claims { key, operation: Operation::Get { disposition, content_type }, .. }) =
            self.signer.verify(token, now)
        else {
            return Err(Refused::Ticket);
        };
        let conditions = Conditions::of(headers).map_err(Refused::Header)?;
        // The file is opened once, so the compared file is the sent one.
        let mut found = match self.store.get(&Path::from(key)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(Refused::Absent),
            Err(error) => return Err(unavailable(error)),
        };
        let size = found.meta.size;
        let etag = found.meta.e_tag.clone().unwrap_or_default();
        let tag = Tag::parse(etag.as_bytes()).ok_or_else(|| Refused::Broken(Error::internal("a file has no ETag")))?;
        // HTTP dates have a resolution of seconds.
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

fn unavailable(error: object_store::Error) -> Refused {
    Refused::Broken(Error::from(Reason::Unavailable).with_source(error))
}
