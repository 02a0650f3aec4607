//! Canceling, archiving and reopening tasks.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{TaskEventKind, TaskFilter, TaskStatus};
use chrono::TimeDelta;

use crate::fixture::{Fixture, error_reason, new_task, new_task_for};

#[tokio::test]
async fn canceled_task_stops_its_timer_and_can_be_reopened() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    fixture.start(&team.user_a1, &id).await.unwrap();
    fixture.clock.advance(TimeDelta::seconds(60));
    assert_eq!(
        error_reason(fixture.cancel(&team.user_a1, &id, None).await),
        Reason::TaskChangeNotAllowed,
        "they may not change it"
    );
    let canceled = fixture.cancel(&team.manager_a, &id, Some("Sold the house")).await.unwrap();
    assert_eq!((canceled.status(), canceled.actual_seconds), (TaskStatus::Canceled, 60));
    assert!(canceled.canceled_at.is_some() && canceled.completed_at.is_none());
    fixture.clock.advance(TimeDelta::seconds(60));
    assert_eq!(fixture.get(&team.user_a1, &id).await.unwrap().actual_seconds, 60, "the timer is stopped");
    let last = fixture.timeline(&team.manager_a, &id).await.unwrap().pop().unwrap();
    assert_eq!((last.kind(), last.reason.as_deref()), (TaskEventKind::Canceled, Some("Sold the house")));
    let (kind, event) = fixture.events(&id).await.pop().unwrap();
    assert_eq!((kind.as_str(), event.status()), ("task.canceled", TaskStatus::Canceled));

    for again in [fixture.start(&team.user_a1, &id).await, fixture.cancel(&team.manager_a, &id, None).await] {
        assert_eq!(error_reason(again), Reason::TaskWrongState);
    }
    assert_eq!(
        error_reason(fixture.assign(&team.manager_a, &id, team.user_a2.user_id).await),
        Reason::TaskAlreadyAssigned
    );
    // The assignee may reopen it.
    let reopened = fixture.reopen(&team.user_a1, &id, Some("Bought it back")).await.unwrap();
    assert_eq!((reopened.status(), reopened.actual_seconds, reopened.canceled_at), (TaskStatus::Pending, 60, None));
    assert_eq!(reopened.assigned_to, Some(team.user_a1.user_id.to_string()));
    let last = fixture.timeline(&team.manager_a, &id).await.unwrap().pop().unwrap();
    assert_eq!((last.kind(), last.reason.as_deref()), (TaskEventKind::Reopened, Some("Bought it back")));
    fixture.start(&team.user_a1, &id).await.unwrap();
}

#[tokio::test]
async fn archived_task_is_hidden_until_requested() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let done = fixture.create(me, new_task("Done")).await.unwrap().id;
    let open = fixture.create(me, new_task("Open")).await.unwrap().id;
    assert_eq!(error_reason(fixture.archive(me, &done).await), Reason::TaskWrongState, "it is not closed");
    fixture.start(me, &done).await.unwrap();
    let completed = fixture.complete(me, &done).await.unwrap();
    let archived = fixture.archive(me, &done).await.unwrap();
    assert_eq!((archived.status(), archived.completed_at), (TaskStatus::Archived, completed.completed_at));
    assert!(archived.archived_at.is_some());

    let of = |status: &[TaskStatus]| TaskFilter {
        status: status.iter().map(|&status| status.into()).collect(),
        ..Default::default()
    };
    assert_eq!(fixture.list(me, of(&[])).await.unwrap(), [open]);
    assert_eq!(fixture.list(me, of(&[TaskStatus::Archived])).await.unwrap(), std::slice::from_ref(&done));
    let both = fixture.list(me, of(&[TaskStatus::Archived, TaskStatus::Pending])).await.unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!(fixture.get(me, &done).await.unwrap().status(), TaskStatus::Archived, "an archived task is found by id");

    let reopened = fixture.reopen(me, &done, None).await.unwrap();
    assert_eq!(reopened.status(), TaskStatus::Pending);
    assert!(reopened.completed_at.is_none() && reopened.archived_at.is_none());
}

#[tokio::test]
async fn only_open_tasks_use_quota_and_reopening_needs_quota() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    sqlx::query("update tenancy.accounts set max_open_tasks_per_user = 1")
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    let first = fixture.create(me, new_task("First")).await.unwrap().id;
    assert_eq!(error_reason(fixture.create(me, new_task("Second")).await), Reason::QuotaExceeded);
    fixture.cancel(me, &first, None).await.unwrap();
    fixture.archive(me, &first).await.unwrap();
    let second = fixture.create(me, new_task("Second")).await.unwrap().id;
    let before = fixture.get(me, &first).await.unwrap();
    assert_eq!(error_reason(fixture.reopen(me, &first, None).await), Reason::QuotaExceeded);
    assert_eq!(fixture.get(me, &first).await.unwrap(), before, "a refused call changes nothing");
    fixture.delete(me, &second).await.unwrap();
    fixture.reopen(me, &first, None).await.unwrap();
    assert_eq!(error_reason(fixture.restore(me, &second).await), Reason::QuotaExceeded);
    assert_eq!(baton_task::maintenance::quota_counters::rebuild(&fixture.context.db("task"), true).await.unwrap(), []);
}
