//! `LiveService.Watch`: when a stream ends.

use baton_errors::{Reason, reason_of};
use baton_proto::baton::{
    auth::v1::{
        CreateApiKeyRequest, DeleteApiKeyRequest, LoginRequest, LogoutRequest,
        api_key_service_client::ApiKeyServiceClient, auth_service_client::AuthServiceClient,
    },
    live::v1::{BoardKind, ChannelKind, WatchRequest, WatchResponse, live_service_client::LiveServiceClient},
    tenancy::v1::{
        MemberChange, RemoveMemberRequest, Role, UpdateMemberRequest, member_service_client::MemberServiceClient,
    },
};
use baton_testkit::{PASSWORD, Person};
use prost_types::FieldMask;
use tokio::time::timeout;
use tonic::{Status, Streaming, transport::Channel};

use crate::fixture::{Fixture, TIMEOUT};

type Watch = Streaming<WatchResponse>;

/// Opens the stream of a board, or else of the notifications, and receives its begin.
async fn watch(fixture: &Fixture, person: &Person, board: Option<BoardKind>) -> Result<Watch, Status> {
    let channel = Channel::from_shared(format!("http://{}", fixture.address)).unwrap().connect().await.unwrap();
    let kind = if board.is_some() { ChannelKind::Board } else { ChannelKind::Notifications };
    let request =
        WatchRequest { channel: kind.into(), board: board.unwrap_or_default().into(), ..WatchRequest::default() };
    let call = person.call(fixture.team.account_id, request);
    let mut watch = LiveServiceClient::new(channel).watch(call).await?.into_inner();
    assert_eq!(next(&mut watch).await.unwrap().message, None);
    Ok(watch)
}

async fn next(watch: &mut Watch) -> Result<WatchResponse, Status> {
    Ok(timeout(TIMEOUT, watch.message()).await.expect("a response in time")?.expect("an end with a status"))
}

/// Why the stream ended.
async fn end(watch: &mut Watch) -> Option<Reason> {
    loop {
        if let Err(status) = next(watch).await {
            return reason_of(&status);
        }
    }
}

#[tokio::test]
async fn stream_ends_when_its_token_expires() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let short = Person { token: fixture.token_expiring_in(user, 3).await, ..user.clone() };
    assert_eq!(end(&mut watch(&fixture, &short, Some(BoardKind::My)).await.unwrap()).await, Some(Reason::TokenInvalid));
}

#[tokio::test]
async fn stream_ends_with_its_session_or_api_key() {
    let fixture = Fixture::start().await;
    let (me, context) = (&fixture.team.user_a1, &fixture.context);
    let login = LoginRequest { email: me.email.clone(), password: PASSWORD.to_owned() };
    let mut auth = AuthServiceClient::new(context.auth());
    let again = auth.login(login).await.unwrap().into_inner();
    let elsewhere = Person { token: again.access_token().to_owned(), ..me.clone() };
    let mut keys = ApiKeyServiceClient::new(context.auth());
    let mut key = async |scope: &str| {
        let scopes = vec![scope.to_owned()];
        let create = CreateApiKeyRequest { name: "A script".to_owned(), scopes, ..CreateApiKeyRequest::default() };
        keys.create_api_key(me.call_without_account(create)).await.unwrap().into_inner()
    };
    let (tasks, members) = (key("tasks:read").await, key("members:read").await);
    let script = |key: &str| Person { token: key.to_owned(), ..me.clone() };
    let mut by_session = watch(&fixture, &elsewhere, Some(BoardKind::My)).await.unwrap();
    let mut by_key = watch(&fixture, &script(&tasks.key), Some(BoardKind::My)).await.unwrap();
    let mut still = watch(&fixture, me, None).await.unwrap();
    // Each channel has its scope.
    for (key, board) in [(&members.key, Some(BoardKind::My)), (&members.key, None), (&tasks.key, None)] {
        let refused = watch(&fixture, &script(key), board).await.unwrap_err();
        assert_eq!(reason_of(&refused), Some(Reason::ScopeMissing), "{board:?}");
    }

    auth.logout(LogoutRequest { refresh_token: again.refresh_token().to_owned() }).await.unwrap();
    assert_eq!(end(&mut by_session).await, Some(Reason::SessionClosed));
    keys.delete_api_key(me.call_without_account(DeleteApiKeyRequest { id: tasks.id })).await.unwrap();
    assert_eq!(end(&mut by_key).await, Some(Reason::TokenInvalid));
    let (_, notification) = fixture.notification(fixture.team.account_id, me);
    fixture.publish([notification]).await;
    let received = next(&mut still).await.unwrap().message.unwrap();
    assert_eq!(received.event, "notification_received", "the stream of their other session goes on");
}

#[tokio::test]
async fn stream_ends_when_its_api_key_expires() {
    let fixture = Fixture::start().await;
    let me = &fixture.team.user_a1;
    let mut keys = ApiKeyServiceClient::new(fixture.context.auth());
    let create = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
    let key = keys.create_api_key(me.call_without_account(create)).await.unwrap().into_inner();
    let soon = sqlx::query("update auth.api_keys set expires_at = now() + interval '3 seconds' where id = $1");
    soon.bind(key.id.parse::<uuid::Uuid>().unwrap()).execute(&fixture.context.admin()).await.unwrap();
    let script = Person { token: key.key, ..me.clone() };
    assert_eq!(
        end(&mut watch(&fixture, &script, Some(BoardKind::My)).await.unwrap()).await,
        Some(Reason::TokenInvalid)
    );
}

#[tokio::test]
async fn stream_ends_with_the_membership_or_required_role() {
    let fixture = Fixture::start().await;
    let team = &fixture.team;
    let mut own = watch(&fixture, &team.user_a1, Some(BoardKind::My)).await.unwrap();
    // Nobody reports to this member, so the role can be changed.
    let deputy = fixture.context.person("deputy").await;
    fixture.context.join(team.account_id, &deputy, baton_access::Role::SuperManager, Some(team.owner.user_id)).await;
    let mut all = watch(&fixture, &deputy, Some(BoardKind::Account)).await.unwrap();
    let mut others = watch(&fixture, &team.user_b1, None).await.unwrap();
    let account_id = team.account_id.to_string();
    let mut members = MemberServiceClient::new(fixture.context.tenancy());
    let remove = RemoveMemberRequest {
        account_id: account_id.clone(),
        user_id: team.user_a1.user_id.to_string(),
        hand_over_to: None,
    };
    members.remove_member(team.owner.call(team.account_id, remove)).await.unwrap();
    assert_eq!(end(&mut own).await, Some(Reason::NotAMember));

    let lower = UpdateMemberRequest {
        account_id,
        user_id: deputy.user_id.to_string(),
        member: Some(MemberChange { role: Role::Manager.into(), ..MemberChange::default() }),
        update_mask: Some(FieldMask { paths: vec!["role".to_owned()] }),
    };
    members.update_member(team.owner.call(team.account_id, lower)).await.unwrap();
    assert_eq!(end(&mut all).await, Some(Reason::BoardNotFound));
    let (_, notification) = fixture.notification(team.account_id, &team.user_b1);
    fixture.publish([notification]).await;
    assert!(next(&mut others).await.unwrap().message.is_some(), "authorized streams stay open");
}

#[tokio::test]
async fn only_readable_boards_are_streamed() {
    let fixture = Fixture::start().await;
    for board in [BoardKind::Team, BoardKind::Account] {
        let refused = watch(&fixture, &fixture.team.user_a1, Some(board)).await.unwrap_err();
        assert_eq!(reason_of(&refused), Some(Reason::BoardNotFound));
    }
    for board in [BoardKind::User, BoardKind::Unspecified] {
        let invalid = watch(&fixture, &fixture.team.owner, Some(board)).await.unwrap_err();
        assert_eq!(reason_of(&invalid), Some(Reason::ValidationFailed), "{board:?} lacks a parameter");
    }
}
