//! WatchBoard: delivered events and access.

use std::time::Duration;

use baton_errors::Reason;
use baton_proto::baton::{
    task::v1::{
        BoardEventKind, BoardKind, MoveTaskRequest, TaskEventKind, TaskStatus, WatchBoardRequest, WatchBoardResponse,
    },
    tenancy::v1::{MemberChange, RemoveMemberRequest, UpdateMemberRequest, member_service_client::MemberServiceClient},
};
use baton_testkit::Person;
use chrono::TimeDelta;
use prost_types::FieldMask;
use tokio::time::timeout;
use tonic::Streaming;
use uuid::Uuid;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task, new_task_for};

type Watch = Streaming<WatchBoardResponse>;

async fn watch(fixture: &Fixture, actor: &Person, board: BoardKind, user_id: Option<Uuid>) -> RpcResult<Watch> {
    let request = WatchBoardRequest { board: board.into(), user_id: user_id.map(|id| id.to_string()) };
    let mut watch = fixture.boards().watch_board(fixture.call(actor, request)).await?.into_inner();
    assert_eq!(next(&mut watch).await.unwrap().kind(), BoardEventKind::Watching);
    Ok(watch)
}

async fn next(watch: &mut Watch) -> RpcResult<WatchBoardResponse> {
    let message = timeout(Duration::from_secs(20), watch.message()).await.expect("a message in time")?;
    Ok(message.expect("an open stream"))
}

async fn next_event(watch: &mut Watch) -> (BoardEventKind, TaskEventKind, String) {
    let message = next(watch).await.unwrap();
    (message.kind(), message.cause(), message.task_id)
}

#[tokio::test]
async fn stream_delivers_board_changes() {
    use BoardEventKind::{TaskAdded, TaskMoved, TaskRemoved};
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let mut own = watch(&fixture, &team.user_a1, BoardKind::My, None).await.unwrap();
    let mut of_a2 = watch(&fixture, &team.manager_a, BoardKind::User, Some(team.user_a2.user_id)).await.unwrap();
    let mut teams = watch(&fixture, &team.manager_a, BoardKind::Team, None).await.unwrap();
    let mut all = watch(&fixture, &team.owner, BoardKind::Account, None).await.unwrap();

    let other = fixture.other_account().await;
    other.create(&other.team.owner, new_task("another account's")).await.unwrap();
    let hidden = fixture.create(&team.user_b1, new_task("another team's")).await.unwrap().id;
    let id = fixture.create(&team.manager_a, new_task_for("given", &team.user_a1)).await.unwrap().id;
    fixture.start(&team.user_a1, &id).await.unwrap();
    fixture.reassign(&team.super_manager, &id, team.user_a2.user_id).await.unwrap();
    fixture.clock.advance(TimeDelta::milliseconds(1));
    let first = fixture.create(&team.user_a2, new_task("first")).await.unwrap().id;
    let put = MoveTaskRequest { id: first.clone(), before_id: Some(id.clone()), after_id: None };
    fixture.boards().move_task(fixture.call(&team.user_a2, put)).await.unwrap();
    fixture.delete(&team.manager_a, &id).await.unwrap();

    let of = |kind, cause, id: &String| (kind, cause, id.clone());
    use TaskEventKind::{Created, Deleted, Moved, Reassigned, Started};
    for expected in [of(TaskAdded, Created, &id), of(TaskMoved, Started, &id), of(TaskRemoved, Reassigned, &id)] {
        assert_eq!(next_event(&mut own).await, expected);
    }
    for expected in [
        of(TaskAdded, Reassigned, &id),
        of(TaskAdded, Created, &first),
        of(TaskMoved, Moved, &first),
        of(TaskRemoved, Deleted, &id),
    ] {
        assert_eq!(next_event(&mut of_a2).await, expected);
    }
    assert_eq!(next_event(&mut teams).await, of(TaskAdded, Created, &id), "not {hidden}");
    assert_eq!(next_event(&mut all).await, of(TaskAdded, Created, &hidden));
    assert_eq!(next_event(&mut all).await, of(TaskAdded, Created, &id));
    let started = next(&mut all).await.unwrap();
    assert_eq!((started.kind(), started.status(), started.version), (TaskMoved, TaskStatus::InProgress, 2));
    assert_eq!(started.actor_id, Some(team.user_a1.user_id.to_string()));
    // Reassigning a running task pauses it, so it moves to another column.
    assert_eq!(next_event(&mut all).await, of(TaskMoved, Reassigned, &id));
}

#[tokio::test]
async fn changed_manager_applies_to_open_streams_at_once() {
    use BoardEventKind::{Resync, TaskAdded};
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let account_id = team.account_id.to_string();
    let mut members = MemberServiceClient::new(fixture.context.tenancy());
    let mut teams = watch(&fixture, &team.manager_a, BoardKind::Team, None).await.unwrap();
    let moved = UpdateMemberRequest {
        account_id: account_id.clone(),
        user_id: team.user_b1.user_id.to_string(),
        member: Some(MemberChange { manager_id: Some(team.manager_a.user_id.to_string()), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["manager_id".to_owned()] }),
    };
    members.update_member(fixture.call(&team.owner, moved)).await.unwrap();
    assert_eq!(next(&mut teams).await.unwrap().kind(), Resync);
    let id = fixture.create(&team.user_b1, new_task("of the new report")).await.unwrap().id;
    assert_eq!(next_event(&mut teams).await, (TaskAdded, TaskEventKind::Created, id));

    let removed = RemoveMemberRequest { account_id, user_id: team.manager_a.user_id.to_string(), hand_over_to: None };
    members.remove_member(fixture.call(&team.owner, removed)).await.unwrap();
    let end = loop {
        if let Err(end) = next(&mut teams).await {
            break end;
        }
    };
    assert_eq!(baton_testkit::reason(&end), Some(Reason::NotAMember));
}

#[tokio::test]
async fn stream_ends_when_its_token_expires() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    fixture.clock.advance(TimeDelta::seconds(15 * 60 - 2));
    let mut own = watch(&fixture, me, BoardKind::My, None).await.unwrap();
    assert_eq!(error_reason(next(&mut own).await), Reason::TokenInvalid);
}

#[tokio::test]
async fn only_readable_boards_are_streamed() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let of = |person: &Person| Some(person.user_id);
    for (actor, board, user, expected) in [
        (&team.user_a1, BoardKind::User, of(&team.user_a2), Reason::PermissionMissing),
        (&team.user_a1, BoardKind::Team, None, Reason::PermissionMissing),
        (&team.user_a1, BoardKind::Account, None, Reason::PermissionMissing),
        (&team.manager_a, BoardKind::Account, None, Reason::PermissionMissing),
        (&team.manager_a, BoardKind::User, of(&team.user_b1), Reason::BoardNotFound),
        (&team.manager_a, BoardKind::User, Some(Uuid::now_v7()), Reason::BoardNotFound),
        (&team.super_manager, BoardKind::User, of(&team.owner), Reason::BoardNotFound),
    ] {
        assert_eq!(error_reason(watch(&fixture, actor, board, user).await), expected, "{board:?}");
    }
    assert_eq!(invalid_field(watch(&fixture, &team.owner, BoardKind::User, None).await), "user_id");
    assert_eq!(invalid_field(watch(&fixture, &team.owner, BoardKind::Unspecified, None).await), "board");
}
