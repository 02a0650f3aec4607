//! The board channel: who may follow which board, and what they receive.

use baton_proto::baton::{
    task::v1::{TaskEvent, TaskEventKind, TaskStatus, TaskVisibility},
    tenancy::v1::{MemberChange, RemoveMemberRequest, UpdateMemberRequest, member_service_client::MemberServiceClient},
};
use baton_store::Event;
use baton_testkit::{Person, event};
use prost_types::FieldMask;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{Fixture, Socket};

fn board(id: &str) -> Value {
    json!({"channel": "BoardChannel", "board_id": id})
}

fn board_of(person: &Person) -> Value {
    board(&format!("user-{}", person.user_id))
}

/// An event of a private task that manager A created.
fn change(fixture: &Fixture, kind: TaskEventKind, task_id: Uuid, people: [Option<&Person>; 2]) -> Event {
    let name = kind.as_str_name().trim_start_matches("TASK_EVENT_KIND_").to_lowercase();
    let [before, after] = people.map(|person| person.map(|it| it.user_id.to_string()).unwrap_or_default());
    let payload = TaskEvent {
        task_id: task_id.to_string(),
        kind: kind.into(),
        version: 2,
        status: TaskStatus::Pending.into(),
        created_by: fixture.team.manager_a.user_id.to_string(),
        previously_assigned_to: before,
        assigned_to: after,
        visibility: TaskVisibility::Private.into(),
        ..TaskEvent::default()
    };
    event(format!("task.{name}").leak(), fixture.team.account_id, task_id, &payload)
}

/// Changes a member as the owner.
async fn change_manager(fixture: &Fixture, person: &Person, manager: &Person) {
    let change = UpdateMemberRequest {
        account_id: fixture.team.account_id.to_string(),
        user_id: person.user_id.to_string(),
        member: Some(MemberChange { manager_id: Some(manager.user_id.to_string()), ..MemberChange::default() }),
        update_mask: Some(FieldMask { paths: vec!["manager_id".to_owned()] }),
    };
    let request = fixture.team.owner.call(fixture.team.account_id, change);
    MemberServiceClient::new(fixture.context.tenancy()).update_member(request).await.unwrap();
}

async fn is_confirmed(socket: &mut Socket, identifier: &Value) -> bool {
    socket.command("subscribe", &identifier.to_string()).await;
    let answer = socket.receive().await;
    if answer["type"] == "confirm_subscription" {
        assert_eq!(socket.next_message(identifier).await["event"], "resync");
        return true;
    }
    assert_eq!(answer, json!({"type": "reject_subscription", "identifier": identifier.to_string()}));
    false
}

#[tokio::test]
async fn only_readable_boards_can_be_followed() {
    let fixture = Fixture::start().await;
    let team = &fixture.team;
    let stranger = board(&format!("user-{}", Uuid::now_v7()));
    let boards = [
        board("my"),
        board_of(&team.user_a2),
        board_of(&team.user_b1),
        board_of(&team.owner),
        stranger,
        board("team"),
        board("account"),
    ];
    for (person, expected) in [
        (&team.user_a1, [true, false, false, false, false, false, false]),
        (&team.manager_a, [true, true, false, false, false, true, false]),
        (&team.super_manager, [true, true, true, false, false, true, true]),
        (&team.owner, [true, true, true, true, false, true, true]),
    ] {
        let mut socket = fixture.connect(person).await;
        let mut confirmed = Vec::new();
        for identifier in &boards {
            confirmed.push(is_confirmed(&mut socket, identifier).await);
        }
        assert_eq!(confirmed, expected, "{}", person.email);
    }
    assert_eq!(fixture.task_service.call_count(), 0, "the gateway decides by itself");
}

#[tokio::test]
async fn boards_receive_the_changes_of_their_tasks() {
    use TaskEventKind::{Assigned, Created, Deleted, Reassigned, Started};
    let fixture = Fixture::start().await;
    let team = &fixture.team;
    let (a1, a2, b1) = (Some(&team.user_a1), Some(&team.user_a2), Some(&team.user_b1));
    let follow = async |person: &Person, identifier: Value| {
        let mut socket = fixture.connect(person).await;
        socket.subscribe(&identifier).await;
        (socket, identifier)
    };
    let mut own = follow(&team.user_a1, board("my")).await;
    let mut of_a2 = follow(&team.manager_a, board_of(&team.user_a2)).await;
    let mut teams = follow(&team.manager_b, board("team")).await;
    let mut all = follow(&team.owner, board("account")).await;
    let task = Uuid::now_v7();
    for (kind, people) in [
        (Created, [None, None]),
        (Assigned, [None, a1]),
        (Started, [a1, a1]),
        (Reassigned, [a1, a2]),
        (Reassigned, [a2, b1]),
        (Deleted, [b1, b1]),
    ] {
        fixture.publish([change(&fixture, kind, task, people)]).await;
    }
    for ((socket, identifier), expected) in [
        (&mut own, &["added assigned", "updated started", "removed reassigned"][..]),
        (&mut of_a2, &["added reassigned", "removed reassigned"]),
        (&mut teams, &["added reassigned", "removed deleted"]),
        (
            &mut all,
            &[
                "added created",
                "updated assigned",
                "updated started",
                "updated reassigned",
                "updated reassigned",
                "removed deleted",
            ],
        ),
    ] {
        for expected in expected {
            let message = socket.next_message(identifier).await;
            let received = [&message["event"], &message["cause"]].map(|it| it.as_str().unwrap());
            assert_eq!(format!("{} {}", received[0].trim_start_matches("task_"), received[1]), *expected);
            assert_eq!(message["task_id"], json!(task));
        }
    }
}

#[tokio::test]
async fn changed_manager_applies_to_team_boards_at_once() {
    let fixture = Fixture::start().await;
    let team = &fixture.team;
    let (task, b1) = (Uuid::now_v7(), Some(&team.user_b1));
    let mut of_a = fixture.connect(&team.manager_a).await;
    of_a.subscribe(&board("team")).await;
    let mut of_b = fixture.connect(&team.manager_b).await;
    of_b.subscribe(&board("team")).await;
    let mut own = fixture.connect(&team.user_b1).await;
    own.subscribe(&board("my")).await;
    change_manager(&fixture, &team.user_b1, &team.manager_a).await;
    for socket in [&mut of_a, &mut of_b] {
        assert_eq!(socket.next_message(&board("team")).await, json!({"event": "resync"}));
    }
    fixture.publish([change(&fixture, TaskEventKind::Started, task, [b1, b1])]).await;
    for (socket, identifier) in [(&mut of_a, board("team")), (&mut own, board("my"))] {
        assert_eq!(socket.next_message(&identifier).await["cause"], "started");
    }
    let remove = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.manager_a.user_id.to_string(),
        hand_over_to: None,
    };
    let request = team.owner.call(team.account_id, remove);
    MemberServiceClient::new(fixture.context.tenancy()).remove_member(request).await.unwrap();
    of_a.expect_disconnect("unauthorized", false).await;
    own.confirm(&board("my").to_string()).await;
}

#[tokio::test]
async fn calls_that_an_event_causes_do_not_depend_on_the_number_of_subscribers() {
    let fixture = Fixture::start().await;
    let team = &fixture.team;
    let mut sockets = Vec::new();
    let mut causes = Vec::new();
    for subscribers in [2, 40] {
        while sockets.len() < subscribers {
            let mut socket = fixture.connect(&team.manager_a).await;
            socket.subscribe(&board("team")).await;
            socket.subscribe(&board("my")).await;
            sockets.push(socket);
        }
        let before = fixture.calls();
        // Their manager changes and changes back.
        let event = |person: &Person| {
            let payload = baton_proto::baton::tenancy::v1::MemberEvent {
                user_id: person.user_id.to_string(),
                ..Default::default()
            };
            event("member.updated", team.account_id, Uuid::now_v7(), &payload)
        };
        fixture.publish([event(&team.user_a1)]).await;
        let a1 = Some(&team.user_a1);
        for kind in [TaskEventKind::Assigned, TaskEventKind::Started, TaskEventKind::Updated] {
            fixture.publish([change(&fixture, kind, Uuid::now_v7(), [a1, a1])]).await;
        }
        for socket in &mut sockets {
            for cause in ["assigned", "started", "updated"] {
                assert_eq!(socket.next_message(&board("team")).await["cause"], cause);
            }
        }
        causes.push(fixture.calls() - before);
    }
    // The check of every hierarchy, twice a minute, may come between.
    assert!(causes.iter().all(|&calls| (1..=2).contains(&calls)), "{causes:?}");
}
