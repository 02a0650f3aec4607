//! People watch boards.

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

use crate::desk::{Answer, Desk, new, new_for, refused, wrong_field};

type Watch = Streaming<WatchBoardResponse>;

async fn watch(desk: &Desk, who: &Person, board: BoardKind, user_id: Option<Uuid>) -> Answer<Watch> {
    let request = WatchBoardRequest { board: board.into(), user_id: user_id.map(|id| id.to_string()) };
    let mut watch = desk.boards().watch_board(desk.call(who, request)).await?.into_inner();
    assert_eq!(next(&mut watch).await.unwrap().kind(), BoardEventKind::Watching);
    Ok(watch)
}

async fn next(watch: &mut Watch) -> Answer<WatchBoardResponse> {
    let message = timeout(Duration::from_secs(20), watch.message()).await.expect("a message in time")?;
    Ok(message.expect("the stream goes on"))
}

async fn told(watch: &mut Watch) -> (BoardEventKind, TaskEventKind, String) {
    let message = next(watch).await.unwrap();
    (message.kind(), message.cause(), message.task_id)
}

#[tokio::test]
async fn what_happens_on_a_board_is_told_to_those_who_watch_it() {
    use BoardEventKind::{TaskAdded, TaskMoved, TaskRemoved};
    let desk = Desk::open().await;
    let team = &desk.team;
    let mut own = watch(&desk, &team.user_a1, BoardKind::My, None).await.unwrap();
    let mut of_a2 = watch(&desk, &team.manager_a, BoardKind::User, Some(team.user_a2.user_id)).await.unwrap();
    let mut teams = watch(&desk, &team.manager_a, BoardKind::Team, None).await.unwrap();
    let mut all = watch(&desk, &team.owner, BoardKind::Account, None).await.unwrap();

    let other = desk.elsewhere().await;
    other.create(&other.team.owner, new("another account's")).await.unwrap();
    let hidden = desk.create(&team.user_b1, new("another team's")).await.unwrap().id;
    let id = desk.create(&team.manager_a, new_for("given", &team.user_a1)).await.unwrap().id;
    desk.start(&team.user_a1, &id).await.unwrap();
    desk.reassign(&team.super_manager, &id, team.user_a2.user_id).await.unwrap();
    desk.clock.advance(TimeDelta::milliseconds(1));
    let first = desk.create(&team.user_a2, new("first")).await.unwrap().id;
    let put = MoveTaskRequest { id: first.clone(), before_id: Some(id.clone()), after_id: None };
    desk.boards().move_task(desk.call(&team.user_a2, put)).await.unwrap();
    desk.delete(&team.manager_a, &id).await.unwrap();

    let of = |kind, cause, id: &String| (kind, cause, id.clone());
    use TaskEventKind::{Created, Deleted, Moved, Reassigned, Started};
    for expected in [of(TaskAdded, Created, &id), of(TaskMoved, Started, &id), of(TaskRemoved, Reassigned, &id)] {
        assert_eq!(told(&mut own).await, expected);
    }
    for expected in [
        of(TaskAdded, Reassigned, &id),
        of(TaskAdded, Created, &first),
        of(TaskMoved, Moved, &first),
        of(TaskRemoved, Deleted, &id),
    ] {
        assert_eq!(told(&mut of_a2).await, expected);
    }
    assert_eq!(told(&mut teams).await, of(TaskAdded, Created, &id), "not {hidden}");
    assert_eq!(told(&mut all).await, of(TaskAdded, Created, &hidden));
    assert_eq!(told(&mut all).await, of(TaskAdded, Created, &id));
    let started = next(&mut all).await.unwrap();
    assert_eq!((started.kind(), started.status(), started.version), (TaskMoved, TaskStatus::InProgress, 2));
    assert_eq!(started.actor_id, Some(team.user_a1.user_id.to_string()));
    // Taking it from who works on it pauses it: another column.
    assert_eq!(told(&mut all).await, of(TaskMoved, Reassigned, &id));
}

#[tokio::test]
async fn who_reports_to_whom_decides_from_the_moment_it_changes() {
    use BoardEventKind::{Resync, TaskAdded};
    let desk = Desk::open().await;
    let team = &desk.team;
    let account_id = team.account_id.to_string();
    let mut members = MemberServiceClient::new(desk.world.tenancy());
    let mut teams = watch(&desk, &team.manager_a, BoardKind::Team, None).await.unwrap();
    let moved = UpdateMemberRequest {
        account_id: account_id.clone(),
        user_id: team.user_b1.user_id.to_string(),
        member: Some(MemberChange { manager_id: Some(team.manager_a.user_id.to_string()), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["manager_id".to_owned()] }),
    };
    members.update_member(desk.call(&team.owner, moved)).await.unwrap();
    assert_eq!(next(&mut teams).await.unwrap().kind(), Resync);
    let id = desk.create(&team.user_b1, new("of the new report")).await.unwrap().id;
    assert_eq!(told(&mut teams).await, (TaskAdded, TaskEventKind::Created, id));

    let removed = RemoveMemberRequest { account_id, user_id: team.manager_a.user_id.to_string(), hand_over_to: None };
    members.remove_member(desk.call(&team.owner, removed)).await.unwrap();
    let end = loop {
        if let Err(end) = next(&mut teams).await {
            break end;
        }
    };
    assert_eq!(baton_testkit::reason(&end), Some(Reason::NotAMember));
}

#[tokio::test]
async fn nobody_watches_longer_than_their_token_holds() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    desk.clock.advance(TimeDelta::seconds(15 * 60 - 2));
    let mut own = watch(&desk, me, BoardKind::My, None).await.unwrap();
    assert_eq!(refused(next(&mut own).await), Reason::TokenInvalid);
}

#[tokio::test]
async fn only_boards_that_one_may_see_are_watched() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let of = |person: &Person| Some(person.user_id);
    for (who, board, user, expected) in [
        (&team.user_a1, BoardKind::User, of(&team.user_a2), Reason::PermissionMissing),
        (&team.user_a1, BoardKind::Team, None, Reason::PermissionMissing),
        (&team.user_a1, BoardKind::Account, None, Reason::PermissionMissing),
        (&team.manager_a, BoardKind::Account, None, Reason::PermissionMissing),
        (&team.manager_a, BoardKind::User, of(&team.user_b1), Reason::BoardNotFound),
        (&team.manager_a, BoardKind::User, Some(Uuid::now_v7()), Reason::BoardNotFound),
        (&team.super_manager, BoardKind::User, of(&team.owner), Reason::BoardNotFound),
    ] {
        assert_eq!(refused(watch(&desk, who, board, user).await), expected, "{board:?}");
    }
    assert_eq!(wrong_field(watch(&desk, &team.owner, BoardKind::User, None).await), "user_id");
    assert_eq!(wrong_field(watch(&desk, &team.owner, BoardKind::Unspecified, None).await), "board");
}
