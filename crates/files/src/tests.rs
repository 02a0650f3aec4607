use futures_util::stream;
use http::{
    HeaderMap,
    header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE},
};

use super::*;

fn config(folder: &std::path::Path) -> FilesConfig {
    let env = [
        ("BATON_TASK_ATTACHMENTS_URL", Url::from_file_path(folder).unwrap().to_string()),
        ("BATON_TASK_ATTACHMENTS_SIGNING_KEY", STANDARD.encode([1; 32])),
        ("BATON_TASK_ATTACHMENTS_PUBLIC_URL", "https://baton.example.org/base/".to_owned()),
    ];
    FilesConfig::from_env(&env.into_iter().collect()).unwrap()
}

fn files(folder: &std::path::Path) -> Files {
    Files::open(&config(folder), Clock::system()).unwrap()
}

fn token(url: &Url) -> &str {
    url.path().strip_prefix("/base/v1/files/").unwrap()
}

fn announced(content: &[u8]) -> Announced<'static> {
    Announced { content_type: "text/plain", size: content.len() as u32, checksum: &[] }
}

async fn send(files: &Files, url: &Url, parts: &[&'static [u8]]) -> Result<(), Refused> {
    let parts = parts.iter().map(|&part| Ok::<_, std::io::Error>(bytes::Bytes::from_static(part)));
    files.folder().unwrap().take(token(url), stream::iter(parts.collect::<Vec<_>>())).await
}

/// A plain GET.
async fn fetch(files: &Files, url: &Url) -> Result<Download, Refused> {
    files.folder().unwrap().give(token(url), &Method::GET, &HeaderMap::new()).await
}

async fn whole(download: Download) -> Vec<u8> {
    match download.content {
        Content::Whole(content) => content.try_collect::<Vec<_>>().await.unwrap().concat(),
        _ => panic!("not the whole file"),
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn file_is_uploaded_copied_downloaded_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let upload = files.upload("accounts/a/1/upload", announced(b"hello world"), MINUTE).await.unwrap();
    send(&files, &upload.url, &[b"hello ", b"world"]).await.unwrap();
    assert_eq!(files.size("accounts/a/1/upload").await.unwrap(), Some(11));
    assert!(files.copy("accounts/a/1/upload", "accounts/a/1/kept").await.unwrap());
    assert!(!files.copy("accounts/a/2/upload", "accounts/a/2/kept").await.unwrap());

    let (size, digest) = files.measure("accounts/a/1/kept", 100).await.unwrap().unwrap();
    assert_eq!((size, digest), (11, aws_lc_rs::digest::digest(&SHA256, b"hello world").as_ref().to_vec()));
    let url = files.download("accounts/a/1/kept", "hi.txt", "text/plain", MINUTE).await.unwrap();
    let file = fetch(&files, &url).await.unwrap();
    assert_eq!((file.size, file.content_type.as_str()), (11, "text/plain"));
    assert!(file.disposition.starts_with("attachment; filename=\"hi.txt\""));
    assert_eq!(whole(file).await, b"hello world");

    // A second upload to the same URL does not change the copy.
    send(&files, &upload.url, &[b"HELLO WORLD"]).await.unwrap();
    assert_eq!(files.measure("accounts/a/1/kept", 100).await.unwrap().unwrap().1[..4], file_digest()[..4]);

    files.delete_below("accounts/a/1").await.unwrap();
    assert_eq!(files.size("accounts/a/1/kept").await.unwrap(), None);
    assert!(matches!(fetch(&files, &url).await, Err(Refused::Absent)));
    // Deletion is idempotent.
    files.delete_below("accounts/a/1").await.unwrap();
    files.delete("accounts/a/1/kept").await.unwrap();
}

fn file_digest() -> Vec<u8> {
    aws_lc_rs::digest::digest(&SHA256, b"hello world").as_ref().to_vec()
}

#[tokio::test]
async fn download_supports_ranges_and_conditions() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let upload = files.upload("accounts/a/1/upload", announced(b"hello world"), MINUTE).await.unwrap();
    send(&files, &upload.url, &[b"hello world"]).await.unwrap();
    let url = files.download("accounts/a/1/upload", "hi.txt", "text/plain", MINUTE).await.unwrap();
    let get = async |headers: &[(HeaderName, &str)]| {
        let value = |value: &str| HeaderValue::from_str(value).unwrap();
        let headers = headers.iter().map(|(name, text)| (name.clone(), value(text))).collect();
        files.folder().unwrap().give(token(&url), &Method::GET, &headers).await
    };
    let etag = get(&[]).await.unwrap().etag;

    let rest = get(&[(RANGE, "bytes=6-"), (IF_RANGE, &etag)]).await.unwrap();
    match rest.content {
        Content::Part(part, content) => {
            let bytes = content.try_collect::<Vec<_>>().await.unwrap().concat();
            assert_eq!((part, bytes.as_slice(), rest.size), (6..11, &b"world"[..], 11));
        }
        _ => panic!("not a part"),
    }
    assert!(matches!(get(&[(RANGE, "bytes=11-")]).await.unwrap().content, Content::Unsatisfiable));
    assert!(matches!(get(&[(IF_NONE_MATCH, &etag)]).await.unwrap().content, Content::NotModified));
    assert!(matches!(get(&[(IF_MATCH, "\"other\"")]).await.unwrap().content, Content::Failed));
    assert!(matches!(get(&[(IF_MATCH, "other")]).await, Err(Refused::Header(_))));

    // The file at the key was replaced, so its rest does not belong to the part that the client has.
    send(&files, &upload.url, &[b"HELLO WORLD"]).await.unwrap();
    assert_eq!(whole(get(&[(RANGE, "bytes=6-"), (IF_RANGE, &etag)]).await.unwrap()).await, b"HELLO WORLD");
    assert!(matches!(get(&[(IF_NONE_MATCH, &etag)]).await.unwrap().content, Content::Whole(_)));
}

#[tokio::test]
async fn content_of_the_wrong_size_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let upload = files.upload("accounts/a/1/upload", announced(b"hello"), MINUTE).await.unwrap();
    for parts in [&[&b"hell"[..]][..], &[b"hello", b"!"], &[]] {
        assert!(matches!(send(&files, &upload.url, parts).await, Err(Refused::Size)));
        assert_eq!(files.size("accounts/a/1/upload").await.unwrap(), None);
    }
    // The client disconnects during the upload.
    let cut = stream::iter([Ok(bytes::Bytes::from_static(b"hel")), Err(std::io::Error::other("gone"))]);
    assert!(matches!(files.folder().unwrap().take(token(&upload.url), cut).await, Err(Refused::Broken(_))));
    assert_eq!(files.size("accounts/a/1/upload").await.unwrap(), None);
}

#[tokio::test]
async fn token_is_valid_for_one_method_only() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let upload = files.upload("accounts/a/1/upload", announced(b"hello"), MINUTE).await.unwrap();
    send(&files, &upload.url, &[b"hello"]).await.unwrap();
    assert!(matches!(fetch(&files, &upload.url).await, Err(Refused::Ticket)));
    let download = files.download("accounts/a/1/upload", "a", "text/plain", MINUTE).await.unwrap();
    assert!(matches!(send(&files, &download, &[b"HELLO"]).await, Err(Refused::Ticket)));
    let expired = files.download("accounts/a/1/upload", "a", "text/plain", Duration::ZERO).await.unwrap();
    assert!(matches!(fetch(&files, &expired).await, Err(Refused::Ticket)));
}

#[tokio::test]
async fn key_cannot_escape_the_folder() {
    let parent = tempfile::tempdir().unwrap();
    let files = files(&parent.path().join("inside"));
    let upload = files.upload("../outside", announced(b"hello"), MINUTE).await.unwrap();
    send(&files, &upload.url, &[b"hello"]).await.unwrap();
    assert!(!parent.path().join("outside").exists());
}

#[tokio::test]
async fn only_old_files_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let upload = files.upload("accounts/a/1/upload", announced(b"hello"), MINUTE).await.unwrap();
    send(&files, &upload.url, &[b"hello"]).await.unwrap();
    let listed = |time| files.older_than("accounts", time).try_collect::<Vec<_>>();
    let now = Clock::system().now();
    assert_eq!(listed(now - MINUTE).await.unwrap(), Vec::<String>::new());
    assert_eq!(listed(now + MINUTE).await.unwrap(), ["accounts/a/1/upload"]);
}

#[tokio::test]
async fn s3_url_signs_type_and_checksum_and_sets_the_disposition() {
    let env = [
        ("BATON_TASK_ATTACHMENTS_URL", "s3://files"),
        ("BATON_TASK_ATTACHMENTS_ENDPOINT", "https://s3.example.org/"),
        ("BATON_TASK_ATTACHMENTS_REGION", "eu-central-1"),
        ("BATON_TASK_ATTACHMENTS_ACCESS_KEY", "id"),
        ("BATON_TASK_ATTACHMENTS_SECRET_KEY", "hunter2"),
    ];
    let config = FilesConfig::from_env(&env.into_iter().collect()).unwrap();
    let files = Files::open(&config, Clock::system()).unwrap();
    assert!(files.folder().is_none());
    let query =
        |url: &Url, name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());

    let file = Announced { content_type: "image/png", size: 3, checksum: &[7; 32] };
    let upload = files.upload("accounts/a/attachments/1/upload", file, MINUTE).await.unwrap();
    assert!(upload.url.as_str().starts_with("https://s3.example.org/files/accounts/a/attachments/1/upload?"));
    assert_eq!(query(&upload.url, "X-Amz-Expires").unwrap(), "60");
    assert_eq!(query(&upload.url, "X-Amz-SignedHeaders").unwrap(), "content-type;host;x-amz-checksum-sha256");
    assert_eq!(upload.headers[1], ("x-amz-checksum-sha256", STANDARD.encode([7; 32])));

    let url = files.download("accounts/a/attachments/1/2", "a b.html", "text/plain", MINUTE).await.unwrap();
    let disposition = query(&url, "response-content-disposition").unwrap();
    assert_eq!(disposition, "attachment; filename=\"a b.html\"; filename*=UTF-8''a%20b.html");
    assert_eq!(query(&url, "response-content-type").unwrap(), "text/plain");
    assert!(!url.as_str().contains("hunter2"));
}

#[test]
fn invalid_configuration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = config(folder.path());
    for (url, access_key) in
        [("s3://", None), ("s3://bucket/path", None), ("s3://bucket", Some("half")), ("gs://b", None)]
    {
        let config = FilesConfig { url: url.parse().unwrap(), access_key: access_key.map(Secret::new), ..good.clone() };
        assert!(Files::open(&config, Clock::system()).is_err(), "{url}");
    }
    assert!(Files::open(&FilesConfig { signing_key: None, ..good }, Clock::system()).is_err());
}
