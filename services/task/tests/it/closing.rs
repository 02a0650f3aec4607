//! Work ends, one way or another, and may begin again.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{TaskEventKind, TaskFilter, TaskStatus};
use chrono::TimeDelta;

use crate::desk::{Desk, new, new_for, refused};

#[tokio::test]
async fn canceled_work_stops_and_can_be_taken_up_again() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let id = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    desk.start(&team.user_a1, &id).await.unwrap();
    desk.clock.advance(TimeDelta::seconds(60));
    assert_eq!(refused(desk.cancel(&team.user_a1, &id, None).await), Reason::TaskChangeNotAllowed, "it is not theirs");
    let canceled = desk.cancel(&team.manager_a, &id, Some("Sold the house")).await.unwrap();
    assert_eq!((canceled.status(), canceled.actual_seconds), (TaskStatus::Canceled, 60));
    assert!(canceled.canceled_at.is_some() && canceled.completed_at.is_none());
    desk.clock.advance(TimeDelta::seconds(60));
    assert_eq!(desk.get(&team.user_a1, &id).await.unwrap().actual_seconds, 60, "no time runs");
    let last = desk.timeline(&team.manager_a, &id).await.unwrap().pop().unwrap();
    assert_eq!((last.kind(), last.reason.as_deref()), (TaskEventKind::Canceled, Some("Sold the house")));
    let (kind, event) = desk.events(&id).await.pop().unwrap();
    assert_eq!((kind.as_str(), event.status()), ("task.canceled", TaskStatus::Canceled));

    for again in [desk.start(&team.user_a1, &id).await, desk.cancel(&team.manager_a, &id, None).await] {
        assert_eq!(refused(again), Reason::TaskWrongState);
    }
    assert_eq!(refused(desk.assign(&team.manager_a, &id, team.user_a2.user_id).await), Reason::TaskAlreadyAssigned);
    // Whose work it is may take it up again.
    let reopened = desk.reopen(&team.user_a1, &id, Some("Bought it back")).await.unwrap();
    assert_eq!((reopened.status(), reopened.actual_seconds, reopened.canceled_at), (TaskStatus::Pending, 60, None));
    assert_eq!(reopened.assigned_to, Some(team.user_a1.user_id.to_string()));
    let last = desk.timeline(&team.manager_a, &id).await.unwrap().pop().unwrap();
    assert_eq!((last.kind(), last.reason.as_deref()), (TaskEventKind::Reopened, Some("Bought it back")));
    desk.start(&team.user_a1, &id).await.unwrap();
}

#[tokio::test]
async fn archived_work_is_out_of_sight_until_asked_for() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let done = desk.create(me, new("Done")).await.unwrap().id;
    let open = desk.create(me, new("Open")).await.unwrap().id;
    assert_eq!(refused(desk.archive(me, &done).await), Reason::TaskWrongState, "it is not over");
    desk.start(me, &done).await.unwrap();
    let completed = desk.complete(me, &done).await.unwrap();
    let archived = desk.archive(me, &done).await.unwrap();
    assert_eq!((archived.status(), archived.completed_at), (TaskStatus::Archived, completed.completed_at));
    assert!(archived.archived_at.is_some());

    let of = |status: &[TaskStatus]| TaskFilter {
        status: status.iter().map(|&status| status.into()).collect(),
        ..Default::default()
    };
    assert_eq!(desk.list(me, of(&[])).await.unwrap(), [open]);
    assert_eq!(desk.list(me, of(&[TaskStatus::Archived])).await.unwrap(), std::slice::from_ref(&done));
    let both = desk.list(me, of(&[TaskStatus::Archived, TaskStatus::Pending])).await.unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!(desk.get(me, &done).await.unwrap().status(), TaskStatus::Archived, "who knows it finds it");

    let reopened = desk.reopen(me, &done, None).await.unwrap();
    assert_eq!(reopened.status(), TaskStatus::Pending);
    assert!(reopened.completed_at.is_none() && reopened.archived_at.is_none());
}

#[tokio::test]
async fn only_open_work_counts_and_reopening_needs_room() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    sqlx::query("update tenancy.accounts set max_open_tasks_per_user = 1").execute(&desk.world.admin()).await.unwrap();
    let first = desk.create(me, new("First")).await.unwrap().id;
    assert_eq!(refused(desk.create(me, new("Second")).await), Reason::QuotaExceeded);
    desk.cancel(me, &first, None).await.unwrap();
    desk.archive(me, &first).await.unwrap();
    let second = desk.create(me, new("Second")).await.unwrap().id;
    let before = desk.get(me, &first).await.unwrap();
    assert_eq!(refused(desk.reopen(me, &first, None).await), Reason::QuotaExceeded);
    assert_eq!(desk.get(me, &first).await.unwrap(), before, "a refused call changes nothing");
    desk.delete(me, &second).await.unwrap();
    desk.reopen(me, &first, None).await.unwrap();
    assert_eq!(refused(desk.restore(me, &second).await), Reason::QuotaExceeded);
    assert_eq!(baton_task::upkeep::usage::rebuild(&desk.world.db("task"), true).await.unwrap(), []);
}
