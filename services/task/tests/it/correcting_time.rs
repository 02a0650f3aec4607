//! People forget to say when they work, and put it right later.

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
    desk::{Desk, new, new_for, refused, with, wrong_field},
    time_desk::{change, from_to, worked},
};

#[tokio::test]
async fn work_that_the_timer_missed_is_entered_corrected_and_taken_out() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let (me, boss) = (&team.user_a1, &team.manager_a);
    let id = &desk.create(me, new("Sweep")).await.unwrap().id;
    let noted =
        CreateTimeEntryRequest { note: "the cellar".to_owned(), ..worked(id, desk.minute(-60), desk.minute(-50)) };
    let entry = desk.enter(me, noted).await.unwrap();
    assert_eq!((entry.seconds, entry.version, entry.note.as_str()), (600, 1, "the cellar"));
    assert_eq!((entry.kind(), entry.source()), (TimeEntryKind::Working, TimeEntrySource::Manual));
    let task = desk.get(me, id).await.unwrap();
    assert_eq!((task.actual_seconds, task.version), (600, 2));

    // The boss knows better, and is told when their knowledge is old.
    let longer = change(&entry.id, &["ended_at"], from_to(desk.minute(0), desk.minute(-45)));
    let stale = with(desk.call(boss, longer.clone()), "if-match", "\"2\"");
    assert_eq!(refused(desk.times().update_time_entry(stale).await), Reason::VersionMismatch);
    let fresh = with(desk.call(boss, longer.clone()), "if-match", "\"1\"");
    let longer_entry = desk.times().update_time_entry(fresh).await.unwrap().into_inner().time_entry.unwrap();
    assert_eq!((longer_entry.seconds, longer_entry.version, &longer_entry.note), (900, 2, &entry.note));
    assert_eq!(longer_entry.created_by, me.user_id.to_string());
    assert_eq!(desk.correct(boss, longer).await.unwrap(), longer_entry, "the same again is no change");
    // Moved without a second more, and a word changed without a second moved.
    let moved = change(&entry.id, &["started_at", "ended_at"], from_to(desk.minute(-30), desk.minute(-15)));
    desk.correct(me, moved).await.unwrap();
    let word = TimeEntryChange { note: "the attic".to_owned(), ..Default::default() };
    assert_eq!(desk.correct(me, change(&entry.id, &["note"], word)).await.unwrap().version, 4);
    let task = desk.get(me, id).await.unwrap();
    assert_eq!((task.actual_seconds, task.version), (900, 4), "a note is no change of the task");
    desk.take_out(me, &entry.id).await.unwrap();
    assert_eq!(refused(desk.take_out(me, &entry.id).await), Reason::TimeEntryNotFound);
    assert_eq!(desk.get(me, id).await.unwrap().actual_seconds, 0);
    assert_eq!(desk.entries(me, id).await.unwrap(), []);

    // All of it can be read afterwards, in the timeline and with the times.
    let lines = desk.timeline(boss, id).await.unwrap();
    let seconds = |line: &baton_proto::baton::task::v1::TimelineEntry| {
        let changes = baton_proto::convert::to_object(line.changes.clone().unwrap());
        (changes.len(), changes["actual_seconds"].as_i64().unwrap())
    };
    assert!(lines[1..].iter().all(|line| line.kind() == TaskEventKind::TimeCorrected));
    assert_eq!(lines[1..].iter().map(seconds).collect::<Vec<_>>(), [(1, 600), (1, 900), (1, 900), (1, 0)]);
    let corrections = desk.corrections(boss, id).await.unwrap();
    let actors: Vec<_> = corrections.iter().map(|it| (it.action(), it.actor_id.clone(), it.actual_seconds)).collect();
    let (me_id, boss_id) = (me.user_id.to_string(), boss.user_id.to_string());
    use TimeCorrectionAction::{Created, Deleted, Updated};
    let expected =
        [(Created, me_id.clone(), 600), (Updated, boss_id, 900), (Updated, me_id.clone(), 900), (Deleted, me_id, 0)];
    assert_eq!(actors, expected);
    let times = |it: &TimeCorrection| {
        [&it.old_started_at, &it.old_ended_at, &it.new_started_at, &it.new_ended_at].map(|at| at.map(|at| at.seconds))
    };
    let minute = |minutes| Some(desk.minute(minutes).timestamp());
    assert_eq!(times(&corrections[0]), [None, None, minute(-60), minute(-50)]);
    assert_eq!(times(&corrections[1]), [minute(-60), minute(-50), minute(-60), minute(-45)]);
    assert_eq!(times(&corrections[3]), [minute(-30), minute(-15), None, None]);

    let events = desk.time_events(&entry.id).await;
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
    let task_events = desk.events(id).await;
    assert_eq!(task_events.iter().filter(|(kind, _)| kind == "task.time_corrected").count(), 4);
}

#[tokio::test]
async fn what_the_timer_noted_is_corrected_too_and_the_sum_stays() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = &desk.create(me, new("Sweep")).await.unwrap().id;
    desk.start(me, id).await.unwrap();
    desk.clock.advance(TimeDelta::minutes(60));
    let running = desk.entries(me, id).await.unwrap().pop().unwrap();
    let shorter = |entry: &TimeEntry| {
        let end = datetime(&entry.started_at.unwrap()).unwrap() + TimeDelta::minutes(10);
        change(&entry.id, &["ended_at"], from_to(end, end))
    };
    assert_eq!(refused(desk.correct(me, shorter(&running)).await), Reason::TimeEntryFixed, "it runs");
    assert_eq!(refused(desk.take_out(me, &running.id).await), Reason::TimeEntryFixed);
    // "I went home after ten minutes, and forgot to say so."
    desk.pause(me, id, "went home").await.unwrap();
    desk.correct(me, shorter(&running)).await.unwrap();
    assert_eq!(desk.get(me, id).await.unwrap().actual_seconds, 600);
    desk.clock.advance(TimeDelta::minutes(30));
    let pause = desk.entries(me, id).await.unwrap().pop().unwrap();
    assert_eq!(pause.kind(), TimeEntryKind::Paused);
    assert_eq!(refused(desk.correct(me, shorter(&pause)).await), Reason::TimeEntryFixed, "a pause is the timer's");
    // "And worked on the way for the last ten minutes of the pause": they are no pause then.
    desk.enter(me, worked(id, desk.minute(-10), desk.minute(0))).await.unwrap();
    desk.resume(me, id).await.unwrap();
    desk.clock.advance(TimeDelta::minutes(5));
    desk.complete(me, id).await.unwrap();
    let report = desk.report(me, id).await.unwrap();
    assert_eq!((report.working_seconds, report.paused_seconds, report.pause_count), (25 * 60, 20 * 60, 1));
    assert_eq!((report.elapsed_seconds, report.by_user[0].entry_count), (95 * 60, 3));
    assert_eq!(desk.get(me, id).await.unwrap().actual_seconds, 25 * 60);
    // It is done, and may be corrected all the same.
    let last = desk.entries(me, id).await.unwrap().pop().unwrap();
    desk.take_out(me, &last.id).await.unwrap();
    assert_eq!(desk.get(me, id).await.unwrap().actual_seconds, 20 * 60);
}

#[tokio::test]
async fn what_cannot_have_been_is_refused_and_nothing_is_stored() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = &desk.create(me, new("Sweep")).await.unwrap().id;
    let entry = desk.enter(me, worked(id, desk.minute(-60), desk.minute(-50))).await.unwrap();
    let noted =
        |note: &str| CreateTimeEntryRequest { note: note.to_owned(), ..worked(id, desk.minute(-9), desk.minute(-8)) };
    let open = CreateTimeEntryRequest { ended_at: None, ..worked(id, desk.minute(-9), desk.minute(-8)) };
    let never = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
    for (request, field) in [
        (worked(id, desk.minute(-8), desk.minute(-9)), "ended_at"),
        (worked(id, desk.minute(-9), desk.minute(-9)), "ended_at"),
        (worked(id, desk.minute(-1), desk.minute(1)), "ended_at"),
        (worked(id, desk.minute(-25 * 60), desk.minute(-30)), "ended_at"),
        (CreateTimeEntryRequest { started_at: Some(never), ..noted("") }, "started_at"),
        (open, "ended_at"),
        (noted("\0"), "note"),
        (noted(&"x".repeat(1_001)), "note"),
        (CreateTimeEntryRequest { user_id: Some("me".to_owned()), ..noted("") }, "user_id"),
    ] {
        assert_eq!(wrong_field(desk.enter(me, request).await), field);
    }
    for (from, to) in [(-60, -50), (-61, -59), (-51, -49), (-58, -55), (-70, -40)] {
        let overlaps = desk.enter(me, worked(id, desk.minute(from), desk.minute(to))).await;
        assert_eq!(refused(overlaps), Reason::TimeEntryOverlaps, "{from} to {to}");
    }
    let other = desk.enter(me, worked(id, desk.minute(-50), desk.minute(-40))).await.expect("they touch");
    let into = change(&other.id, &["started_at"], from_to(desk.minute(-51), desk.minute(0)));
    assert_eq!(refused(desk.correct(me, into).await), Reason::TimeEntryOverlaps);
    for (mask, new, field) in [
        (&[][..], from_to(desk.minute(-50), desk.minute(-40)), "update_mask"),
        (&["kind"], from_to(desk.minute(-50), desk.minute(-40)), "update_mask"),
        (&["started_at"], TimeEntryChange::default(), "time_entry.started_at"),
        (&["ended_at"], from_to(desk.minute(0), desk.minute(-50)), "time_entry.ended_at"),
        (&["ended_at"], from_to(desk.minute(0), desk.minute(1)), "time_entry.ended_at"),
        (&["note"], TimeEntryChange { note: "\0".to_owned(), ..Default::default() }, "time_entry.note"),
    ] {
        assert_eq!(wrong_field(desk.correct(me, change(&other.id, mask, new)).await), field);
    }
    // While the timer runs, so does time up to now; on another task it is another matter.
    desk.start(me, id).await.unwrap();
    desk.clock.advance(TimeDelta::minutes(10));
    assert_eq!(refused(desk.enter(me, worked(id, desk.minute(-5), desk.minute(-4))).await), Reason::TimeEntryOverlaps);
    let second = &desk.create(me, new("Mop")).await.unwrap().id;
    desk.enter(me, worked(second, desk.minute(-5), desk.minute(-4))).await.unwrap();

    let task = desk.get(me, id).await.unwrap();
    assert_eq!((task.version, task.actual_seconds), (4, 1_200 + 600));
    assert_eq!(desk.corrections(me, id).await.unwrap().len(), 2, "refusals leave nothing");
    assert_eq!(desk.entries(me, id).await.unwrap()[..2], [entry, other]);
}

#[tokio::test]
async fn time_is_said_by_who_worked_and_those_above_them() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let id = &desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    let of = |person: &Person, from: i64| CreateTimeEntryRequest {
        user_id: Some(person.user_id.to_string()),
        ..worked(id, desk.minute(from), desk.minute(from + 1))
    };
    let mine = desk.enter(&team.user_a1, of(&team.user_a1, -60)).await.unwrap();
    desk.enter(&team.manager_a, of(&team.user_a1, -50)).await.unwrap();
    desk.enter(&team.owner, of(&team.user_a1, -40)).await.unwrap();
    let helped = desk.enter(&team.manager_a, of(&team.user_a2, -60)).await.unwrap();
    assert_eq!(helped.user_id, team.user_a2.user_id.to_string(), "two people may work at once");

    assert_eq!(refused(desk.enter(&team.user_a1, of(&team.user_a2, -30)).await), Reason::NotAboveMember);
    assert_eq!(refused(desk.enter(&team.manager_a, of(&team.user_b1, -30)).await), Reason::NotAboveMember);
    assert_eq!(refused(desk.enter(&team.manager_b, of(&team.user_b1, -30)).await), Reason::TaskNotFound);
    assert_eq!(refused(desk.enter(&team.manager_a, of(&team.manager_a, -30)).await), Reason::TaskChangeNotAllowed);
    assert_eq!(
        refused(desk.enter(&team.user_a2, of(&team.user_a2, -30)).await),
        Reason::TaskNotFound,
        "a private task"
    );
    let foreign = desk.elsewhere().await;
    assert_eq!(refused(desk.enter(&team.owner, of(&foreign.team.owner, -30)).await), Reason::MemberNotFound);

    for (person, reason) in [
        (&team.user_a2, Reason::TimeEntryNotFound),
        (&team.manager_b, Reason::TimeEntryNotFound),
        (&foreign.team.owner, Reason::NotAMember),
    ] {
        assert_eq!(refused(desk.take_out(person, &mine.id).await), reason);
    }
    assert_eq!(refused(foreign.take_out(&foreign.team.owner, &mine.id).await), Reason::TimeEntryNotFound);
    assert_eq!(refused(desk.take_out(&team.user_a1, &helped.id).await), Reason::TaskChangeNotAllowed);
    for (person, rpc) in [(&team.user_a2, desk.clone()), (&foreign.team.owner, foreign.clone())] {
        assert_eq!(refused(rpc.entries(person, id).await), Reason::TaskNotFound);
        assert_eq!(refused(rpc.corrections(person, id).await), Reason::TaskNotFound);
        assert_eq!(refused(rpc.report(person, id).await), Reason::TaskNotFound);
    }
    assert_eq!(desk.get(&team.owner, id).await.unwrap().actual_seconds, 4 * 60);
}
