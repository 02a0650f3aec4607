//! The task lifecycle: assign, accept, start, pause, complete.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{TaskEventKind, TaskStatus};
use chrono::TimeDelta;
use tonic_types::StatusExt;

use crate::fixture::{Fixture, error_reason, invalid_field, new_task, new_task_for};

#[tokio::test]
async fn task_is_assigned_down_the_hierarchy_and_completed() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.owner, new_task_for("Open the shop", &team.manager_a)).await.unwrap();
    assert_eq!((task.version, task.status()), (1, TaskStatus::Pending));
    assert_eq!(task.assigned_by, Some(team.owner.user_id.to_string()));
    assert!(task.accepted_at.is_none());
    let id = &task.id;

    fixture.accept(&team.manager_a, id).await.unwrap();
    let task = fixture.assign(&team.manager_a, id, team.user_a1.user_id).await.unwrap();
    assert_eq!(task.assigned_to, Some(team.user_a1.user_id.to_string()));
    let accepted = fixture.accept(&team.user_a1, id).await.unwrap();
    assert!(accepted.accepted_at.is_some());
    assert_eq!(fixture.accept(&team.user_a1, id).await.unwrap(), accepted, "accepting again changes nothing");

    let started = fixture.start(&team.user_a1, id).await.unwrap();
    assert_eq!((started.status(), started.actual_seconds), (TaskStatus::InProgress, 0));
    fixture.clock.advance(TimeDelta::seconds(90));
    assert_eq!(fixture.get(&team.owner, id).await.unwrap().actual_seconds, 90, "the timer runs");
    let paused = fixture.pause(&team.user_a1, id, "waiting for the key").await.unwrap();
    assert_eq!(paused.pause_reason.as_deref(), Some("waiting for the key"));
    fixture.clock.advance(TimeDelta::seconds(1000));
    let resumed = fixture.resume(&team.user_a1, id).await.unwrap();
    assert_eq!((resumed.actual_seconds, resumed.pause_reason), (90, None));
    fixture.clock.advance(TimeDelta::seconds(10));
    let done = fixture.complete(&team.user_a1, id).await.unwrap();
    assert_eq!((done.status(), done.actual_seconds), (TaskStatus::Completed, 100));
    let seconds = done.completed_at.unwrap().seconds - done.started_at.unwrap().seconds;
    assert_eq!(seconds, 1100, "pauses included");

    let line = fixture.timeline(&team.manager_a, id).await.unwrap();
    use TaskEventKind as K;
    let kinds: Vec<_> = line.iter().map(|entry| entry.kind()).collect();
    let expected = [K::Created, K::Accepted, K::Assigned, K::Accepted, K::Started, K::Paused, K::Resumed, K::Completed];
    assert_eq!(kinds, expected);
    assert!(line.iter().map(|entry| entry.version).eq(1..=8), "one log entry per version");
    assert_eq!(line[5].reason.as_deref(), Some("waiting for the key"));
    assert_eq!(line[5].actor_id, team.user_a1.user_id.to_string());
    let changed: Vec<_> = line[7].changes.as_ref().unwrap().fields.keys().cloned().collect();
    assert_eq!(changed, ["actual_seconds", "completed_at", "running_since", "status"]);

    let events = fixture.events(id).await;
    let types: Vec<_> = events.iter().map(|(kind, _)| kind.trim_start_matches("task.")).collect();
    let expected =
        ["created", "assigned", "accepted", "assigned", "accepted", "started", "paused", "resumed", "completed"];
    assert_eq!(types, expected);
    let handed_down = &events[3].1;
    assert_eq!(handed_down.previously_assigned_to, team.manager_a.user_id.to_string());
    assert_eq!(handed_down.assigned_by, team.owner.user_id.to_string());
    assert_eq!(handed_down.assigned_to, team.user_a1.user_id.to_string());
}

#[tokio::test]
async fn invalid_transition_is_refused_and_names_both_states() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    for refusal in [fixture.pause(me, &id, "why").await, fixture.resume(me, &id).await, fixture.complete(me, &id).await]
    {
        let status = refusal.unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert_eq!(status.get_details_error_info().unwrap().metadata["from"], "pending");
    }
    fixture.start(me, &id).await.unwrap();
    let status = fixture.start(me, &id).await.unwrap_err();
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!((metadata["from"].as_str(), metadata["to"].as_str()), ("in_progress", "in_progress"));
    assert_eq!(error_reason(fixture.resume(me, &id).await), Reason::TaskWrongState);
    for nothing in ["", " ", "\t\n"] {
        assert_eq!(invalid_field(fixture.pause(me, &id, nothing).await), "reason");
    }
    fixture.pause(me, &id, "lunch").await.unwrap();
    let done = fixture.complete(me, &id).await.unwrap();
    assert_eq!(done.pause_reason, None, "completed while paused");
    for refusal in [fixture.start(me, &id).await, fixture.resume(me, &id).await, fixture.complete(me, &id).await] {
        assert_eq!(error_reason(refusal), Reason::TaskWrongState);
    }
    assert_eq!(fixture.timeline(me, &id).await.unwrap().len(), 4, "refused calls leave no log entry");
    assert_eq!(fixture.events(&id).await.len(), 4);
}

#[tokio::test]
async fn only_the_assignee_works_on_a_task_or_its_creator_while_unassigned() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    for other in [&team.owner, &team.super_manager, &team.manager_a] {
        assert_eq!(error_reason(fixture.start(other, &id).await), Reason::TaskChangeNotAllowed);
    }
    assert_eq!(error_reason(fixture.start(&team.user_a2, &id).await), Reason::TaskNotFound, "a private task");
    let started = fixture.start(&team.user_a1, &id).await.unwrap();
    assert!(started.accepted_at.is_some(), "starting accepts");
    assert_eq!(error_reason(fixture.reject(&team.user_a1, &id, None).await), Reason::AssignmentAlreadyAccepted);

    let own = fixture.create(&team.user_a1, new_task("Mop")).await.unwrap().id;
    assert_eq!(error_reason(fixture.start(&team.manager_a, &own).await), Reason::TaskChangeNotAllowed);
    fixture.start(&team.user_a1, &own).await.unwrap();
}

#[tokio::test]
async fn open_task_past_its_due_date_is_overdue() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let due = fixture.clock.now() + TimeDelta::seconds(60);
    let mut request = new_task("Sweep");
    request.due_at = Some(baton_proto::convert::timestamp(due));
    let id = fixture.create(me, request).await.unwrap().id;
    assert!(!fixture.get(me, &id).await.unwrap().overdue);
    fixture.clock.advance(TimeDelta::seconds(61));
    assert!(fixture.get(me, &id).await.unwrap().overdue);
    fixture.start(me, &id).await.unwrap();
    fixture.complete(me, &id).await.unwrap();
    assert!(!fixture.get(me, &id).await.unwrap().overdue);
}
