//! Skipping occurrences of a series: the current one and future ones.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{CreateTaskRequest, SkipTaskRequest, Task, TaskChange, TaskEventKind, TaskStatus};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    due_dates::{rest, time},
    fixture::{Fixture, error_reason, invalid_field, new_task, with_header},
    recurrence::{complete, in_zone, instant, next, open, recurring},
};

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn skipped(task: &Task) -> Vec<DateTime<Utc>> {
    task.skipped_times.iter().map(|time| instant(Some(*time))).collect()
}

/// Each Friday at eight in Berlin, from the last one before daylight saving time begins.
async fn fridays(fixture: &Fixture, rule: &str) -> Task {
    let request = CreateTaskRequest { due_at: time(utc("2027-03-26T07:00:00Z")), ..recurring(fixture, "Sweep", rule) };
    fixture.create(&fixture.team.user_a1, in_zone(request, "Europe/Berlin")).await.unwrap()
}

#[tokio::test]
async fn future_occurrence_is_skipped_by_local_time() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let first = fridays(&fixture, "FREQ=WEEKLY;BYDAY=FR").await;
    // 07:00 UTC before the change is 06:00 UTC after it.
    let second = utc("2027-04-02T06:00:00Z");
    assert_eq!(invalid_field(fixture.skip(me, &first.id, Some(utc("2027-04-02T07:00:00Z"))).await), "occurrence_at");
    let task = fixture.skip(me, &first.id, Some(second)).await.unwrap();
    assert_eq!((skipped(&task), task.version, task.status()), (vec![second], 2, TaskStatus::Pending));
    let again = fixture.skip(me, &first.id, Some(second)).await.unwrap();
    assert_eq!(again, task, "skipping again changes nothing");
    let line = fixture.timeline(me, &first.id).await.unwrap().pop().unwrap();
    assert_eq!((line.kind(), line.version), (TaskEventKind::Updated, 2));
    let (kind, event) = fixture.events(&first.id).await.pop().unwrap();
    assert_eq!((kind.as_str(), event.changed_fields.as_slice()), ("task.updated", &["skipped_times".to_owned()][..]));
    assert_eq!(fixture.get(me, &first.id).await.unwrap().skipped_times, task.skipped_times);

    let fourth = utc("2027-04-16T06:00:00Z");
    fixture.skip(me, &first.id, Some(fourth)).await.unwrap();
    complete(&fixture, me, &first).await;
    let third = next(&fixture, me, &first.series_id).await;
    assert_eq!(instant(third.due_at), utc("2027-04-09T06:00:00Z"));
    assert_eq!(skipped(&third), [fourth], "future skips are copied, past ones are not");
    assert_eq!(
        error_reason(fixture.skip(me, &first.id, Some(fourth)).await),
        Reason::TaskNotRecurring,
        "the third task has the skips now"
    );

    let third = fixture.unskip(me, &third.id, fourth).await.unwrap();
    assert!(third.skipped_times.is_empty());
    assert_eq!(fixture.unskip(me, &third.id, fourth).await.unwrap(), third);
    complete(&fixture, me, &third).await;
    assert_eq!(instant(next(&fixture, me, &first.series_id).await.due_at), fourth);
}

#[tokio::test]
async fn skipping_the_current_task_cancels_it_and_creates_the_next() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let first = fridays(&fixture, "FREQ=WEEKLY;BYDAY=FR").await;
    // Moving its due date does not change its occurrence time.
    let moved = TaskChange { due_at: time(utc("2027-03-27T12:00:00Z")), ..TaskChange::default() };
    fixture.update(me, &first.id, &["due_at"], moved).await.unwrap();
    let canceled = fixture.skip(me, &first.id, None).await.unwrap();
    assert_eq!((canceled.status(), skipped(&canceled)), (TaskStatus::Canceled, vec![utc("2027-03-26T07:00:00Z")]));
    let (kind, _) = fixture.events(&first.id).await.pop().unwrap();
    assert_eq!(kind, "task.canceled");
    let second = next(&fixture, me, &first.series_id).await;
    assert_eq!((instant(second.due_at), second.skipped_times.len()), (utc("2027-04-02T06:00:00Z"), 0));

    // A repeated call still gets the first response.
    let keyed = || {
        let request =
            SkipTaskRequest { id: second.id.clone(), occurrence_at: None, reason: Some("Holiday".to_owned()) };
        with_header(fixture.call(me, request), "idempotency-key", "skip-1")
    };
    let once = fixture.tasks().skip_task(keyed()).await.unwrap().into_inner();
    let third = next(&fixture, me, &first.series_id).await;
    assert_eq!(fixture.tasks().skip_task(keyed()).await.unwrap().into_inner(), once);
    assert_eq!(open(&fixture, me, &first.series_id).await.len(), 1, "one occurrence was skipped, once");
    let line = fixture.timeline(me, &second.id).await.unwrap().pop().unwrap();
    assert_eq!((line.kind(), line.reason.as_deref()), (TaskEventKind::Canceled, Some("Holiday")));

    // Its own occurrence time has the same effect.
    let canceled = fixture.skip(me, &third.id, Some(utc("2027-04-09T06:00:00Z"))).await.unwrap();
    assert_eq!(canceled.status(), TaskStatus::Canceled);
    next(&fixture, me, &first.series_id).await;
}

#[tokio::test]
async fn skipping_the_last_occurrence_ends_the_series() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let twice = fridays(&fixture, "FREQ=WEEKLY;BYDAY=FR;COUNT=2").await;
    fixture.skip(me, &twice.id, Some(utc("2027-04-02T06:00:00Z"))).await.unwrap();
    complete(&fixture, me, &twice).await;
    let once = fridays(&fixture, "FREQ=WEEKLY;BYDAY=FR;COUNT=2").await;
    complete(&fixture, me, &once).await;
    let last = next(&fixture, me, &once.series_id).await;
    fixture.skip(me, &last.id, None).await.unwrap();
    rest(&fixture.context, &fixture.clock).await;
    for series in [&twice.series_id, &once.series_id] {
        assert!(open(&fixture, me, series).await.is_empty());
    }
    // No task follows, so the last one can be skipped again with the same result.
    assert_eq!(fixture.skip(me, &last.id, None).await.unwrap().status(), TaskStatus::Canceled);
}

#[tokio::test]
async fn skip_requires_a_series_permission_and_an_open_task() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let single = fixture.create(&team.user_a1, new_task("Sweep")).await.unwrap();
    assert_eq!(error_reason(fixture.skip(&team.user_a1, &single.id, None).await), Reason::TaskNotRecurring);
    assert_eq!(
        error_reason(fixture.unskip(&team.user_a1, &single.id, fixture.clock.now()).await),
        Reason::TaskNotRecurring
    );

    let ends = fridays(&fixture, "FREQ=WEEKLY;BYDAY=FR;UNTIL=20270402").await;
    assert_eq!(error_reason(fixture.skip(&team.user_b1, &ends.id, None).await), Reason::TaskNotFound);
    let far = utc("2027-03-26T07:00:00Z") + TimeDelta::weeks(100);
    assert_eq!(invalid_field(fixture.skip(&team.user_a1, &ends.id, Some(far)).await), "occurrence_at");
    assert!(fixture.get(&team.user_a1, &ends.id).await.unwrap().skipped_times.is_empty());
    fixture.skip(&team.user_a1, &ends.id, Some(utc("2027-04-02T06:00:00Z"))).await.unwrap();
    complete(&fixture, &team.user_a1, &ends).await;
    assert_eq!(
        error_reason(fixture.skip(&team.user_a1, &ends.id, None).await),
        Reason::TaskWrongState,
        "it is completed"
    );

    let given = CreateTaskRequest {
        assigned_to: Some(team.user_a1.user_id.to_string()),
        ..recurring(&fixture, "Sweep", "FREQ=DAILY")
    };
    let given = fixture.create(&team.manager_a, given).await.unwrap();
    assert_eq!(error_reason(fixture.skip(&team.user_a1, &given.id, None).await), Reason::TaskChangeNotAllowed);
    assert_eq!(fixture.skip(&team.manager_a, &given.id, None).await.unwrap().status(), TaskStatus::Canceled);
}

#[tokio::test]
async fn concurrent_skip_and_completion_create_one_unskipped_next_task() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let second = utc("2027-04-02T06:00:00Z");
    for _ in 0..8 {
        let first = fridays(&fixture, "FREQ=WEEKLY;BYDAY=FR").await;
        fixture.start(me, &first.id).await.unwrap();
        let (done, skip) = tokio::join!(fixture.complete(me, &first.id), fixture.skip(me, &first.id, Some(second)));
        done.unwrap();
        let next = next(&fixture, me, &first.series_id).await;
        match skip {
            Ok(_) => assert_eq!(instant(next.due_at), second + TimeDelta::weeks(1)),
            Err(_) => {
                assert_eq!(error_reason(skip), Reason::TaskNotRecurring);
                assert_eq!(instant(next.due_at), second);
            }
        }
    }
}
