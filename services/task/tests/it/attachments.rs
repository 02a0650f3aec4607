//! Attachments: create, upload, complete, download, delete.

use std::time::Duration;

use baton_errors::Reason;
use baton_files::Refused;
use baton_proto::baton::{
    task::v1::{AttachmentEvent, CreateAttachmentRequest, CreateAttachmentResponse},
    tenancy::v1::UsageChanged,
};
use baton_runtime::Clock;
use baton_task::{Config, SPEC, maintenance::attachment_gc, start};
use baton_testkit::{TestContext, reason};
use futures_util::future::join_all;
use prost::Message as _;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::{
    attachment_fixture::{AttachmentFixture, HELLO, announce, hex},
    fixture::{error_reason, invalid_field, new_task, with_header},
};

#[tokio::test]
async fn completed_file_is_visible_to_all_who_see_the_task() {
    let fixture = AttachmentFixture::new().await;
    let (user, manager) = (fixture.base.team.user_a1.clone(), fixture.base.team.manager_a.clone());
    let task = fixture.base.create(&user, new_task("Write")).await.unwrap();
    let created = fixture.create(&user, announce(&task.id, HELLO)).await.unwrap();
    assert_eq!(created.upload_method, "PUT");
    assert_eq!(fixture.list(&user, &task.id).await.unwrap(), Vec::<String>::new());
    assert_eq!(error_reason(fixture.get(&user, &created.id).await), Reason::AttachmentNotFound);
    assert_eq!(error_reason(fixture.complete(&user, &created.id).await), Reason::AttachmentNotUploaded);
    assert_eq!(error_reason(fixture.complete(&manager, &created.id).await), Reason::AttachmentNotFound);
    assert!(fixture.events("attachment.added").await.is_empty());

    fixture.send(&created.upload_url, HELLO).await.unwrap();
    let attachment = fixture.complete(&user, &created.id).await.unwrap();
    assert_eq!((attachment.file_name.as_str(), attachment.size_bytes), ("Grüße an alle.txt", 11));
    assert_eq!((attachment.checksum_sha256, attachment.uploaded_by), (hex(HELLO), user.user_id.to_string()));
    assert_eq!(fixture.complete(&user, &created.id).await.unwrap().completed_at, attachment.completed_at);
    assert_eq!(fixture.list(&manager, &task.id).await.unwrap(), [created.id.as_str()]);

    let got = fixture.get(&manager, &created.id).await.unwrap();
    assert_eq!(fixture.fetch(&got.download_url).await.unwrap(), HELLO);
    let file = fixture.download(&got.download_url).await.unwrap();
    assert!(file.disposition.starts_with("attachment; "), "{}", file.disposition);
    assert_eq!(file.content_type, "text/plain");

    let [event] = fixture.events("attachment.added").await.try_into().unwrap();
    assert_eq!((event.subject_id.as_str(), event.actor_id), (created.id.as_str(), user.user_id.to_string()));
    let payload: AttachmentEvent = event.payload.unwrap().to_msg().unwrap();
    assert_eq!((payload.task_id, payload.created_by), (task.id, user.user_id.to_string()));
    // The store keeps only the verified copy, and no file names.
    let [key] = fixture.keys().await.try_into().unwrap();
    let folder = format!("accounts/{}/attachments/{}/", fixture.base.team.account_id, created.id);
    assert!(key.strip_prefix(&folder).unwrap().parse::<Uuid>().is_ok(), "{key}");
}

#[tokio::test]
async fn files_of_a_hidden_task_are_not_found() {
    let fixture = AttachmentFixture::new().await;
    let team = fixture.base.team.clone();
    let task = fixture.base.create(&team.user_a1, new_task("Write")).await.unwrap();
    let id = fixture.attach(&team.user_a1, &task.id).await;
    let stranger = &team.user_b1;
    assert_eq!(error_reason(fixture.create(stranger, announce(&task.id, HELLO)).await), Reason::TaskNotFound);
    assert_eq!(error_reason(fixture.list(stranger, &task.id).await), Reason::TaskNotFound);
    assert_eq!(error_reason(fixture.get(stranger, &id).await), Reason::AttachmentNotFound);
    assert_eq!(error_reason(fixture.complete(stranger, &id).await), Reason::AttachmentNotFound);
    assert_eq!(error_reason(fixture.delete(stranger, &id).await), Reason::AttachmentNotFound);

    let other_account = AttachmentFixture { base: fixture.base.other_account().await, files: fixture.files.clone() };
    let owner = other_account.base.team.owner.clone();
    assert_eq!(error_reason(other_account.create(&owner, announce(&task.id, HELLO)).await), Reason::TaskNotFound);
    assert_eq!(error_reason(other_account.get(&owner, &id).await), Reason::AttachmentNotFound);
    assert_eq!(error_reason(other_account.delete(&owner, &id).await), Reason::AttachmentNotFound);

    // Files of a deleted task are hidden.
    fixture.base.delete(&team.user_a1, &task.id).await.unwrap();
    assert_eq!(error_reason(fixture.get(&team.user_a1, &id).await), Reason::AttachmentNotFound);
    fixture.sweep().await;
    assert_eq!(fixture.keys().await.len(), 1, "the object is kept, because the task may be restored");
}

#[tokio::test]
async fn content_that_differs_from_its_announcement_is_deleted() {
    let fixture = AttachmentFixture::new().await;
    let user = fixture.base.team.user_a1.clone();
    let task = fixture.base.create(&user, new_task("Write")).await.unwrap();
    let created = fixture.create(&user, announce(&task.id, HELLO)).await.unwrap();
    assert!(matches!(fixture.send(&created.upload_url, b"hello world!").await, Err(Refused::Size)));
    fixture.send(&created.upload_url, b"HELLO WORLD").await.unwrap();
    assert_eq!(error_reason(fixture.complete(&user, &created.id).await), Reason::AttachmentMismatch);
    assert_eq!(fixture.keys().await, Vec::<String>::new());
    assert_eq!(error_reason(fixture.complete(&user, &created.id).await), Reason::AttachmentNotUploaded);
    // The URL still accepts the right content. After completion, further uploads to it have no effect.
    fixture.send(&created.upload_url, HELLO).await.unwrap();
    fixture.complete(&user, &created.id).await.unwrap();
    fixture.send(&created.upload_url, b"HELLO WORLD").await.unwrap();
    fixture.complete(&user, &created.id).await.unwrap();
    let got = fixture.get(&user, &created.id).await.unwrap();
    assert_eq!(fixture.fetch(&got.download_url).await.unwrap(), HELLO);
    // The store may not check sizes, so the stored object decides, not the announcement.
    let other = fixture.create(&user, announce(&task.id, b"hello")).await.unwrap();
    let key = format!("accounts/{}/attachments/{}/upload", fixture.base.team.account_id, other.id);
    let old = format!("accounts/{}/attachments/{}/upload", fixture.base.team.account_id, created.id);
    assert!(fixture.files.copy(&old, &key).await.unwrap());
    assert_eq!(error_reason(fixture.complete(&user, &other.id).await), Reason::AttachmentMismatch);
}

#[tokio::test]
async fn concurrent_completions_complete_once_and_return_the_same() {
    let fixture = AttachmentFixture::new().await;
    let user = fixture.base.team.user_a1.clone();
    let task = fixture.base.create(&user, new_task("Write")).await.unwrap();
    let created = fixture.create(&user, announce(&task.id, HELLO)).await.unwrap();
    fixture.send(&created.upload_url, HELLO).await.unwrap();
    let responses = join_all((0..20).map(|_| fixture.complete(&user, &created.id))).await;
    for response in responses {
        assert_eq!(response.unwrap().id, created.id);
    }
    assert_eq!(fixture.events("attachment.added").await.len(), 1);
    let got = fixture.get(&user, &created.id).await.unwrap();
    assert_eq!(fixture.fetch(&got.download_url).await.unwrap(), HELLO);
    assert_eq!(fixture.keys().await.len(), 1, "unused copies are deleted");
}

#[tokio::test]
async fn repeated_announcement_creates_one_file() {
    let fixture = AttachmentFixture::new().await;
    let user = fixture.base.team.user_a1.clone();
    let task = fixture.base.create(&user, new_task("Write")).await.unwrap();
    let call = |content| with_header(fixture.base.call(&user, announce(&task.id, content)), "idempotency-key", "k");
    let mut service = fixture.service();
    let first = service.create_attachment(call(HELLO)).await.unwrap().into_inner();
    let again = service.create_attachment(call(HELLO)).await.unwrap().into_inner();
    assert_eq!(first, again);
    let other = service.create_attachment(call(b"other")).await.unwrap_err();
    assert_eq!(reason(&other), Some(Reason::IdempotencyKeyReused));
    assert_eq!((fixture.rows().await, fixture.used().await), (1, 11));
    // The stored idempotent response contains no object key.
    let kept: Vec<Vec<u8>> =
        sqlx::query_scalar("select response from task.idempotency_keys where rpc = 'CreateAttachment'")
            .fetch_all(&fixture.base.context.admin())
            .await
            .unwrap();
    let kept = CreateAttachmentResponse::decode(kept[0].as_slice()).unwrap();
    assert_eq!((kept.id, kept.upload_url.as_str()), (first.id, ""));
}

#[tokio::test]
async fn invalid_file_is_refused_with_a_reason_and_uses_no_quota() {
    let fixture = AttachmentFixture::new().await;
    let user = fixture.base.team.user_a1.clone();
    let task = fixture.base.create(&user, new_task("Write")).await.unwrap();
    let good = announce(&task.id, HELLO);
    let create_with = |change: fn(&mut CreateAttachmentRequest)| {
        let mut request = good.clone();
        change(&mut request);
        fixture.create(&user, request)
    };
    assert_eq!(invalid_field(create_with(|r| r.file_name = "../../etc/passwd".to_owned()).await), "file_name");
    assert_eq!(invalid_field(create_with(|r| r.file_name = "invoice\u{202e}gnp.exe".to_owned()).await), "file_name");
    assert_eq!(
        invalid_field(create_with(|r| r.content_type = "text/plain; charset=utf-8".to_owned()).await),
        "content_type"
    );
    assert_eq!(invalid_field(create_with(|r| r.size_bytes = -1).await), "size_bytes");
    assert_eq!(invalid_field(create_with(|r| r.checksum_sha256 = "abc".to_owned()).await), "checksum_sha256");
    for content_type in ["text/html", "image/svg+xml", "application/x-msdownload"] {
        let mut request = good.clone();
        request.content_type = content_type.to_owned();
        assert_eq!(error_reason(fixture.create(&user, request).await), Reason::AttachmentTypeNotAllowed);
    }
    let large = create_with(|r| r.size_bytes = 26_214_401).await.unwrap_err();
    assert_eq!(reason(&large), Some(Reason::AttachmentTooLarge));
    assert_eq!(large.get_details_error_info().unwrap().metadata["limit"], "26214400");
    create_with(|r| (r.size_bytes, r.content_type) = (26_214_400, "IMAGE/PNG".to_owned())).await.unwrap();
    assert_eq!((fixture.rows().await, fixture.used().await), (1, 26_214_400));
}

#[tokio::test]
async fn concurrent_uploads_stay_within_the_file_limit() {
    let fixture = AttachmentFixture::new().await;
    let user = fixture.base.team.user_a1.clone();
    let task = fixture.base.create(&user, new_task("Write")).await.unwrap();
    fixture.create(&user, announce(&task.id, HELLO)).await.unwrap();
    sqlx::query(
        "insert into task.attachments (id, account_id, task_id, uploaded_by, file_name, content_type, size_bytes,
                                       checksum, state, created_at, expires_at)
         select gen_random_uuid(), account_id, task_id, uploaded_by, file_name, content_type, size_bytes,
                checksum, state, created_at, expires_at
         from task.attachments, generate_series(1, 98)",
    )
    .execute(&fixture.base.context.admin())
    .await
    .unwrap();
    let responses = join_all((0..10).map(|_| fixture.create(&user, announce(&task.id, HELLO)))).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 1);
    for response in responses.into_iter().filter(Result::is_err) {
        assert_eq!(error_reason(response), Reason::AttachmentLimit);
    }
    assert_eq!(fixture.rows().await, 100);
}

#[tokio::test]
async fn storage_quota_is_per_account_and_holds_under_concurrency() {
    let fixture = AttachmentFixture::new().await;
    let team = fixture.base.team.clone();
    sqlx::query("update tenancy.accounts set max_storage_mebibytes = 3")
        .execute(&fixture.base.context.admin())
        .await
        .unwrap();
    let task = fixture.base.create(&team.user_a1, new_task("Write")).await.unwrap();
    let mut request = announce(&task.id, HELLO);
    request.size_bytes = 1024 * 1024;
    let first = fixture.create(&team.user_a1, request.clone()).await.unwrap();
    fixture.create(&team.user_a1, request.clone()).await.unwrap();
    let responses = join_all((0..20).map(|_| fixture.create(&team.user_a1, request.clone()))).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 1);
    for refused in responses.into_iter().filter_map(Result::err) {
        assert_eq!(reason(&refused), Some(Reason::QuotaExceeded));
        let details = refused.get_details_error_info().unwrap().metadata;
        assert_eq!(["quota", "limit", "used"].map(|name| details[name].as_str()), ["storage_mebibytes", "3", "3"]);
    }
    // Deleting frees the quota, once.
    fixture.delete(&team.user_a1, &first.id).await.unwrap();
    assert_eq!(error_reason(fixture.delete(&team.user_a1, &first.id).await), Reason::AttachmentNotFound);
    assert_eq!(fixture.used().await, 2 * 1024 * 1024);
    fixture.create(&team.user_a1, announce(&task.id, HELLO)).await.unwrap();
    let published = fixture.events("usage.changed").await.into_iter();
    let published: Vec<i32> = published
        .map(|event| event.payload.unwrap().to_msg::<UsageChanged>().unwrap())
        .filter(|usage| usage.user_id.is_empty())
        .map(|usage| usage.used)
        .collect();
    assert_eq!(published, [1, 2, 3, 2, 3], "a started MiB counts in full");

    let db = fixture.db();
    assert_eq!(attachment_gc::rebuild(&db, true).await.unwrap(), []);
    sqlx::query("update task.storage_usage set used_bytes = 7").execute(&fixture.base.context.admin()).await.unwrap();
    let [wrong] = attachment_gc::rebuild(&db, false).await.unwrap().try_into().unwrap();
    assert_eq!((wrong.counted, wrong.actual), (7, 2 * 1024 * 1024 + 11));
    assert_eq!(fixture.used().await, wrong.actual);
    assert_eq!(attachment_gc::rebuild(&db, true).await.unwrap(), []);
}

#[tokio::test]
async fn uploader_and_task_editors_delete_files() {
    let fixture = AttachmentFixture::new().await;
    let team = fixture.base.team.clone();
    let shared = baton_proto::baton::task::v1::CreateTaskRequest {
        visibility: baton_proto::baton::task::v1::TaskVisibility::Account.into(),
        ..new_task("Write")
    };
    let task = fixture.base.create(&team.user_a1, shared).await.unwrap();
    let own = fixture.attach(&team.user_b1, &task.id).await;
    let others = fixture.attach(&team.user_a1, &task.id).await;
    assert_eq!(error_reason(fixture.delete(&team.user_b1, &others).await), Reason::TaskChangeNotAllowed);
    fixture.delete(&team.user_b1, &own).await.unwrap();
    fixture.delete(&team.manager_a, &others).await.unwrap();
    assert_eq!(error_reason(fixture.get(&team.user_a1, &others).await), Reason::AttachmentNotFound);
    assert_eq!(fixture.list(&team.user_a1, &task.id).await.unwrap(), Vec::<String>::new());
    assert_eq!((fixture.events("attachment.removed").await.len(), fixture.used().await), (2, 0));
    fixture.sweep().await;
    assert_eq!((fixture.rows().await, fixture.keys().await), (0, Vec::new()));
}

#[tokio::test]
async fn service_without_its_file_store_does_not_start() {
    let context = TestContext::start(&[SPEC.schema()]).await;
    let mut env = context.env();
    env.set("BATON_TASK_ATTACHMENTS_URL", "ftp://files");
    let config = Config::from_env(&SPEC, &env).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let started = start(config, Clock::system(), listener, context.shutdown().clone());
    let error = tokio::time::timeout(Duration::from_secs(10), started).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("BATON_TASK_ATTACHMENTS_URL"), "{error}");
}

#[tokio::test]
async fn empty_file_is_accepted() {
    let fixture = AttachmentFixture::new().await;
    let me = fixture.base.team.user_a1.clone();
    let task = fixture.base.create(&me, new_task("Sweep")).await.unwrap().id;
    let created = fixture.create(&me, announce(&task, b"")).await.unwrap();
    fixture.send(&created.upload_url, b"").await.unwrap();
    let attachment = fixture.complete(&me, &created.id).await.unwrap();
    assert_eq!(attachment.size_bytes, 0);
    let read = fixture.get(&me, &created.id).await.unwrap();
    assert_eq!(fixture.fetch(&read.download_url).await.unwrap(), b"");
}
