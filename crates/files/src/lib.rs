//! Files in an object store. Their bytes do not pass through the services: clients send and fetch them by signed URLs,
//! which are valid for one method on one file for some minutes.
//!
//! An installation uses an S3-compatible store (`s3://bucket`); a single machine, such as one started by `./run`, a
//! folder (`file:///path`). A folder has no server that verifies signatures. So its URLs are `/v1/files/<token>` of the
//! service that serves [`Folder`]; the token contains the claims, and is signed with HMAC-SHA256.

mod bucket;
mod disposition;
mod folder;
mod signed_url;

use std::{sync::Arc, time::Duration};

use anyhow::{bail, ensure};
use aws_lc_rs::digest::{Context as Digest, SHA256};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_errors::{Error, Reason, Result};
use baton_runtime::{Clock, Secret};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use http::{HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use object_store::{
    ObjectStore, ObjectStoreExt as _, WriteMultipart,
    aws::AmazonS3,
    path::Path,
    signer::{SignedUrlOptions, Signer as _},
};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use url::Url;

pub use bucket::{Bucket, BucketConfig};
pub use folder::{Content, ContentStream, Download, Folder, Refused};

/// Bytes of a part of an upload; S3 accepts no smaller ones but the last.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that are read from a local file at once.
const READ_BYTES: usize = 256 * 1024;
/// Bytes of a piece that is read from the store at once.
const READ_PIECE_BYTES: u64 = 1024 * 1024;
/// Parts that are uploaded at a time.
const MAX_PARTS_IN_FLIGHT: usize = 2;

baton_runtime::config! {
    /// Storage of attachments.
    pub struct FilesConfig {
        /// `s3://bucket`, or `file:///folder` on a single machine (`baton up`).
        pub url: Url = "BATON_TASK_ATTACHMENTS_URL";
        /// URL of the S3-compatible server, `https://host`, which clients must reach. AWS when absent.
        pub endpoint: Option<Url> = "BATON_TASK_ATTACHMENTS_ENDPOINT";
        /// The bucket's region.
        pub region: String = "BATON_TASK_ATTACHMENTS_REGION", default "us-east-1";
        /// Id of the access key; when absent, the role of the machine (AWS) is used.
        pub access_key: Option<Secret> = "BATON_TASK_ATTACHMENTS_ACCESS_KEY";
        /// Secret of the access key.
        pub secret_key: Option<Secret> = "BATON_TASK_ATTACHMENTS_SECRET_KEY";
        /// For a folder: the key that signs its URLs, 32 random bytes in base64.
        pub signing_key: Option<Secret> = "BATON_TASK_ATTACHMENTS_SIGNING_KEY";
        /// For a folder: URL of the gateway, which serves its URLs.
        pub public_url: Option<Url> = "BATON_TASK_ATTACHMENTS_PUBLIC_URL";
    }
}

/// The store. Clones share it.
#[derive(Debug, Clone)]
pub struct Files(Backend);

#[derive(Debug, Clone)]
enum Backend {
    S3(Arc<AmazonS3>),
    Folder(Folder),
}

/// The file that a client announced.
#[derive(Debug, Clone, Copy)]
pub struct Announced<'a> {
    /// Its media type.
    pub content_type: &'a str,
    /// Its size in bytes.
    pub size: u32,
    /// SHA-256 of its content.
    pub checksum: &'a [u8],
}

/// How a client uploads a file.
#[derive(Debug, Clone)]
pub struct Upload {
    /// URL to upload to.
    pub url: Url,
    /// Headers of the upload.
    pub headers: Vec<(&'static str, String)>,
}

impl Files {
    /// Opens the store. It is not accessed before its first use.
    ///
    /// # Errors
    /// If the configuration is invalid, or the folder cannot be created.
    pub fn open(config: &FilesConfig, clock: Clock) -> anyhow::Result<Self> {
        match config.url.scheme() {
            "s3" => Ok(Self(Backend::S3(Arc::new(open_s3(config)?)))),
            "file" => Ok(Self(Backend::Folder(Folder::open(config, clock)?))),
            other => bail!("BATON_TASK_ATTACHMENTS_URL must be s3://bucket or file:///folder, not {other}://"),
        }
    }

    /// The folder, if the store is one: someone has to serve its URLs.
    pub fn folder(&self) -> Option<&Folder> {
        match &self.0 {
            Backend::S3(_) => None,
            Backend::Folder(folder) => Some(folder),
        }
    }

    fn store(&self) -> &dyn ObjectStore {
        match &self.0 {
            Backend::S3(store) => &**store,
            Backend::Folder(folder) => folder.store(),
        }
    }

    /// Returns a signed URL to upload the announced bytes to `key`, with PUT.
    ///
    /// # Errors
    /// UNAVAILABLE if the store's credentials are not available.
    pub async fn upload(&self, key: &str, file: Announced<'_>, valid: Duration) -> Result<Upload> {
        // The signature covers media type and checksum, so S3 accepts no other bytes.
        const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
        let checksum = STANDARD.encode(file.checksum);
        match &self.0 {
            Backend::S3(store) => {
                let content_type = HeaderValue::from_str(file.content_type).map_err(Error::internal)?;
                let options = SignedUrlOptions::new()
                    .with_signed_header(CONTENT_TYPE, content_type)
                    .with_signed_header(CHECKSUM, HeaderValue::from_str(&checksum).map_err(Error::internal)?);
                let url = store.signed_url_opts(Method::PUT, &Path::from(key), valid, &options).await;
                let headers = vec![("content-type", file.content_type.to_owned()), ("x-amz-checksum-sha256", checksum)];
                Ok(Upload { url: url.map_err(unavailable)?, headers })
            }
            Backend::Folder(folder) => {
                let url = folder.upload_url(key, file.size, valid)?;
                Ok(Upload { url, headers: vec![("content-type", file.content_type.to_owned())] })
            }
        }
    }

    /// Returns a signed URL to fetch the file at `key`, with GET. Browsers save it under `name` and never display it.
    ///
    /// # Errors
    /// UNAVAILABLE if the store's credentials are not available.
    pub async fn download(&self, key: &str, name: &str, content_type: &str, valid: Duration) -> Result<Url> {
        let disposition = disposition::attachment(name);
        match &self.0 {
            Backend::S3(store) => {
                let options = SignedUrlOptions::new().with_query([
                    ("response-content-disposition", disposition.as_str()),
                    ("response-content-type", content_type),
                    ("response-cache-control", "private, no-store"),
                ]);
                store.signed_url_opts(Method::GET, &Path::from(key), valid, &options).await.map_err(unavailable)
            }
            Backend::Folder(folder) => folder.download_url(key, disposition, content_type, valid),
        }
    }

    /// Size of the file at `key`, in bytes; `None` if it does not exist.
    pub async fn size(&self, key: &str) -> Result<Option<u64>> {
        match self.store().head(&Path::from(key)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Copies the file at `from` to `to`, within the store; `false` if it does not exist.
    pub async fn copy(&self, from: &str, to: &str) -> Result<bool> {
        match self.store().copy(&Path::from(from), &Path::from(to)).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Size and SHA-256 of the file at `key`; `None` if it does not exist. The file is streamed once, and reading stops
    /// after `limit` bytes.
    pub async fn measure(&self, key: &str, limit: u64) -> Result<Option<(u64, Vec<u8>)>> {
        let mut content = match self.store().get(&Path::from(key)).await {
            Ok(found) => found.into_stream(),
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let (mut size, mut digest) = (0, Digest::new(&SHA256));
        while let Some(part) = content.try_next().await.map_err(unavailable)? {
            size += part.len() as u64;
            digest.update(&part);
            if size > limit {
                break;
            }
        }
        Ok(Some((size, digest.finish().as_ref().to_vec())))
    }

    /// Stores a local file at `key`, completely or not at all.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn put(&self, key: &str, file: std::fs::File) -> Result<()> {
        let mut file = tokio::fs::File::from_std(file);
        file.rewind().await.map_err(Error::internal)?;
        let upload = self.store().put_multipart(&Path::from(key)).await.map_err(unavailable)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut buffer = vec![0; READ_BYTES];
        let written = loop {
            match file.read(&mut buffer).await {
                Ok(0) => break Ok(()),
                Ok(read) => {
                    if let Err(error) = upload.wait_for_capacity(MAX_PARTS_IN_FLIGHT).await {
                        break Err(unavailable(error));
                    }
                    upload.write(buffer.get(..read).unwrap_or_default());
                }
                Err(error) => break Err(Error::internal(error)),
            }
        };
        match written {
            Ok(()) => upload.finish().await.map(drop).map_err(unavailable),
            Err(error) => {
                // The parts that the store has would stay otherwise.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// The content of the file at `key`; `None` if it does not exist. Each piece is a request of its own, so the reader may
    /// take its time.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn read(&self, key: &str) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        let Some(size) = self.size(key).await? else { return Ok(None) };
        let state = (self.clone(), Path::from(key), 0);
        let pieces = stream::try_unfold(state, move |(files, path, from)| async move {
            if from >= size {
                return Ok(None);
            }
            let to = size.min(from + READ_PIECE_BYTES);
            let piece = files.store().get_range(&path, from..to).await.map_err(unavailable)?;
            Ok(Some((piece, (files, path, to))))
        });
        Ok(Some(pieces.boxed()))
    }

    /// Deletes the file at `key`. A missing file is not an error.
    pub async fn delete(&self, key: &str) -> Result<()> {
        ignore_not_found(self.store().delete(&Path::from(key)).await)
    }

    /// Deletes all files below `prefix`, a folder of keys. A missing folder is not an error.
    ///
    /// # Errors
    /// UNAVAILABLE; some files may remain then.
    pub async fn delete_below(&self, prefix: &str) -> Result<()> {
        let found = self.store().list(Some(&Path::from(prefix))).map_ok(|found| found.location).boxed();
        let mut deleted = self.store().delete_stream(found);
        while let Some(deleted) = deleted.next().await {
            ignore_not_found(deleted.map(|_| ()))?;
        }
        Ok(())
    }

    /// Keys below `prefix` of the files that were stored before `time`.
    pub fn older_than(&self, prefix: &str, time: DateTime<Utc>) -> impl Stream<Item = Result<String>> + Send + use<> {
        self.store().list(Some(&Path::from(prefix))).map_err(unavailable).try_filter_map(move |found| async move {
            Ok((found.last_modified < time).then(|| found.location.to_string()))
        })
    }

    /// Checks that the store is reachable and accepts our credentials.
    ///
    /// # Errors
    /// The reason for the failure.
    pub async fn check(&self) -> anyhow::Result<()> {
        match self.store().list(Some(&Path::from("accounts"))).next().await {
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

fn open_s3(config: &FilesConfig) -> anyhow::Result<AmazonS3> {
    ensure!(matches!(config.url.path(), "" | "/"), "BATON_TASK_ATTACHMENTS_URL must be s3://bucket without a path");
    bucket::s3(BucketConfig {
        variables: "BATON_TASK_ATTACHMENTS",
        url: &config.url,
        endpoint: config.endpoint.as_ref(),
        region: &config.region,
        access_key: config.access_key.as_ref(),
        secret_key: config.secret_key.as_ref(),
    })
}

fn ignore_not_found(result: Result<(), object_store::Error>) -> Result<()> {
    match result {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(unavailable(error)),
    }
}

fn unavailable(error: object_store::Error) -> Error {
    Error::from(Reason::Unavailable).with_source(error)
}

#[cfg(test)]
mod tests;
