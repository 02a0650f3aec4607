//! Times of a series are skipped: the one that is there already, and those to come.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{CreateTaskRequest, SkipTaskRequest, Task, TaskChange, TaskEventKind, TaskStatus};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    coming_again::{complete, in_zone, instant, next, open, recurring},
    desk::{Desk, new, refused, with, wrong_field},
    due_dates::{rest, time},
};

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn skipped(task: &Task) -> Vec<DateTime<Utc>> {
    task.skipped_times.iter().map(|time| instant(Some(*time))).collect()
}

/// Each Friday at eight in Berlin, from the last one before the clocks go forward.
async fn fridays(desk: &Desk, rule: &str) -> Task {
    let request = CreateTaskRequest { due_at: time(utc("2027-03-26T07:00:00Z")), ..recurring(desk, "Sweep", rule) };
    desk.create(&desk.team.user_a1, in_zone(request, "Europe/Berlin")).await.unwrap()
}

#[tokio::test]
async fn a_time_to_come_is_left_out_by_the_clock_on_the_wall() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let first = fridays(&desk, "FREQ=WEEKLY;BYDAY=FR").await;
    // Seven in UTC before the change is six after it.
    let second = utc("2027-04-02T06:00:00Z");
    assert_eq!(wrong_field(desk.skip(me, &first.id, Some(utc("2027-04-02T07:00:00Z"))).await), "occurrence_at");
    let task = desk.skip(me, &first.id, Some(second)).await.unwrap();
    assert_eq!((skipped(&task), task.version, task.status()), (vec![second], 2, TaskStatus::Pending));
    let again = desk.skip(me, &first.id, Some(second)).await.unwrap();
    assert_eq!(again, task, "what is skipped is skipped");
    let line = desk.timeline(me, &first.id).await.unwrap().pop().unwrap();
    assert_eq!((line.kind(), line.version), (TaskEventKind::Updated, 2));
    let (kind, event) = desk.events(&first.id).await.pop().unwrap();
    assert_eq!((kind.as_str(), event.changed_fields.as_slice()), ("task.updated", &["skipped_times".to_owned()][..]));
    assert_eq!(desk.get(me, &first.id).await.unwrap().skipped_times, task.skipped_times);

    let fourth = utc("2027-04-16T06:00:00Z");
    desk.skip(me, &first.id, Some(fourth)).await.unwrap();
    complete(&desk, me, &first).await;
    let third = next(&desk, me, &first.series_id).await;
    assert_eq!(instant(third.due_at), utc("2027-04-09T06:00:00Z"));
    assert_eq!(skipped(&third), [fourth], "what is ahead comes along, and what has passed does not");
    assert_eq!(refused(desk.skip(me, &first.id, Some(fourth)).await), Reason::TaskNotRecurring, "the third skips now");

    let third = desk.unskip(me, &third.id, fourth).await.unwrap();
    assert!(third.skipped_times.is_empty());
    assert_eq!(desk.unskip(me, &third.id, fourth).await.unwrap(), third);
    complete(&desk, me, &third).await;
    assert_eq!(instant(next(&desk, me, &first.series_id).await.due_at), fourth);
}

#[tokio::test]
async fn the_task_that_is_there_is_canceled_and_the_next_one_comes() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let first = fridays(&desk, "FREQ=WEEKLY;BYDAY=FR").await;
    // It is moved; which of the times it is stays.
    let moved = TaskChange { due_at: time(utc("2027-03-27T12:00:00Z")), ..TaskChange::default() };
    desk.update(me, &first.id, &["due_at"], moved).await.unwrap();
    let canceled = desk.skip(me, &first.id, None).await.unwrap();
    assert_eq!((canceled.status(), skipped(&canceled)), (TaskStatus::Canceled, vec![utc("2027-03-26T07:00:00Z")]));
    let (kind, _) = desk.events(&first.id).await.pop().unwrap();
    assert_eq!(kind, "task.canceled");
    let second = next(&desk, me, &first.series_id).await;
    assert_eq!((instant(second.due_at), second.skipped_times.len()), (utc("2027-04-02T06:00:00Z"), 0));

    // A repetition of the same call is answered as before, even now.
    let keyed = || {
        let request =
            SkipTaskRequest { id: second.id.clone(), occurrence_at: None, reason: Some("Holiday".to_owned()) };
        with(desk.call(me, request), "idempotency-key", "skip-1")
    };
    let once = desk.tasks().skip_task(keyed()).await.unwrap().into_inner();
    let third = next(&desk, me, &first.series_id).await;
    assert_eq!(desk.tasks().skip_task(keyed()).await.unwrap().into_inner(), once);
    assert_eq!(open(&desk, me, &first.series_id).await.len(), 1, "one was skipped, once");
    let line = desk.timeline(me, &second.id).await.unwrap().pop().unwrap();
    assert_eq!((line.kind(), line.reason.as_deref()), (TaskEventKind::Canceled, Some("Holiday")));

    // Named by its own time it is the same.
    let canceled = desk.skip(me, &third.id, Some(utc("2027-04-09T06:00:00Z"))).await.unwrap();
    assert_eq!(canceled.status(), TaskStatus::Canceled);
    next(&desk, me, &first.series_id).await;
}

#[tokio::test]
async fn skipping_the_last_one_ends_the_series() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let twice = fridays(&desk, "FREQ=WEEKLY;BYDAY=FR;COUNT=2").await;
    desk.skip(me, &twice.id, Some(utc("2027-04-02T06:00:00Z"))).await.unwrap();
    complete(&desk, me, &twice).await;
    let once = fridays(&desk, "FREQ=WEEKLY;BYDAY=FR;COUNT=2").await;
    complete(&desk, me, &once).await;
    let last = next(&desk, me, &once.series_id).await;
    desk.skip(me, &last.id, None).await.unwrap();
    rest(&desk.world, &desk.clock).await;
    for series in [&twice.series_id, &once.series_id] {
        assert!(open(&desk, me, series).await.is_empty());
    }
    // Nothing follows, so the last one can still be skipped again, to the same end.
    assert_eq!(desk.skip(me, &last.id, None).await.unwrap().status(), TaskStatus::Canceled);
}

#[tokio::test]
async fn skipping_needs_a_series_a_say_and_work_that_is_open() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let single = desk.create(&team.user_a1, new("Sweep")).await.unwrap();
    assert_eq!(refused(desk.skip(&team.user_a1, &single.id, None).await), Reason::TaskNotRecurring);
    assert_eq!(refused(desk.unskip(&team.user_a1, &single.id, desk.clock.now()).await), Reason::TaskNotRecurring);

    let ends = fridays(&desk, "FREQ=WEEKLY;BYDAY=FR;UNTIL=20270402").await;
    assert_eq!(refused(desk.skip(&team.user_b1, &ends.id, None).await), Reason::TaskNotFound);
    let far = utc("2027-03-26T07:00:00Z") + TimeDelta::weeks(100);
    assert_eq!(wrong_field(desk.skip(&team.user_a1, &ends.id, Some(far)).await), "occurrence_at");
    assert!(desk.get(&team.user_a1, &ends.id).await.unwrap().skipped_times.is_empty());
    desk.skip(&team.user_a1, &ends.id, Some(utc("2027-04-02T06:00:00Z"))).await.unwrap();
    complete(&desk, &team.user_a1, &ends).await;
    assert_eq!(refused(desk.skip(&team.user_a1, &ends.id, None).await), Reason::TaskWrongState, "it is done");

    let given = CreateTaskRequest {
        assigned_to: Some(team.user_a1.user_id.to_string()),
        ..recurring(&desk, "Sweep", "FREQ=DAILY")
    };
    let given = desk.create(&team.manager_a, given).await.unwrap();
    assert_eq!(refused(desk.skip(&team.user_a1, &given.id, None).await), Reason::TaskChangeNotAllowed);
    assert_eq!(desk.skip(&team.manager_a, &given.id, None).await.unwrap().status(), TaskStatus::Canceled);
}

#[tokio::test]
async fn a_skip_and_the_end_of_its_task_at_once_leave_one_next_task_that_is_not_skipped() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let second = utc("2027-04-02T06:00:00Z");
    for _ in 0..8 {
        let first = fridays(&desk, "FREQ=WEEKLY;BYDAY=FR").await;
        desk.start(me, &first.id).await.unwrap();
        let (done, skip) = tokio::join!(desk.complete(me, &first.id), desk.skip(me, &first.id, Some(second)));
        done.unwrap();
        let next = next(&desk, me, &first.series_id).await;
        match skip {
            Ok(_) => assert_eq!(instant(next.due_at), second + TimeDelta::weeks(1)),
            Err(_) => {
                assert_eq!(refused(skip), Reason::TaskNotRecurring);
                assert_eq!(instant(next.due_at), second);
            }
        }
    }
}
