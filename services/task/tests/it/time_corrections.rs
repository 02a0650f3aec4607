//! Manual time entries and corrections.

use baton_errors::Reason;
use baton_proto::{
    baton::task::v1::{
        CreateTimeEntryRequest, TaskEventKind, TimeCorrection, TimeCorrectionAction, TimeEntry, TimeEntryChange,
        TimeEntryKind, TimeEntrySource,
    },
    convert::datetime,
};
use baton_testkit::Person;
use chrono::TimeDelta;

use crate::{
    fixture::{Fixture, error_reason, invalid_field, new_task, new_task_for, with_header},
    time_entry_fixture::{change, from_to, worked},
};

#[tokio::test]
async fn manual_time_entry_is_created_corrected_and_deleted() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let (me, boss) = (&team.user_a1, &team.manager_a);
    let id = &fixture.create(me, new_task("Sweep")).await.unwrap().id;
    let noted = CreateTimeEntryRequest {
        note: "the cellar".to_owned(),
        ..worked(id, fixture.minute(-60), fixture.minute(-50))
    };
    let entry = fixture.enter(me, noted).await.unwrap();
    assert_eq!((entry.seconds, entry.version, entry.note.as_str()), (600, 1, "the cellar"));
    assert_eq!((entry.kind(), entry.source()), (TimeEntryKind::Working, TimeEntrySource::Manual));
    let task = fixture.get(me, id).await.unwrap();
    assert_eq!((task.actual_seconds, task.version), (600, 2));

    // The manager corrects it; a stale ETag is refused.
    let longer = change(&entry.id, &["ended_at"], from_to(fixture.minute(0), fixture.minute(-45)));
    let stale = with_header(fixture.call(boss, longer.clone()), "if-match", "\"2\"");
    assert_eq!(error_reason(fixture.times().update_time_entry(stale).await), Reason::VersionMismatch);
    let fresh = with_header(fixture.call(boss, longer.clone()), "if-match", "\"1\"");
    let longer_entry = fixture.times().update_time_entry(fresh).await.unwrap().into_inner().time_entry.unwrap();
    assert_eq!((longer_entry.seconds, longer_entry.version, &longer_entry.note), (900, 2, &entry.note));
    assert_eq!(longer_entry.created_by, me.user_id.to_string());
    assert_eq!(fixture.correct(boss, longer).await.unwrap(), longer_entry, "a repetition changes nothing");
    // Moved with the same length, then only the note changed.
    let moved = change(&entry.id, &["started_at", "ended_at"], from_to(fixture.minute(-30), fixture.minute(-15)));
    fixture.correct(me, moved).await.unwrap();
    let word = TimeEntryChange { note: "the attic".to_owned(), ..Default::default() };
    assert_eq!(fixture.correct(me, change(&entry.id, &["note"], word)).await.unwrap().version, 4);
    let task = fixture.get(me, id).await.unwrap();
    assert_eq!((task.actual_seconds, task.version), (900, 4), "a note does not change the task");
    fixture.take_out(me, &entry.id).await.unwrap();
    assert_eq!(error_reason(fixture.take_out(me, &entry.id).await), Reason::TimeEntryNotFound);
    assert_eq!(fixture.get(me, id).await.unwrap().actual_seconds, 0);
    assert_eq!(fixture.entries(me, id).await.unwrap(), []);

    // The timeline and the list of corrections record all of it.
    let lines = fixture.timeline(boss, id).await.unwrap();
    let seconds = |line: &baton_proto::baton::task::v1::TimelineEntry| {
        let changes = baton_proto::convert::to_object(line.changes.clone().unwrap());
        (changes.len(), changes["actual_seconds"].as_i64().unwrap())
    };
    assert!(lines[1..].iter().all(|line| line.kind() == TaskEventKind::TimeCorrected));
    assert_eq!(lines[1..].iter().map(seconds).collect::<Vec<_>>(), [(1, 600), (1, 900), (1, 900), (1, 0)]);
    let corrections = fixture.corrections(boss, id).await.unwrap();
    let actors: Vec<_> = corrections.iter().map(|it| (it.action(), it.actor_id.clone(), it.actual_seconds)).collect();
    let (me_id, boss_id) = (me.user_id.to_string(), boss.user_id.to_string());
    use TimeCorrectionAction::{Created, Deleted, Updated};
    let expected =
        [(Created, me_id.clone(), 600), (Updated, boss_id, 900), (Updated, me_id.clone(), 900), (Deleted, me_id, 0)];
    assert_eq!(actors, expected);
    let times = |it: &TimeCorrection| {
        [&it.old_started_at, &it.old_ended_at, &it.new_started_at, &it.new_ended_at].map(|at| at.map(|at| at.seconds))
    };
    let minute = |minutes| Some(fixture.minute(minutes).timestamp());
    assert_eq!(times(&corrections[0]), [None, None, minute(-60), minute(-50)]);
    assert_eq!(times(&corrections[1]), [minute(-60), minute(-50), minute(-60), minute(-45)]);
    assert_eq!(times(&corrections[3]), [minute(-30), minute(-15), None, None]);

    let events = fixture.time_events(&entry.id).await;
    let kinds: Vec<_> = events.iter().map(|(kind, event)| (kind.as_str(), event.action(), event.version)).collect();
    let unspecified = TimeCorrectionAction::Unspecified;
    let expected = [
        ("time_entry.created", Created, 1),
        ("time_entry.updated", Updated, 2),
        ("time_entry.updated", Updated, 3),
        ("time_entry.updated", unspecified, 4),
        ("time_entry.deleted", Deleted, 4),
    ];
    assert_eq!(kinds, expected);
    assert!(events.iter().all(|(_, event)| event.task_id == *id && event.user_id == me.user_id.to_string()));
    let task_events = fixture.events(id).await;
    assert_eq!(task_events.iter().filter(|(kind, _)| kind == "task.time_corrected").count(), 4);
}

#[tokio::test]
async fn timer_entry_is_corrected_and_totals_stay_consistent() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = &fixture.create(me, new_task("Sweep")).await.unwrap().id;
    fixture.start(me, id).await.unwrap();
    fixture.clock.advance(TimeDelta::minutes(60));
    let running = fixture.entries(me, id).await.unwrap().pop().unwrap();
    let shorter = |entry: &TimeEntry| {
        let end = datetime(&entry.started_at.unwrap()).unwrap() + TimeDelta::minutes(10);
        change(&entry.id, &["ended_at"], from_to(end, end))
    };
    assert_eq!(error_reason(fixture.correct(me, shorter(&running)).await), Reason::TimeEntryFixed, "it is running");
    assert_eq!(error_reason(fixture.take_out(me, &running.id).await), Reason::TimeEntryFixed);
    // The user stopped after ten minutes and forgot to pause.
    fixture.pause(me, id, "went home").await.unwrap();
    fixture.correct(me, shorter(&running)).await.unwrap();
    assert_eq!(fixture.get(me, id).await.unwrap().actual_seconds, 600);
    fixture.clock.advance(TimeDelta::minutes(30));
    let pause = fixture.entries(me, id).await.unwrap().pop().unwrap();
    assert_eq!(pause.kind(), TimeEntryKind::Paused);
    assert_eq!(
        error_reason(fixture.correct(me, shorter(&pause)).await),
        Reason::TimeEntryFixed,
        "pauses are set by the timer only"
    );
    // Work during the last ten minutes of the pause shortens the pause.
    fixture.enter(me, worked(id, fixture.minute(-10), fixture.minute(0))).await.unwrap();
    fixture.resume(me, id).await.unwrap();
    fixture.clock.advance(TimeDelta::minutes(5));
    fixture.complete(me, id).await.unwrap();
    let report = fixture.report(me, id).await.unwrap();
    assert_eq!((report.working_seconds, report.paused_seconds, report.pause_count), (25 * 60, 20 * 60, 1));
    assert_eq!((report.elapsed_seconds, report.by_user[0].entry_count), (95 * 60, 3));
    assert_eq!(fixture.get(me, id).await.unwrap().actual_seconds, 25 * 60);
    // A completed task can be corrected, too.
    let last = fixture.entries(me, id).await.unwrap().pop().unwrap();
    fixture.take_out(me, &last.id).await.unwrap();
    assert_eq!(fixture.get(me, id).await.unwrap().actual_seconds, 20 * 60);
}

#[tokio::test]
async fn impossible_time_entry_is_refused_and_nothing_is_stored() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = &fixture.create(me, new_task("Sweep")).await.unwrap().id;
    let entry = fixture.enter(me, worked(id, fixture.minute(-60), fixture.minute(-50))).await.unwrap();
    let noted = |note: &str| CreateTimeEntryRequest {
        note: note.to_owned(),
        ..worked(id, fixture.minute(-9), fixture.minute(-8))
    };
    let open = CreateTimeEntryRequest { ended_at: None, ..worked(id, fixture.minute(-9), fixture.minute(-8)) };
    let never = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
    for (request, field) in [
        (worked(id, fixture.minute(-8), fixture.minute(-9)), "ended_at"),
        (worked(id, fixture.minute(-9), fixture.minute(-9)), "ended_at"),
        (worked(id, fixture.minute(-1), fixture.minute(1)), "ended_at"),
        (worked(id, fixture.minute(-25 * 60), fixture.minute(-30)), "ended_at"),
        (CreateTimeEntryRequest { started_at: Some(never), ..noted("") }, "started_at"),
        (open, "ended_at"),
        (noted("\0"), "note"),
        (noted(&"x".repeat(1_001)), "note"),
        (CreateTimeEntryRequest { user_id: Some("me".to_owned()), ..noted("") }, "user_id"),
    ] {
        assert_eq!(invalid_field(fixture.enter(me, request).await), field);
    }
    for (from, to) in [(-60, -50), (-61, -59), (-51, -49), (-58, -55), (-70, -40)] {
        let overlaps = fixture.enter(me, worked(id, fixture.minute(from), fixture.minute(to))).await;
        assert_eq!(error_reason(overlaps), Reason::TimeEntryOverlaps, "{from} to {to}");
    }
    let other = fixture
        .enter(me, worked(id, fixture.minute(-50), fixture.minute(-40)))
        .await
        .expect("adjacent entries do not overlap");
    let into = change(&other.id, &["started_at"], from_to(fixture.minute(-51), fixture.minute(0)));
    assert_eq!(error_reason(fixture.correct(me, into).await), Reason::TimeEntryOverlaps);
    for (mask, new, field) in [
        (&[][..], from_to(fixture.minute(-50), fixture.minute(-40)), "update_mask"),
        (&["kind"], from_to(fixture.minute(-50), fixture.minute(-40)), "update_mask"),
        (&["started_at"], TimeEntryChange::default(), "time_entry.started_at"),
        (&["ended_at"], from_to(fixture.minute(0), fixture.minute(-50)), "time_entry.ended_at"),
        (&["ended_at"], from_to(fixture.minute(0), fixture.minute(1)), "time_entry.ended_at"),
        (&["note"], TimeEntryChange { note: "\0".to_owned(), ..Default::default() }, "time_entry.note"),
    ] {
        assert_eq!(invalid_field(fixture.correct(me, change(&other.id, mask, new)).await), field);
    }
    // A running timer covers the time up to now, but only on its own task.
    fixture.start(me, id).await.unwrap();
    fixture.clock.advance(TimeDelta::minutes(10));
    assert_eq!(
        error_reason(fixture.enter(me, worked(id, fixture.minute(-5), fixture.minute(-4))).await),
        Reason::TimeEntryOverlaps
    );
    let second = &fixture.create(me, new_task("Mop")).await.unwrap().id;
    fixture.enter(me, worked(second, fixture.minute(-5), fixture.minute(-4))).await.unwrap();

    let task = fixture.get(me, id).await.unwrap();
    assert_eq!((task.version, task.actual_seconds), (4, 1_200 + 600));
    assert_eq!(fixture.corrections(me, id).await.unwrap().len(), 2, "refused calls leave no correction");
    assert_eq!(fixture.entries(me, id).await.unwrap()[..2], [entry, other]);
}

#[tokio::test]
async fn time_is_entered_by_the_worker_and_their_superiors_only() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = &fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    let of = |person: &Person, from: i64| CreateTimeEntryRequest {
        user_id: Some(person.user_id.to_string()),
        ..worked(id, fixture.minute(from), fixture.minute(from + 1))
    };
    let mine = fixture.enter(&team.user_a1, of(&team.user_a1, -60)).await.unwrap();
    fixture.enter(&team.manager_a, of(&team.user_a1, -50)).await.unwrap();
    fixture.enter(&team.owner, of(&team.user_a1, -40)).await.unwrap();
    let helped = fixture.enter(&team.manager_a, of(&team.user_a2, -60)).await.unwrap();
    assert_eq!(helped.user_id, team.user_a2.user_id.to_string(), "two users may work at once");

    assert_eq!(error_reason(fixture.enter(&team.user_a1, of(&team.user_a2, -30)).await), Reason::NotAboveMember);
    assert_eq!(error_reason(fixture.enter(&team.manager_a, of(&team.user_b1, -30)).await), Reason::NotAboveMember);
    assert_eq!(error_reason(fixture.enter(&team.manager_b, of(&team.user_b1, -30)).await), Reason::TaskNotFound);
    assert_eq!(
        error_reason(fixture.enter(&team.manager_a, of(&team.manager_a, -30)).await),
        Reason::TaskChangeNotAllowed
    );
    assert_eq!(
        error_reason(fixture.enter(&team.user_a2, of(&team.user_a2, -30)).await),
        Reason::TaskNotFound,
        "a private task"
    );
    let foreign = fixture.other_account().await;
    assert_eq!(error_reason(fixture.enter(&team.owner, of(&foreign.team.owner, -30)).await), Reason::MemberNotFound);

    for (person, reason) in [
        (&team.user_a2, Reason::TimeEntryNotFound),
        (&team.manager_b, Reason::TimeEntryNotFound),
        (&foreign.team.owner, Reason::NotAMember),
    ] {
        assert_eq!(error_reason(fixture.take_out(person, &mine.id).await), reason);
    }
    assert_eq!(error_reason(foreign.take_out(&foreign.team.owner, &mine.id).await), Reason::TimeEntryNotFound);
    assert_eq!(error_reason(fixture.take_out(&team.user_a1, &helped.id).await), Reason::TaskChangeNotAllowed);
    for (person, rpc) in [(&team.user_a2, fixture.clone()), (&foreign.team.owner, foreign.clone())] {
        assert_eq!(error_reason(rpc.entries(person, id).await), Reason::TaskNotFound);
        assert_eq!(error_reason(rpc.corrections(person, id).await), Reason::TaskNotFound);
        assert_eq!(error_reason(rpc.report(person, id).await), Reason::TaskNotFound);
    }
    assert_eq!(fixture.get(&team.owner, id).await.unwrap().actual_seconds, 4 * 60);
}
