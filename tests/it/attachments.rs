//! Attachments over REST, with a folder and with a third-party S3-compatible store: create, upload, complete, download,
//! delete.

use baton_tests::{
    Node, Person, Platform, Team, eventually,
    files::{download, signed, upload},
};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// A file of several chunks.
fn picture() -> Vec<u8> {
    (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect()
}

/// A platform with an S3-compatible store.
struct S3Fixture {
    platform: Platform,
    _store: (Node, TempDir),
}

async fn start_with_s3() -> S3Fixture {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Node::start("s3.mjs", &json!({"bucket": "files", "folder": folder.path()}));
    let store_config = store.wait_for("the store", |line| line["endpoint"].is_string()).await;
    let of = |name: &str| store_config[name].as_str().unwrap().to_owned();
    let platform = Platform::start_with(&[
        ("BATON_TASK_ATTACHMENTS_URL", "s3://files"),
        ("BATON_TASK_ATTACHMENTS_ENDPOINT", &of("endpoint")),
        ("BATON_TASK_ATTACHMENTS_ACCESS_KEY", &of("access_key")),
        ("BATON_TASK_ATTACHMENTS_SECRET_KEY", &of("secret_key")),
    ])
    .await;
    S3Fixture { platform, _store: (store, folder) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

/// The round trip of a file, independent of the store.
async fn check_file_round_trip(platform: &Platform, team: &Team) {
    let (user, content) = (&team.user, picture());
    let task = user.create_task("Show it").await;
    let announced = user.announce(task, "Grüße; \"aus\" Köln.png", "image/png", &content).await;
    let id = text(&announced["id"]);
    let path = format!("/v1/attachments/{id}");
    let complete = format!("{path}/complete");
    user.get(&path).refused(404, "ATTACHMENT_NOT_FOUND").await;
    user.post(&complete, &json!({})).refused(409, "ATTACHMENT_NOT_UPLOADED").await;

    // Content that differs from the announcement: Baton refuses it even if the store accepts it.
    let other: Vec<u8> = content.iter().map(|byte| !byte).collect();
    upload(&announced, &other).await;
    let refused = user.post(&complete, &json!({})).send().await.problem();
    assert!(["ATTACHMENT_MISMATCH", "ATTACHMENT_NOT_UPLOADED"].contains(&text(&refused["reason"])), "{refused}");
    let sent = upload(&announced, &content).await;
    assert_eq!(sent.status, 200, "{}", String::from_utf8_lossy(&sent.body));
    let attachment = user.post(&complete, &json!({})).ok().await;
    assert_eq!(attachment["file_name"], "Grüße; \"aus\" Köln.png");
    assert_eq!(user.post(&complete, &json!({})).ok().await, attachment, "completing is idempotent");

    // Superiors see it; other users do not.
    let list = team.manager.get(&format!("/v1/tasks/{task}/attachments")).ok().await;
    assert_eq!((&list["attachments"], &list["meta"]["total_count"]), (&json!([attachment]), &json!(1)));
    let stranger = platform.team().await.owner;
    stranger.get(&path).refused(404, "ATTACHMENT_NOT_FOUND").await;

    let got = team.manager.get(&path).ok().await;
    let file = download(&got["download_url"]).await;
    assert_eq!((file.status, file.body == content), (200, true));
    let header = |name: &str| file.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "image/png");
    assert_eq!(
        header("content-disposition"),
        "attachment; filename=\"Gr__e_ _aus_ K_ln.png\"; \
         filename*=UTF-8''Gr%C3%BC%C3%9Fe%3B%20%22aus%22%20K%C3%B6ln.png"
    );
    // A signed URL permits one method on one file.
    assert_eq!(signed(Method::PUT, &got["download_url"], HeaderMap::new(), b"mine").await.status, 403);
    assert_eq!(signed(Method::GET, &announced["upload_url"], HeaderMap::new(), b"").await.status, 403);
    let forged = text(&got["download_url"]).replace(id, &Uuid::now_v7().to_string());
    let forged = forged.replace("v1/files/", "v1/files/e30");
    assert_eq!(signed(Method::GET, &json!(forged), HeaderMap::new(), b"").await.status, 403);
    // An upload after completion does not change the visible content.
    upload(&announced, &other).await;
    assert!(download(&team.manager.get(&path).ok().await["download_url"]).await.body == content);

    user.delete(&path).ok().await;
    user.get(&path).refused(404, "ATTACHMENT_NOT_FOUND").await;
    user.delete(&path).refused(404, "ATTACHMENT_NOT_FOUND").await;
    eventually("the content is deleted", || async {
        (download(&got["download_url"]).await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn files_in_a_folder_make_a_round_trip() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    check_file_round_trip(&platform, &team).await;
}

/// The folder store must support what S3-compatible stores provide.
#[tokio::test]
async fn folder_download_supports_ranges_and_conditional_requests() {
    let platform = Platform::start().await;
    let user = platform.team().await.user;
    let content = picture();
    let task = user.create_task("Show it").await;
    let announced = user.announce(task, "a.png", "image/png", &content).await;
    upload(&announced, &content).await;
    let path = format!("/v1/attachments/{}", text(&announced["id"]));
    user.post(&format!("{path}/complete"), &json!({})).ok().await;
    let url = &user.get(&path).ok().await["download_url"];
    let get = async |headers: &[(&'static str, &str)]| {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        signed(Method::GET, url, headers, b"").await
    };
    let whole = get(&[]).await;
    let etag = whole.headers["etag"].to_str().unwrap();
    let modified = whole.headers["last-modified"].to_str().unwrap();
    assert_eq!((whole.status, whole.headers["accept-ranges"].to_str().unwrap()), (200, "bytes"));

    for unchanged in [etag, modified] {
        let rest = get(&[("range", "bytes=10-"), ("if-range", unchanged)]).await;
        // A date within the current second is ambiguous, so the server may ignore it.
        if rest.status == 200 && unchanged == modified {
            continue;
        }
        assert_eq!((rest.status, rest.body == content[10..]), (206, true), "{unchanged}");
        assert_eq!(rest.headers["content-range"], *format!("bytes 10-{}/{}", content.len() - 1, content.len()));
        assert_eq!(rest.headers["etag"], *etag);
    }
    let other = get(&[("range", "bytes=10-"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status, other.body == content), (200, true));
    assert_eq!(get(&[("range", "bytes=0-1,5-6")]).await.status, 200);
    let beyond = get(&[("range", "bytes=99999999-")]).await;
    assert_eq!(
        (beyond.status, &beyond.headers["content-range"]),
        (416, &format!("bytes */{}", content.len()).parse().unwrap())
    );
    for (name, value, status) in [
        ("if-match", "\"other\"", 412),
        ("if-match", "other", 400),
        ("if-none-match", etag, 304),
        ("if-modified-since", modified, 304),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
    ] {
        assert_eq!(get(&[(name, value)]).await.status, status, "{name}: {value}");
    }
    let mut gzip = HeaderMap::new();
    gzip.insert("content-encoding", "gzip".parse().unwrap());
    let refused = signed(Method::PUT, &announced["upload_url"], gzip, b"hello").await;
    assert_eq!((refused.status, &refused.headers["accept-encoding"]), (415, &"identity".parse().unwrap()));
}

#[tokio::test]
async fn files_in_an_s3_compatible_store_make_a_round_trip() {
    let fixture = start_with_s3().await;
    let team = fixture.platform.team().await;
    check_file_round_trip(&fixture.platform, &team).await;

    // The signature covers the announced headers: missing or changed headers are refused.
    let task = team.user.create_task("Show it").await;
    let announced = team.user.announce(task, "a.txt", "text/plain", b"hello").await;
    assert!(text(&announced["upload_headers"]["x-amz-checksum-sha256"]).len() == 44, "{announced}");
    let put = |headers| signed(Method::PUT, &announced["upload_url"], headers, b"<script>");
    assert_eq!(put(HeaderMap::new()).await.status, 403);
    let mut html = HeaderMap::new();
    html.insert("content-type", "text/html".parse().unwrap());
    html.insert("x-amz-checksum-sha256", text(&announced["upload_headers"]["x-amz-checksum-sha256"]).parse().unwrap());
    assert_eq!(put(html).await.status, 403);
    // The platform does not serve the store's files itself.
    team.user.get("/v1/files/e30.e30").refused(404, "ROUTE_NOT_FOUND").await;
}

#[tokio::test]
async fn announced_files_count_toward_the_storage_quota() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let task = team.user.create_task("Show it").await;
    let attached = team.user.attach(task, "a.txt", "text/plain", b"hello").await;
    let usage = format!("/v1/accounts/{}/usage", team.account_id);
    let storage = async |person: &Person| {
        let usage = person.get(&usage).ok().await;
        let quotas = usage["quotas"].as_array().unwrap().clone();
        quotas.into_iter().find(|quota| quota["quota"] == "storage_mebibytes").unwrap()["used"].clone()
    };
    eventually("tenancy counts the storage", || async { (storage(&team.owner).await == 1).then_some(()) }).await;
    eventually("the log has the upload, without the file name", || async {
        let log = team.owner.get("/v1/activity-logs?action=attachment.added").ok().await;
        let row = log["activity_logs"].as_array()?.first()?.clone();
        assert_eq!((&row["resource_id"], &row["details"]["task_id"]), (&json!(attached), &json!(task)));
        assert!(!row.to_string().contains("a.txt"), "{row}");
        Some(())
    })
    .await;
    team.user.delete(&format!("/v1/attachments/{attached}")).ok().await;
    eventually("the storage is free again", || async { (storage(&team.owner).await == 0).then_some(()) }).await;
    assert!(!platform.output().contains("a.txt"), "a file name is in the log");
}
