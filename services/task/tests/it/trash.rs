//! What is thrown away can be taken back, for 30 days.

use baton_errors::Reason;
use baton_proto::baton::{
    api::v1::Page,
    task::v1::{CreateTaskRequest, ListTrashRequest, TaskEventKind, TaskFilter, TaskStatus},
};
use baton_testkit::{Person, eventually};
use chrono::TimeDelta;

use crate::desk::{Answer, Desk, new, new_for, refused, with};

async fn trash(desk: &Desk, who: &Person) -> Vec<String> {
    let request = desk.call(who, ListTrashRequest { page: None });
    let answer = desk.tasks().list_trash(request).await.unwrap().into_inner();
    assert_eq!(answer.meta.unwrap().total_count as usize, answer.tasks.len());
    assert!(answer.tasks.iter().all(|task| task.deleted_at.is_some()));
    answer.tasks.into_iter().map(|task| task.id).collect()
}

#[tokio::test]
async fn a_deleted_task_comes_back_as_it_was() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let id = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    desk.start(&team.user_a1, &id).await.unwrap();
    desk.clock.advance(TimeDelta::seconds(30));
    desk.delete(&team.manager_a, &id).await.unwrap();
    desk.clock.advance(TimeDelta::seconds(30));
    assert_eq!(refused(desk.get(&team.manager_a, &id).await), Reason::TaskNotFound);
    assert!(desk.list(&team.owner, TaskFilter::default()).await.unwrap().is_empty());
    assert_eq!(refused(desk.delete(&team.manager_a, &id).await), Reason::TaskNotFound, "it is there already");

    assert_eq!(refused(desk.restore(&team.user_a1, &id).await), Reason::TaskChangeNotAllowed, "it is not theirs");
    assert_eq!(refused(desk.restore(&team.manager_b, &id).await), Reason::TaskNotFound);
    assert_eq!(refused(desk.elsewhere().await.restore(&team.owner, &id).await), Reason::NotAMember);
    let back = desk.restore(&team.manager_a, &id).await.unwrap();
    assert_eq!((back.status(), back.actual_seconds, back.version), (TaskStatus::Paused, 30, 4));
    assert_eq!((back.pause_reason.as_deref(), back.deleted_at), (Some("deleted"), None));
    assert_eq!(refused(desk.restore(&team.manager_a, &id).await), Reason::TaskNotFound, "it is not there any more");
    let kinds: Vec<_> = desk.timeline(&team.manager_a, &id).await.unwrap().iter().map(|line| line.kind()).collect();
    use TaskEventKind::{Created, Deleted, Restored, Started};
    assert_eq!(kinds, [Created, Started, Deleted, Restored]);
    let types: Vec<String> = desk.events(&id).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(types.last().unwrap(), "task.restored");
    desk.resume(&team.user_a1, &id).await.unwrap();
}

#[tokio::test]
async fn a_repeated_restore_gets_its_first_answer() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("Sweep")).await.unwrap().id;
    desk.delete(me, &id).await.unwrap();
    let restore = |version: &'static str| {
        let message = baton_proto::baton::task::v1::RestoreTaskRequest { id: id.clone() };
        with(with(desk.call(me, message), "idempotency-key", "back"), "if-match", version)
    };
    assert_eq!(refused(desk.tasks().restore_task(restore("\"1\"")).await), Reason::VersionMismatch);
    let first = desk.tasks().restore_task(restore("\"2\"")).await.unwrap().into_inner();
    assert_eq!(desk.tasks().restore_task(restore("\"2\"")).await.unwrap().into_inner(), first);
}

#[tokio::test]
async fn the_trash_shows_what_one_may_restore_newest_first() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let mut ids = Vec::new();
    for (who, title) in [(&team.user_a1, "A"), (&team.manager_a, "B"), (&team.user_a1, "C")] {
        let id = desk.create(who, new(title)).await.unwrap().id;
        desk.delete(who, &id).await.unwrap();
        desk.clock.advance(TimeDelta::seconds(1));
        ids.push(id);
    }
    desk.create(&team.user_a1, new("Not deleted")).await.unwrap();
    let [a, b, c] = <[String; 3]>::try_from(ids).unwrap();
    assert_eq!(trash(&desk, &team.user_a1).await, [c.clone(), a.clone()]);
    assert_eq!(trash(&desk, &team.manager_a).await, std::slice::from_ref(&b));
    assert_eq!(trash(&desk, &team.super_manager).await, [c.clone(), b.clone(), a.clone()]);
    let elsewhere = desk.elsewhere().await;
    assert!(trash(&elsewhere, &elsewhere.team.owner).await.is_empty());

    // Page by page, with tokens.
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = Page { per_page: 2, page_token: token, ..Default::default() };
        let request = desk.call(&team.owner, ListTrashRequest { page: Some(page) });
        let answer = desk.tasks().list_trash(request).await.unwrap().into_inner();
        seen.extend(answer.tasks.into_iter().map(|task| task.id));
        token = answer.meta.unwrap().next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [c, b, a]);
}

#[tokio::test]
async fn after_thirty_days_a_task_is_gone_and_its_parts_stand_alone() {
    // The trash is emptied when the service starts, so a second one starts later.
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let whole = desk.create(me, new("Whole")).await.unwrap().id;
    let part = CreateTaskRequest { parent_task_id: Some(whole.clone()), ..new("Part") };
    let part = desk.create(me, part).await.unwrap().id;
    let kept = desk.create(me, new("Thrown away later")).await.unwrap().id;
    desk.delete(me, &whole).await.unwrap();
    assert_eq!(desk.get(me, &part).await.unwrap().parent_task_id, Some(whole.clone()));
    desk.clock.advance(TimeDelta::days(1));
    desk.delete(me, &kept).await.unwrap();
    desk.clock.advance(TimeDelta::days(29) + TimeDelta::seconds(1));
    desk.start_another().await;

    eventually(|| async { (trash(&desk, me).await == [kept.clone()]).then_some(()) }).await;
    let alone = desk.get(me, &part).await.unwrap();
    assert_eq!((alone.parent_task_id, alone.version), (None, 2));
    let line = desk.timeline(me, &part).await.unwrap().pop().unwrap();
    assert_eq!(line.kind(), TaskEventKind::Updated);
    let lines: i64 = sqlx::query_scalar("select count(*) from task.task_events where task_id = $1::uuid")
        .bind(&whole)
        .fetch_one(&desk.world.admin())
        .await
        .unwrap();
    assert_eq!(lines, 0);
    let gone: Answer = desk.restore(me, &whole).await;
    assert_eq!(refused(gone), Reason::TaskNotFound);
    desk.restore(me, &kept).await.unwrap();
}
