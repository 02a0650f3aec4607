//! Time tracking: the timer, time reports, timesheets.

use baton_errors::Reason;
use baton_proto::{
    baton::{
        api::v1::Page,
        task::v1::{GetTimesheetRequest, GetTimesheetResponse, TimeEntryKind, TimeEntrySource},
    },
    convert::timestamp,
};
use baton_testkit::Person;
use chrono::TimeDelta;

use crate::{
    fixture::{Fixture, error_reason, invalid_field, new_task, new_task_for},
    time_entry_fixture::{intervals, worked},
};

#[tokio::test]
async fn timer_records_every_interval_and_its_user() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let (ann, bob, boss) = (&team.user_a1, &team.user_a2, &team.manager_a);
    let mut request = new_task_for("Sweep", ann);
    request.estimated_seconds = Some(300);
    let id = &fixture.create(boss, request).await.unwrap().id;
    assert_eq!(fixture.entries(ann, id).await.unwrap(), [], "nobody has started");
    assert_eq!(fixture.report(ann, id).await.unwrap().elapsed_seconds, 0);
    let wait = |seconds| fixture.clock.advance(TimeDelta::seconds(seconds));

    wait(10);
    fixture.start(ann, id).await.unwrap();
    wait(100);
    fixture.pause(ann, id, "lunch").await.unwrap();
    wait(30);
    fixture.resume(ann, id).await.unwrap();
    wait(50);
    fixture.update(ann, id, &["description"], Default::default()).await.unwrap_err();
    fixture.update(boss, id, &["title"], crate::fixture::title_change("Sweep it all")).await.unwrap();
    assert_eq!(fixture.entries(ann, id).await.unwrap()[2].seconds, 50, "other changes do not touch the timer");
    fixture.reassign(&team.owner, id, bob.user_id).await.unwrap();
    wait(20);
    fixture.accept(bob, id).await.unwrap();
    fixture.reassign(&team.owner, id, ann.user_id).await.unwrap();
    wait(5);
    fixture.reassign(&team.owner, id, bob.user_id).await.unwrap();
    wait(15);
    fixture.resume(bob, id).await.unwrap();
    wait(60);

    let entries = fixture.entries(boss, id).await.unwrap();
    use TimeEntryKind::{Paused, Working};
    let (ann_id, bob_id) = (&*ann.user_id.to_string(), &*bob.user_id.to_string());
    let expected = [
        (Working, ann_id, 100),
        (Paused, ann_id, 30),
        (Working, ann_id, 50),
        (Paused, bob_id, 20),
        (Paused, ann_id, 5),
        (Paused, bob_id, 15),
        (Working, bob_id, 60),
    ];
    assert_eq!(intervals(&entries), expected);
    assert!(entries.windows(2).all(|pair| pair[0].ended_at == pair[1].started_at), "intervals are contiguous");
    assert!(entries.iter().all(|entry| entry.source() == TimeEntrySource::Timer));
    assert_eq!(entries[3].created_by, team.owner.user_id.to_string(), "the reassignment started it");
    assert_eq!((entries[6].ended_at, fixture.get(boss, id).await.unwrap().actual_seconds), (None, 210));

    let report = fixture.report(boss, id).await.unwrap();
    assert_eq!((report.working_seconds, report.paused_seconds, report.elapsed_seconds), (210, 70, 280));
    assert_eq!(
        (report.estimated_seconds, report.estimate_ratio, report.focus_ratio),
        (Some(300), Some(0.7), Some(0.75))
    );
    assert_eq!((report.pause_count, report.cycle_time_seconds), (2, None), "a reassignment adds no pause");
    let people: Vec<_> = report.by_user.iter().map(|p| (&*p.user_id, p.working_seconds, p.entry_count)).collect();
    assert_eq!(people, [(ann_id, 150, 2), (bob_id, 60, 1)]);
    assert_eq!(report.first_started_at, entries[0].started_at);

    fixture.complete(bob, id).await.unwrap();
    wait(1_000);
    let report = fixture.report(boss, id).await.unwrap();
    assert_eq!((report.cycle_time_seconds, report.lead_time_seconds), (Some(280), Some(290)));
    assert_eq!((report.working_seconds, report.paused_seconds, report.elapsed_seconds), (210, 70, 280));
    assert!(fixture.entries(boss, id).await.unwrap().iter().all(|entry| entry.ended_at.is_some()));
}

#[tokio::test]
async fn timesheet_is_readable_by_its_user_and_superiors_only() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let me = &team.user_a1;
    let mut ids = Vec::new();
    for hour in 1..=3 {
        let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
        let (from, to) = (fixture.minute(-60 * hour), fixture.minute(-60 * hour + 10));
        ids.push(fixture.enter(me, worked(&id, from, to)).await.unwrap().id);
        // Pauses are not on timesheets.
        fixture.start(me, &id).await.unwrap();
        fixture.pause(me, &id, "lunch").await.unwrap();
    }
    let all = GetTimesheetRequest { page: Some(Page { per_page: 2, ..Default::default() }), ..Default::default() };
    let past = GetTimesheetRequest { to: Some(timestamp(fixture.minute(-1))), ..all.clone() };
    let first = fixture.sheet(me, past.clone()).await.unwrap();
    let listed = |sheet: &GetTimesheetResponse| sheet.time_entries.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
    let meta = first.meta.clone().unwrap();
    assert_eq!((listed(&first), meta.total_count, first.working_seconds), (ids[..2].to_vec(), 3, 1_800));
    let next = Page { per_page: 2, page_token: meta.next_page_token, ..Default::default() };
    let second = fixture.sheet(me, GetTimesheetRequest { page: Some(next.clone()), ..past.clone() }).await.unwrap();
    assert_eq!(listed(&second), ids[2..]);
    let other_account = GetTimesheetRequest { page: Some(next), ..all.clone() };
    assert_eq!(error_reason(fixture.sheet(me, other_account).await), Reason::PageTokenInvalid);
    let hour = GetTimesheetRequest {
        from: Some(timestamp(fixture.minute(-120))),
        to: Some(timestamp(fixture.minute(-60))),
        ..all.clone()
    };
    let hour = fixture.sheet(me, hour).await.unwrap();
    assert_eq!((listed(&hour), hour.working_seconds), (ids[1..2].to_vec(), 600), "`from` is inclusive, `to` exclusive");
    let reversed = GetTimesheetRequest {
        from: Some(timestamp(fixture.minute(-60))),
        to: Some(timestamp(fixture.minute(-120))),
        ..all.clone()
    };
    assert_eq!(invalid_field(fixture.sheet(me, reversed).await), "to");
    assert_eq!(fixture.sheet(me, all).await.unwrap().meta.unwrap().total_count, 6, "empty intervals of the timer, too");

    let of = |person: &Person| GetTimesheetRequest { user_id: Some(person.user_id.to_string()), ..past.clone() };
    for above in [&team.manager_a, &team.super_manager, &team.owner] {
        assert_eq!(fixture.sheet(above, of(me)).await.unwrap(), first);
    }
    assert_eq!(error_reason(fixture.sheet(&team.manager_b, of(me)).await), Reason::NotAboveMember);
    assert_eq!(error_reason(fixture.sheet(&team.user_a2, of(me)).await), Reason::NotAboveMember);
    let foreign = fixture.other_account().await;
    assert_eq!(error_reason(foreign.sheet(&foreign.team.owner, of(me)).await), Reason::MemberNotFound);
    assert_eq!(fixture.sheet(&team.user_a2, past).await.unwrap().working_seconds, 0);
}
