//! Invariants of time entries under clock changes and concurrent calls.

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{TimeEntry, TimeEntryKind},
    convert::datetime,
};
use chrono::TimeDelta;

use crate::{
    fixture::{Fixture, error_reason, new_task, new_task_for, with_header},
    time_entry_fixture::{change, from_to, worked},
};

#[tokio::test]
async fn clock_moving_backwards_creates_no_time_and_no_overlap() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = &fixture.create(me, new_task("Sweep")).await.unwrap().id;
    fixture.start(me, id).await.unwrap();
    fixture.clock.advance(TimeDelta::minutes(-10));
    let paused = fixture.pause(me, id, "what time is it?").await.unwrap();
    assert_eq!(paused.actual_seconds, 0);
    // It begins where the last one ended, although the clock is earlier.
    fixture.resume(me, id).await.unwrap();
    assert_eq!(fixture.get(me, id).await.unwrap().actual_seconds, 0);
    fixture.clock.advance(TimeDelta::minutes(12));
    assert_eq!(fixture.pause(me, id, "lunch").await.unwrap().actual_seconds, 120);
    fixture.enter(me, worked(id, fixture.minute(-1), fixture.minute(0))).await.expect_err("that was the timer's");
    fixture.clock.advance(TimeDelta::minutes(5));
    fixture.enter(me, worked(id, fixture.minute(-2), fixture.minute(0))).await.unwrap();
    fixture.clock.advance(TimeDelta::minutes(-4));
    fixture.resume(me, id).await.unwrap();
    fixture.clock.advance(TimeDelta::minutes(5));
    let done = fixture.complete(me, id).await.unwrap();
    assert_eq!(done.actual_seconds, 120 + 120 + 60);
    let entries = fixture.entries(me, id).await.unwrap();
    let times = |entry: &TimeEntry| [entry.started_at, entry.ended_at].map(|at| datetime(&at.unwrap()).unwrap());
    assert!(entries.iter().map(times).all(|[start, end]| start <= end));
    let mut work: Vec<_> = entries.iter().filter(|entry| entry.kind() == TimeEntryKind::Working).map(times).collect();
    work.sort();
    assert!(work.windows(2).all(|pair| pair[0][1] <= pair[1][0]), "{work:?}");
    let line = fixture.timeline(me, id).await.unwrap();
    assert!(line.windows(2).all(|pair| {
        let at = |index: usize| datetime(&pair[index].occurred_at.unwrap()).unwrap();
        at(0) <= at(1)
    }));
}

#[tokio::test]
async fn one_of_twenty_concurrent_overlapping_entries_succeeds() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    let calls = |key: fn(usize) -> String| {
        let calls = (0..20).map(|n| {
            let (fixture, me, request) =
                (fixture.clone(), me.clone(), worked(&id, fixture.minute(-20), fixture.minute(-10)));
            tokio::spawn(async move {
                let request = with_header(fixture.call(&me, request), "idempotency-key", &key(n));
                fixture
                    .times()
                    .create_time_entry(request)
                    .await
                    .map(|response| response.into_inner().time_entry.unwrap())
            })
        });
        calls.collect::<Vec<_>>()
    };
    let mut entered = Vec::new();
    for call in calls(|n| format!("key-{n}")) {
        match call.await.unwrap() {
            Ok(entry) => entered.push(entry),
            refusal => assert_eq!(error_reason(refusal), Reason::TimeEntryOverlaps),
        }
    }
    assert_eq!((entered.len(), fixture.get(me, &id).await.unwrap().actual_seconds), (1, 600));
    fixture.take_out(me, &entered[0].id).await.unwrap();
    let mut responses = Vec::new();
    for call in calls(|_| "one-key".to_owned()) {
        responses.push(call.await.unwrap().unwrap());
    }
    assert!(responses.iter().all(|response| *response == responses[0]));
    assert_eq!(fixture.entries(me, &id).await.unwrap(), responses[..1]);
    assert_eq!(fixture.get(me, &id).await.unwrap().actual_seconds, 600);
}

#[tokio::test]
async fn random_calls_keep_intervals_consistent_with_the_task() {
    use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let (ann, bob, boss) = (&team.user_a1, &team.user_a2, &team.manager_a);
    let steps = prop::collection::vec((0usize..12, -400i64..1_000), 30);
    let mut runner = TestRunner::deterministic();
    for _ in 0..5 {
        let id = &fixture.create(boss, new_task_for("Sweep", ann)).await.unwrap().id;
        for (step, later) in steps.new_tree(&mut runner).unwrap().current() {
            fixture.clock.advance(TimeDelta::seconds(later));
            let task = fixture.get(boss, id).await.unwrap();
            let worker = if task.assigned_to == Some(ann.user_id.to_string()) { ann } else { bob };
            let other = if worker.user_id == ann.user_id { bob } else { ann };
            let entries = fixture.entries(boss, id).await.unwrap();
            let any = entries.get(later.unsigned_abs() as usize % entries.len().max(1));
            let response = match step {
                0 | 1 => fixture.start(worker, id).await.map(drop),
                2 | 3 => fixture.pause(worker, id, "lunch").await.map(drop),
                4 | 5 => fixture.resume(worker, id).await.map(drop),
                6 => fixture.reassign(&team.owner, id, other.user_id).await.map(drop),
                7 | 8 => {
                    let (from, to) =
                        (fixture.minute(-7), fixture.minute(-7) + TimeDelta::milliseconds(later.abs() * 150));
                    fixture.enter(worker, worked(id, from, to)).await.map(drop)
                }
                9 | 10 => match any {
                    Some(entry) => {
                        let from = datetime(&entry.started_at.unwrap()).unwrap() - TimeDelta::milliseconds(later * 10);
                        let new = from_to(from, from + TimeDelta::seconds(later.abs()));
                        fixture.correct(boss, change(&entry.id, &["started_at", "ended_at"], new)).await.map(drop)
                    }
                    None => Ok(()),
                },
                _ => match any {
                    Some(entry) => fixture.take_out(boss, &entry.id).await,
                    None => Ok(()),
                },
            };
            if let Err(status) = &response {
                let reason = baton_testkit::reason(status);
                let expected = [
                    Reason::TaskWrongState,
                    Reason::TimeEntryOverlaps,
                    Reason::TimeEntryFixed,
                    Reason::ValidationFailed,
                ];
                assert!(reason.is_some_and(|reason| expected.contains(&reason)), "{step}: {status:?}");
            }
        }
    }
    let wrong: Vec<uuid::Uuid> = sqlx::query_scalar(
        "select t.id from task.tasks t
         where t.actual_seconds <> (select coalesce(sum(floor(extract(epoch from e.ended_at - e.started_at))), 0)
                                    from task.time_entries e where e.task_id = t.id and e.kind = 'working')
            or t.running_since is distinct from (select e.started_at from task.time_entries e
                                                 where e.task_id = t.id and e.kind = 'working' and e.ended_at is null)
            or (t.status = 'paused') <> exists (select from task.time_entries e
                                                where e.task_id = t.id and e.kind = 'paused' and e.ended_at is null)
            or exists (select from task.time_entries a join task.time_entries b using (task_id, user_id, kind)
                       where a.task_id = t.id and a.kind = 'working' and a.id < b.id
                         and tstzrange(a.started_at, a.ended_at) && tstzrange(b.started_at, b.ended_at))",
    )
    .fetch_all(&fixture.context.admin())
    .await
    .unwrap();
    assert!(wrong.is_empty(), "inconsistent rows: {wrong:?}");
    let corrections: i64 = sqlx::query_scalar("select count(*) from task.time_corrections")
        .fetch_one(&fixture.context.admin())
        .await
        .unwrap();
    assert!(corrections > 10, "only {corrections}: the random steps cover too little");
}
