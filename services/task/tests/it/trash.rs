//! The trash: delete, restore within 30 days, purge.

use baton_errors::Reason;
use baton_proto::baton::{
    api::v1::Page,
    task::v1::{CreateTaskRequest, ListTrashRequest, TaskEventKind, TaskFilter, TaskStatus},
};
use baton_testkit::{Person, eventually};
use chrono::TimeDelta;

use crate::fixture::{Fixture, RpcResult, error_reason, new_task, new_task_for, with_header};

async fn trash(fixture: &Fixture, actor: &Person) -> Vec<String> {
    let request = fixture.call(actor, ListTrashRequest { page: None });
    let response = fixture.tasks().list_trash(request).await.unwrap().into_inner();
    assert_eq!(response.meta.unwrap().total_count as usize, response.tasks.len());
    assert!(response.tasks.iter().all(|task| task.deleted_at.is_some()));
    response.tasks.into_iter().map(|task| task.id).collect()
}

#[tokio::test]
async fn restored_task_is_unchanged() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    fixture.start(&team.user_a1, &id).await.unwrap();
    fixture.clock.advance(TimeDelta::seconds(30));
    fixture.delete(&team.manager_a, &id).await.unwrap();
    fixture.clock.advance(TimeDelta::seconds(30));
    assert_eq!(error_reason(fixture.get(&team.manager_a, &id).await), Reason::TaskNotFound);
    assert!(fixture.list(&team.owner, TaskFilter::default()).await.unwrap().is_empty());
    assert_eq!(
        error_reason(fixture.delete(&team.manager_a, &id).await),
        Reason::TaskNotFound,
        "it is already in the trash"
    );

    assert_eq!(
        error_reason(fixture.restore(&team.user_a1, &id).await),
        Reason::TaskChangeNotAllowed,
        "they may not change it"
    );
    assert_eq!(error_reason(fixture.restore(&team.manager_b, &id).await), Reason::TaskNotFound);
    assert_eq!(error_reason(fixture.other_account().await.restore(&team.owner, &id).await), Reason::NotAMember);
    let back = fixture.restore(&team.manager_a, &id).await.unwrap();
    assert_eq!((back.status(), back.actual_seconds, back.version), (TaskStatus::Paused, 30, 4));
    assert_eq!((back.pause_reason.as_deref(), back.deleted_at), (Some("deleted"), None));
    assert_eq!(
        error_reason(fixture.restore(&team.manager_a, &id).await),
        Reason::TaskNotFound,
        "it is no longer in the trash"
    );
    let kinds: Vec<_> = fixture.timeline(&team.manager_a, &id).await.unwrap().iter().map(|line| line.kind()).collect();
    use TaskEventKind::{Created, Deleted, Restored, Started};
    assert_eq!(kinds, [Created, Started, Deleted, Restored]);
    let types: Vec<String> = fixture.events(&id).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(types.last().unwrap(), "task.restored");
    fixture.resume(&team.user_a1, &id).await.unwrap();
}

#[tokio::test]
async fn repeated_restore_gets_the_first_response() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    fixture.delete(me, &id).await.unwrap();
    let restore = |version: &'static str| {
        let message = baton_proto::baton::task::v1::RestoreTaskRequest { id: id.clone() };
        with_header(with_header(fixture.call(me, message), "idempotency-key", "back"), "if-match", version)
    };
    assert_eq!(error_reason(fixture.tasks().restore_task(restore("\"1\"")).await), Reason::VersionMismatch);
    let first = fixture.tasks().restore_task(restore("\"2\"")).await.unwrap().into_inner();
    assert_eq!(fixture.tasks().restore_task(restore("\"2\"")).await.unwrap().into_inner(), first);
}

#[tokio::test]
async fn trash_lists_restorable_tasks_newest_first() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let mut ids = Vec::new();
    for (actor, title) in [(&team.user_a1, "A"), (&team.manager_a, "B"), (&team.user_a1, "C")] {
        let id = fixture.create(actor, new_task(title)).await.unwrap().id;
        fixture.delete(actor, &id).await.unwrap();
        fixture.clock.advance(TimeDelta::seconds(1));
        ids.push(id);
    }
    fixture.create(&team.user_a1, new_task("Not deleted")).await.unwrap();
    let [a, b, c] = <[String; 3]>::try_from(ids).unwrap();
    assert_eq!(trash(&fixture, &team.user_a1).await, [c.clone(), a.clone()]);
    assert_eq!(trash(&fixture, &team.manager_a).await, std::slice::from_ref(&b));
    assert_eq!(trash(&fixture, &team.super_manager).await, [c.clone(), b.clone(), a.clone()]);
    let other_account = fixture.other_account().await;
    assert!(trash(&other_account, &other_account.team.owner).await.is_empty());

    // Paginated by token.
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = Page { per_page: 2, page_token: token, ..Default::default() };
        let request = fixture.call(&team.owner, ListTrashRequest { page: Some(page) });
        let response = fixture.tasks().list_trash(request).await.unwrap().into_inner();
        seen.extend(response.tasks.into_iter().map(|task| task.id));
        token = response.meta.unwrap().next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [c, b, a]);
}

#[tokio::test]
async fn task_is_purged_after_thirty_days_and_its_subtasks_are_detached() {
    // The trash is purged at start, so a second instance starts later.
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let whole = fixture.create(me, new_task("Whole")).await.unwrap().id;
    let part = CreateTaskRequest { parent_task_id: Some(whole.clone()), ..new_task("Part") };
    let part = fixture.create(me, part).await.unwrap().id;
    let kept = fixture.create(me, new_task("Thrown away later")).await.unwrap().id;
    fixture.delete(me, &whole).await.unwrap();
    assert_eq!(fixture.get(me, &part).await.unwrap().parent_task_id, Some(whole.clone()));
    fixture.clock.advance(TimeDelta::days(1));
    fixture.delete(me, &kept).await.unwrap();
    fixture.clock.advance(TimeDelta::days(29) + TimeDelta::seconds(1));
    fixture.start_instance().await;

    eventually(|| async { (trash(&fixture, me).await == [kept.clone()]).then_some(()) }).await;
    let alone = fixture.get(me, &part).await.unwrap();
    assert_eq!((alone.parent_task_id, alone.version), (None, 2));
    let line = fixture.timeline(me, &part).await.unwrap().pop().unwrap();
    assert_eq!(line.kind(), TaskEventKind::Updated);
    let lines: i64 = sqlx::query_scalar("select count(*) from task.task_events where task_id = $1::uuid")
        .bind(&whole)
        .fetch_one(&fixture.context.admin())
        .await
        .unwrap();
    assert_eq!(lines, 0);
    let gone: RpcResult = fixture.restore(me, &whole).await;
    assert_eq!(error_reason(gone), Reason::TaskNotFound);
    fixture.restore(me, &kept).await.unwrap();
}
