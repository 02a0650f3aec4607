//! People work on tasks, from the first hand to the last.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{TaskEventKind, TaskStatus};
use chrono::TimeDelta;
use tonic_types::StatusExt;

use crate::desk::{Desk, new, new_for, refused, wrong_field};

#[tokio::test]
async fn a_task_flows_down_the_hierarchy_and_is_done() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.owner, new_for("Open the shop", &team.manager_a)).await.unwrap();
    assert_eq!((task.version, task.status()), (1, TaskStatus::Pending));
    assert_eq!(task.assigned_by, Some(team.owner.user_id.to_string()));
    assert!(task.accepted_at.is_none());
    let id = &task.id;

    desk.accept(&team.manager_a, id).await.unwrap();
    let task = desk.assign(&team.manager_a, id, team.user_a1.user_id).await.unwrap();
    assert_eq!(task.assigned_to, Some(team.user_a1.user_id.to_string()));
    let accepted = desk.accept(&team.user_a1, id).await.unwrap();
    assert!(accepted.accepted_at.is_some());
    assert_eq!(desk.accept(&team.user_a1, id).await.unwrap(), accepted, "accepting again changes nothing");

    let started = desk.start(&team.user_a1, id).await.unwrap();
    assert_eq!((started.status(), started.actual_seconds), (TaskStatus::InProgress, 0));
    desk.clock.advance(TimeDelta::seconds(90));
    assert_eq!(desk.get(&team.owner, id).await.unwrap().actual_seconds, 90, "time runs");
    let paused = desk.pause(&team.user_a1, id, "waiting for the key").await.unwrap();
    assert_eq!(paused.pause_reason.as_deref(), Some("waiting for the key"));
    desk.clock.advance(TimeDelta::seconds(1000));
    let resumed = desk.resume(&team.user_a1, id).await.unwrap();
    assert_eq!((resumed.actual_seconds, resumed.pause_reason), (90, None));
    desk.clock.advance(TimeDelta::seconds(10));
    let done = desk.complete(&team.user_a1, id).await.unwrap();
    assert_eq!((done.status(), done.actual_seconds), (TaskStatus::Completed, 100));
    let seconds = done.completed_at.unwrap().seconds - done.started_at.unwrap().seconds;
    assert_eq!(seconds, 1100, "pauses included");

    let line = desk.timeline(&team.manager_a, id).await.unwrap();
    use TaskEventKind as K;
    let kinds: Vec<_> = line.iter().map(|entry| entry.kind()).collect();
    let expected = [K::Created, K::Accepted, K::Assigned, K::Accepted, K::Started, K::Paused, K::Resumed, K::Completed];
    assert_eq!(kinds, expected);
    assert!(line.iter().map(|entry| entry.version).eq(1..=8), "one line per version");
    assert_eq!(line[5].reason.as_deref(), Some("waiting for the key"));
    assert_eq!(line[5].actor_id, team.user_a1.user_id.to_string());
    let changed: Vec<_> = line[7].changes.as_ref().unwrap().fields.keys().cloned().collect();
    assert_eq!(changed, ["actual_seconds", "completed_at", "running_since", "status"]);

    let events = desk.events(id).await;
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
async fn a_wrong_state_is_refused_and_names_both() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let id = desk.create(me, new("Sweep")).await.unwrap().id;
    for refusal in [desk.pause(me, &id, "why").await, desk.resume(me, &id).await, desk.complete(me, &id).await] {
        let status = refusal.unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert_eq!(status.get_details_error_info().unwrap().metadata["from"], "pending");
    }
    desk.start(me, &id).await.unwrap();
    let status = desk.start(me, &id).await.unwrap_err();
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!((metadata["from"].as_str(), metadata["to"].as_str()), ("in_progress", "in_progress"));
    assert_eq!(refused(desk.resume(me, &id).await), Reason::TaskWrongState);
    for nothing in ["", " ", "\t\n"] {
        assert_eq!(wrong_field(desk.pause(me, &id, nothing).await), "reason");
    }
    desk.pause(me, &id, "lunch").await.unwrap();
    let done = desk.complete(me, &id).await.unwrap();
    assert_eq!(done.pause_reason, None, "completed from a pause");
    for refusal in [desk.start(me, &id).await, desk.resume(me, &id).await, desk.complete(me, &id).await] {
        assert_eq!(refused(refusal), Reason::TaskWrongState);
    }
    assert_eq!(desk.timeline(me, &id).await.unwrap().len(), 4, "refusals leave nothing");
    assert_eq!(desk.events(&id).await.len(), 4);
}

#[tokio::test]
async fn work_is_the_holders_or_the_creators_while_nobody_holds_it() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let id = desk.create(&team.manager_a, new_for("Sweep", &team.user_a1)).await.unwrap().id;
    for other in [&team.owner, &team.super_manager, &team.manager_a] {
        assert_eq!(refused(desk.start(other, &id).await), Reason::TaskChangeNotAllowed);
    }
    assert_eq!(refused(desk.start(&team.user_a2, &id).await), Reason::TaskNotFound, "a private task");
    let started = desk.start(&team.user_a1, &id).await.unwrap();
    assert!(started.accepted_at.is_some(), "starting accepts");
    assert_eq!(refused(desk.reject(&team.user_a1, &id, None).await), Reason::AssignmentAlreadyAccepted);

    let own = desk.create(&team.user_a1, new("Mop")).await.unwrap().id;
    assert_eq!(refused(desk.start(&team.manager_a, &own).await), Reason::TaskChangeNotAllowed);
    desk.start(&team.user_a1, &own).await.unwrap();
}

#[tokio::test]
async fn a_task_is_late_when_its_time_has_passed_and_it_is_not_done() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let due = desk.clock.now() + TimeDelta::seconds(60);
    let mut request = new("Sweep");
    request.due_at = Some(baton_proto::convert::timestamp(due));
    let id = desk.create(me, request).await.unwrap().id;
    assert!(!desk.get(me, &id).await.unwrap().overdue);
    desk.clock.advance(TimeDelta::seconds(61));
    assert!(desk.get(me, &id).await.unwrap().overdue);
    desk.start(me, &id).await.unwrap();
    desk.complete(me, &id).await.unwrap();
    assert!(!desk.get(me, &id).await.unwrap().overdue);
}
