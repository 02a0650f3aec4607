//! Files in an object store. Their bytes do not pass through the services: clients send and fetch them by signed URLs
//! that are worth one method on one file for some minutes.
//!
//! An installation names an S3-compatible store (`s3://bucket`); a machine alone, as `./run` makes it, a folder
//! (`file:///path`). A folder has no server that could check signatures, so there the URLs lead to `/v1/files/<token>`
//! of whoever calls [`Folder`]; the token says what it is good for, and is signed with HMAC-SHA256.

mod disposition;
mod folder;
mod signed_url;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::digest::{Context as Digest, SHA256};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_errors::{Error, Reason, Result};
use baton_runtime::{Clock, Secret};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use http::{HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
    signer::{SignedUrlOptions, Signer as _},
};
use url::Url;

pub use folder::{Content, ContentStream, Download, Folder, Refused};

/// An answer of the store that takes longer counts as none.
const TIMEOUT: Duration = Duration::from_secs(20);

baton_runtime::config! {
    /// Where attached files are kept.
    pub struct FilesConfig {
        /// `s3://bucket`, or `file:///folder` on a machine alone (`baton up`).
        pub url: Url = "BATON_TASK_ATTACHMENTS_URL";
        /// The S3-compatible server, `https://host`; clients must reach it. AWS when absent.
        pub endpoint: Option<Url> = "BATON_TASK_ATTACHMENTS_ENDPOINT";
        /// The bucket's region.
        pub region: String = "BATON_TASK_ATTACHMENTS_REGION", default "us-east-1";
        /// Id of the access key; without one, the role of the machine (AWS) is used.
        pub access_key: Option<Secret> = "BATON_TASK_ATTACHMENTS_ACCESS_KEY";
        /// The secret half of the access key.
        pub secret_key: Option<Secret> = "BATON_TASK_ATTACHMENTS_SECRET_KEY";
        /// For a folder: signs its URLs; 32 random bytes in base64.
        pub signing_key: Option<Secret> = "BATON_TASK_ATTACHMENTS_SIGNING_KEY";
        /// For a folder: where clients reach the gateway, which answers its URLs.
        pub public_url: Option<Url> = "BATON_TASK_ATTACHMENTS_PUBLIC_URL";
    }
}

/// The store. Clones share it.
#[derive(Debug, Clone)]
pub struct Files(Kind);

#[derive(Debug, Clone)]
enum Kind {
    S3(Arc<AmazonS3>),
    Folder(Folder),
}

/// What a client announced.
#[derive(Debug, Clone, Copy)]
pub struct Announced<'a> {
    /// Its media type.
    pub content_type: &'a str,
    /// Its size in bytes.
    pub size: u32,
    /// SHA-256 of its content.
    pub checksum: &'a [u8],
}

/// How a client sends a file.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Where to.
    pub url: Url,
    /// Headers to send with it.
    pub headers: Vec<(&'static str, String)>,
}

impl Files {
    /// Opens the store; nothing is asked of it before it is used.
    ///
    /// # Errors
    /// When the configuration does not hold, or the folder cannot be made.
    pub fn open(config: &FilesConfig, clock: Clock) -> anyhow::Result<Self> {
        match config.url.scheme() {
            "s3" => Ok(Self(Kind::S3(Arc::new(s3(config)?)))),
            "file" => Ok(Self(Kind::Folder(Folder::open(config, clock)?))),
            other => bail!("BATON_TASK_ATTACHMENTS_URL begins with {other}://; it takes s3://bucket or file:///folder"),
        }
    }

    /// The folder, when it is one: somebody has to answer its URLs.
    pub fn folder(&self) -> Option<&Folder> {
        match &self.0 {
            Kind::S3(_) => None,
            Kind::Folder(folder) => Some(folder),
        }
    }

    fn store(&self) -> &dyn ObjectStore {
        match &self.0 {
            Kind::S3(store) => &**store,
            Kind::Folder(folder) => folder.store(),
        }
    }

    /// Lets whoever has the answer send the announced bytes to `key`, with PUT.
    ///
    /// # Errors
    /// UNAVAILABLE when the store's credentials cannot be had.
    pub async fn upload(&self, key: &str, file: Announced<'_>, valid: Duration) -> Result<Upload> {
        // The signature covers the type and the checksum: S3 takes no other bytes.
        const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
        let checksum = STANDARD.encode(file.checksum);
        match &self.0 {
            Kind::S3(store) => {
                let content_type = HeaderValue::from_str(file.content_type).map_err(Error::internal)?;
                let options = SignedUrlOptions::new()
                    .with_signed_header(CONTENT_TYPE, content_type)
                    .with_signed_header(CHECKSUM, HeaderValue::from_str(&checksum).map_err(Error::internal)?);
                let url = store.signed_url_opts(Method::PUT, &Path::from(key), valid, &options).await;
                let headers = vec![("content-type", file.content_type.to_owned()), ("x-amz-checksum-sha256", checksum)];
                Ok(Upload { url: url.map_err(unavailable)?, headers })
            }
            Kind::Folder(folder) => {
                let url = folder.upload_url(key, file.size, valid)?;
                Ok(Upload { url, headers: vec![("content-type", file.content_type.to_owned())] })
            }
        }
    }

    /// Lets whoever has the answer fetch the file at `key`, with GET: as a file to be saved under `name`, never as a
    /// page to be shown.
    ///
    /// # Errors
    /// UNAVAILABLE when the store's credentials cannot be had.
    pub async fn download(&self, key: &str, name: &str, content_type: &str, valid: Duration) -> Result<Url> {
        let disposition = disposition::attachment(name);
        match &self.0 {
            Kind::S3(store) => {
                let options = SignedUrlOptions::new().with_query([
                    ("response-content-disposition", disposition.as_str()),
                    ("response-content-type", content_type),
                    ("response-cache-control", "private, no-store"),
                ]);
                store.signed_url_opts(Method::GET, &Path::from(key), valid, &options).await.map_err(unavailable)
            }
            Kind::Folder(folder) => folder.download_url(key, disposition, content_type, valid),
        }
    }

    /// How many bytes there are at `key`; `None` when nothing is there.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn size(&self, key: &str) -> Result<Option<u64>> {
        match self.store().head(&Path::from(key)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Copies what is at `from` to `to`, within the store; `false` when nothing is there.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn copy(&self, from: &str, to: &str) -> Result<bool> {
        match self.store().copy(&Path::from(from), &Path::from(to)).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Size and SHA-256 of what is at `key`, read once and never held whole; `None` when nothing is there. It stops
    /// reading beyond `limit` bytes.
    ///
    /// # Errors
    /// UNAVAILABLE.
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

    /// Deletes what is at `key`. It is no error when nothing is.
    ///
    /// # Errors
    /// UNAVAILABLE.
    pub async fn delete(&self, key: &str) -> Result<()> {
        absent_is_fine(self.store().delete(&Path::from(key)).await)
    }

    /// Deletes everything below `prefix`, a folder of keys. It is no error when nothing is there.
    ///
    /// # Errors
    /// UNAVAILABLE; then some may be left.
    pub async fn delete_below(&self, prefix: &str) -> Result<()> {
        let found = self.store().list(Some(&Path::from(prefix))).map_ok(|found| found.location).boxed();
        let mut deleted = self.store().delete_stream(found);
        while let Some(deleted) = deleted.next().await {
            absent_is_fine(deleted.map(|_| ()))?;
        }
        Ok(())
    }

    /// Keys below `prefix` of what was stored before `time`.
    pub fn older_than(&self, prefix: &str, time: DateTime<Utc>) -> impl Stream<Item = Result<String>> + Send + use<> {
        self.store().list(Some(&Path::from(prefix))).map_err(unavailable).try_filter_map(move |found| async move {
            Ok((found.last_modified < time).then(|| found.location.to_string()))
        })
    }

    /// Whether the store is there and lets us in.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> anyhow::Result<()> {
        match self.store().list(Some(&Path::from("accounts"))).next().await {
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

fn s3(config: &FilesConfig) -> anyhow::Result<AmazonS3> {
    let bucket = config.url.host_str().filter(|bucket| !bucket.is_empty());
    let bucket = bucket.context("BATON_TASK_ATTACHMENTS_URL names no bucket: s3://bucket")?;
    ensure!(matches!(config.url.path(), "" | "/"), "BATON_TASK_ATTACHMENTS_URL is s3://bucket, without a path");
    // Callers wait for the answer: what fails for long is theirs to try again.
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: Duration::from_secs(10) };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&config.region)
        .with_retry(retry)
        .with_client_options(ClientOptions::new().with_timeout(TIMEOUT).with_allow_http(true));
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
    }
    builder = match (&config.access_key, &config.secret_key) {
        (Some(id), Some(secret)) => builder.with_access_key_id(id.expose()).with_secret_access_key(secret.expose()),
        (None, None) => builder,
        _ => bail!("BATON_TASK_ATTACHMENTS_ACCESS_KEY and BATON_TASK_ATTACHMENTS_SECRET_KEY belong together"),
    };
    Ok(builder.build()?)
}

fn absent_is_fine(done: Result<(), object_store::Error>) -> Result<()> {
    match done {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(unavailable(error)),
    }
}

fn unavailable(error: object_store::Error) -> Error {
    Error::from(Reason::Unavailable).with_source(error)
}

#[cfg(test)]
mod tests;
