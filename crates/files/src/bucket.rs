//! Opening a bucket of an S3-compatible store, or a folder in its place.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use baton_runtime::Secret;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    local::LocalFileSystem,
    path::Path,
};
use url::Url;

/// Time limit of a request to the store.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a bucket or a folder is.
#[derive(Debug, Clone, Copy)]
pub struct BucketConfig<'a> {
    /// What the names of its variables begin with, for errors: `BATON_LEDGER`.
    pub variables: &'static str,
    /// `s3://bucket/folder` or `file:///folder`.
    pub url: &'a Url,
    /// URL of the S3-compatible server; AWS when absent.
    pub endpoint: Option<&'a Url>,
    /// The bucket's region.
    pub region: &'a str,
    /// Id of the access key; when absent, the role of the machine (AWS) is used.
    pub access_key: Option<&'a Secret>,
    /// Secret of the access key.
    pub secret_key: Option<&'a Secret>,
}

/// A bucket, or a folder. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The folder in the bucket, without a final slash; empty for none.
    folder: String,
}

impl Bucket {
    /// Opens it. It is not accessed before its first use. Writes to a folder are synced to the disk.
    ///
    /// # Errors
    /// If the configuration is invalid, or the folder cannot be created.
    pub fn open(config: BucketConfig<'_>) -> anyhow::Result<Self> {
        let BucketConfig { variables, url, .. } = config;
        match url.scheme() {
            "s3" => {
                let folder = url.path().trim_matches('/').to_owned();
                Ok(Self { store: Arc::new(s3(config)?), folder })
            }
            "file" => {
                let path = url.to_file_path().ok();
                let path = path.with_context(|| format!("{variables}_URL must have the form file:///folder"))?;
                std::fs::create_dir_all(&path)
                    .with_context(|| format!("{variables}_URL: cannot create the folder {}", path.display()))?;
                let store = LocalFileSystem::new_with_prefix(path)?.with_fsync(true);
                Ok(Self { store: Arc::new(store), folder: String::new() })
            }
            other => bail!("{variables}_URL must be s3://bucket/folder or file:///folder, not {other}://"),
        }
    }

    /// A path in it.
    pub fn path(&self, path: &str) -> Path {
        Path::from(format!("{}/{path}", self.folder))
    }
}

/// A bucket of an S3-compatible store, whatever path its URL has.
///
/// # Errors
/// If the configuration is invalid.
pub(crate) fn s3(config: BucketConfig<'_>) -> anyhow::Result<AmazonS3> {
    let BucketConfig { variables, url, endpoint, region, access_key, secret_key } = config;
    let bucket = url.host_str().filter(|bucket| !bucket.is_empty());
    let bucket = bucket.with_context(|| format!("{variables}_URL must name a bucket: s3://bucket"))?;
    // The caller waits for the response, so retries are short; the caller may try again.
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: Duration::from_secs(10) };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_retry(retry)
        .with_client_options(ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_allow_http(true));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
    }
    builder = match (access_key, secret_key) {
        (Some(id), Some(secret)) => builder.with_access_key_id(id.expose()).with_secret_access_key(secret.expose()),
        (None, None) => builder,
        _ => bail!("{variables}_ACCESS_KEY and {variables}_SECRET_KEY must be set together"),
    };
    Ok(builder.build()?)
}
