//! Garbage collection of attachment files: expired uploads, purged tasks, orphans, deleted accounts.

use baton_errors::Reason;
use baton_files::Refused;
use baton_task::maintenance::attachment_gc;
use baton_testkit::eventually;
use chrono::TimeDelta;
use uuid::Uuid;

use crate::{
    attachment_fixture::{AttachmentFixture, HELLO, announce},
    fixture::{error_reason, new_task},
};

#[tokio::test]
async fn incomplete_upload_expires() {
    let fixture = AttachmentFixture::new().await;
    let user = fixture.base.team.user_a1.clone();
    let task = fixture.base.create(&user, new_task("Write")).await.unwrap();
    let kept = fixture.attach(&user, &task.id).await;
    let left = fixture.create(&user, announce(&task.id, HELLO)).await.unwrap();
    fixture.send(&left.upload_url, HELLO).await.unwrap();
    fixture.base.clock.advance(TimeDelta::minutes(16));
    assert!(matches!(fixture.send(&left.upload_url, HELLO).await, Err(Refused::Ticket)), "the URL has expired");
    fixture.sweep().await;
    assert_eq!(fixture.rows().await, 2, "an upload that finished in time may still be completed");
    fixture.base.clock.advance(TimeDelta::minutes(60));
    assert_eq!(error_reason(fixture.complete(&user, &left.id).await), Reason::AttachmentNotFound);
    fixture.sweep().await;
    assert_eq!((fixture.rows().await, fixture.used().await), (1, 11));
    let [key] = fixture.keys().await.try_into().unwrap();
    assert!(key.contains(&kept), "{key}");
}

#[tokio::test]
async fn purged_task_deletes_its_files() {
    let fixture = AttachmentFixture::new().await;
    let user = fixture.base.team.user_a1.clone();
    let task = fixture.base.create(&user, new_task("Write")).await.unwrap();
    fixture.attach(&user, &task.id).await;
    sqlx::query("delete from task.tasks where id = $1::uuid")
        .bind(&task.id)
        .execute(&fixture.base.context.admin())
        .await
        .unwrap();
    fixture.sweep().await;
    assert_eq!((fixture.rows().await, fixture.keys().await, fixture.used().await), (0, Vec::new(), 0));
}

#[tokio::test]
async fn orphaned_objects_are_deleted_after_a_day() {
    let fixture = AttachmentFixture::new().await;
    let user = fixture.base.team.user_a1.clone();
    let task = fixture.base.create(&user, new_task("Write")).await.unwrap();
    let kept = fixture.attach(&user, &task.id).await;
    let got = fixture.get(&user, &kept).await.unwrap();
    // Objects left by crashed calls: one without an attachment, one beside an attachment's copy.
    let [key] = fixture.keys().await.try_into().unwrap();
    let (folder, _) = key.rsplit_once('/').unwrap();
    let orphan = format!("accounts/{}/attachments/{}/upload", fixture.base.team.account_id, Uuid::now_v7());
    let beside = format!("{folder}/{}", Uuid::now_v7());
    let foreign = "accounts/backup.tar".to_owned();
    for left in [&orphan, &beside, &foreign] {
        assert!(fixture.files.copy(&key, left).await.unwrap());
    }
    let db = fixture.db();
    assert_eq!(attachment_gc::sweep_orphans(&db, &fixture.files).await.unwrap(), 0, "it may belong to a running call");
    fixture.base.clock.advance(TimeDelta::hours(25));
    assert_eq!(attachment_gc::sweep_orphans(&db, &fixture.files).await.unwrap(), 2);
    let mut keys = fixture.keys().await;
    keys.sort();
    assert_eq!(keys, [key, foreign], "foreign objects are kept");
    fixture.base.clock.advance(TimeDelta::hours(-25));
    assert_eq!(fixture.fetch(&got.download_url).await.unwrap(), HELLO);
}

#[tokio::test]
async fn deleted_account_leaves_no_files() {
    let fixture = AttachmentFixture::new().await;
    let user = fixture.base.team.user_a1.clone();
    let task = fixture.base.create(&user, new_task("Write")).await.unwrap();
    fixture.attach(&user, &task.id).await;
    let other_account = AttachmentFixture { base: fixture.base.other_account().await, files: fixture.files.clone() };
    let owner = other_account.base.team.owner.clone();
    let theirs = other_account.base.create(&owner, new_task("Write")).await.unwrap();
    let kept = other_account.attach(&owner, &theirs.id).await;
    sqlx::query(
        "insert into task.jobs (id, kind, payload) values (gen_random_uuid(), 'account.clear', to_jsonb($1::text))",
    )
    .bind(fixture.base.team.account_id.to_string())
    .execute(&fixture.base.context.admin())
    .await
    .unwrap();
    let keys = eventually(|| async {
        let keys = fixture.keys().await;
        (fixture.rows().await == 1 && keys.len() == 1 && fixture.used().await == 11).then_some(keys)
    })
    .await;
    assert!(keys[0].contains(&kept));
}
