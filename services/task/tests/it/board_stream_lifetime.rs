//! Lifetime of WatchBoard streams: slow readers resync, and a stream ends when its caller loses access.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use baton_errors::Reason;
use baton_proto::{
    baton::{
        auth::v1::{
            CreateApiKeyRequest, DeleteApiKeyRequest, LoginRequest, LogoutRequest,
            api_key_service_client::ApiKeyServiceClient, auth_service_client::AuthServiceClient,
        },
        events::v1::Envelope,
        task::v1::{
            BoardEventKind, BoardKind, CreateTaskRequest, TaskEvent, TaskEventKind, TaskStatus, TaskVisibility,
            WatchBoardRequest, WatchBoardResponse, board_service_client::BoardServiceClient,
        },
        tenancy::v1::{
            MemberChange, RemoveMemberRequest, Role, UpdateMemberRequest, member_service_client::MemberServiceClient,
        },
    },
    convert::timestamp,
};
use baton_task::{Config, SPEC, start};
use baton_testkit::{PASSWORD, Person};
use prost::Message;
use prost_types::{Any, FieldMask};
use tokio::{net::TcpListener, time::timeout};
use tonic::{Status, Streaming, transport::Endpoint};
use uuid::Uuid;

use crate::fixture::{Fixture, error_reason, new_task, new_task_for};

type Watch = Streaming<WatchBoardResponse>;

/// Another instance of the service. Each stream has its own connection.
struct Service(SocketAddr);

impl Service {
    /// An instance that reauthorizes its streams at this interval.
    async fn reauthorizing_every(seconds: u32, fixture: &Fixture) -> Self {
        let mut env = fixture.context.env();
        env.set("BATON_TASK_WATCH_KEEPALIVE_SECONDS", seconds.to_string());
        let (config, clock) = (Config::from_env(&SPEC, &env).unwrap(), fixture.clock.clone());
        let mut address = None;
        let run = |listener: TcpListener, shutdown| {
            address = listener.local_addr().ok();
            start(config, clock, listener, shutdown)
        };
        fixture.context.spawn(run).await;
        Self(address.unwrap())
    }

    /// An instance that never reauthorizes by timer: only events end a stream.
    async fn without_reauthorization(fixture: &Fixture) -> Self {
        Self::reauthorizing_every(3_600, fixture).await
    }

    async fn watch(&self, fixture: &Fixture, actor: &Person, board: BoardKind) -> Watch {
        let to = Endpoint::from_shared(format!("http://{}", self.0)).unwrap();
        // A small window, so that little is buffered for a client that does not read.
        let channel = to.initial_stream_window_size(65_535).connect_lazy();
        let request = fixture.call(actor, WatchBoardRequest { board: board.into(), user_id: None });
        let mut watch = BoardServiceClient::new(channel).watch_board(request).await.unwrap().into_inner();
        assert_eq!(next(&mut watch).await.unwrap().kind(), BoardEventKind::Watching);
        watch
    }
}

async fn next(watch: &mut Watch) -> Result<WatchBoardResponse, Status> {
    let message = timeout(Duration::from_secs(20), watch.message()).await.expect("a message in time")?;
    Ok(message.expect("a stream that ends with a reason"))
}

/// The reason with which a stream ends, after its pending messages.
async fn end(watch: &mut Watch) -> Reason {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match next(watch).await {
            Ok(message) => assert_eq!(message.kind(), BoardEventKind::Keepalive),
            Err(status) => return baton_testkit::reason(&status).unwrap(),
        }
        assert!(Instant::now() < deadline, "the stream is still open");
    }
}

/// Removes a membership without an event.
async fn remove_without_event(fixture: &Fixture, person: &Person) {
    let leave = "update tenancy.memberships set status = 'removed' where user_id = $1";
    sqlx::query(leave).bind(person.user_id).execute(&fixture.context.admin()).await.unwrap();
}

/// Publishes this many events about one of the user's own tasks.
async fn publish_events(fixture: &Fixture, person: &Person, many: usize) {
    let task_id = Uuid::now_v7();
    let event = TaskEvent {
        task_id: task_id.to_string(),
        kind: TaskEventKind::Updated.into(),
        version: 2,
        status: TaskStatus::Pending.into(),
        created_by: person.user_id.to_string(),
        ..TaskEvent::default()
    };
    let ids: Vec<Uuid> = (0..many).map(|_| fixture.clock.new_id()).collect();
    let envelope = |id: &Uuid| Envelope {
        id: id.to_string(),
        r#type: "task.updated".to_owned(),
        account_id: fixture.team.account_id.to_string(),
        subject_id: task_id.to_string(),
        actor_id: person.user_id.to_string(),
        occurred_at: Some(timestamp(fixture.clock.now())),
        payload: Some(Any::from_msg(&event).unwrap()),
        ..Envelope::default()
    };
    let envelopes: Vec<Vec<u8>> = ids.iter().map(|id| envelope(id).encode_to_vec()).collect();
    let publish = "insert into task.outbox (id, account_id, envelope)
                   select id, $3, envelope from unnest($1::uuid[], $2::bytea[]) with ordinality
                          as events (id, envelope, nth) order by nth";
    let publish = sqlx::query(publish).bind(ids).bind(envelopes).bind(fixture.team.account_id);
    publish.execute(&fixture.context.admin()).await.unwrap();
}

/// A stream of A1's board that has missed events: more than its connection and queue hold.
async fn slow_stream(fixture: &Fixture) -> Watch {
    let service = Service::without_reauthorization(fixture).await;
    let slow = service.watch(fixture, &fixture.team.user_a1, BoardKind::My).await;
    // A board without these events: its next event arrives after all of them.
    let mut witness = service.watch(fixture, &fixture.team.user_b1, BoardKind::My).await;
    publish_events(fixture, &fixture.team.user_a1, TOO_MANY).await;
    let last = fixture.create(&fixture.team.user_b1, new_task("After it")).await.unwrap().id;
    assert_eq!(next(&mut witness).await.unwrap().task_id, last);
    slow
}

const TOO_MANY: usize = 6_000;

/// Reads the messages that were buffered before the gap.
async fn drain_buffered(slow: &mut Watch) -> Result<WatchBoardResponse, Status> {
    let mut read = 0;
    loop {
        match next(slow).await {
            Ok(message) if message.kind() == BoardEventKind::TaskUpdated => read += 1,
            other => return other,
        }
        assert!(read < TOO_MANY, "no event was missed");
    }
}

#[tokio::test]
async fn slow_stream_is_told_to_reload_and_then_gets_every_later_event() {
    let fixture = Fixture::new().await;
    let mut slow = slow_stream(&fixture).await;
    assert_eq!(drain_buffered(&mut slow).await.unwrap().kind(), BoardEventKind::Resync);
    let after = fixture.create(&fixture.team.user_a1, new_task("After it")).await.unwrap().id;
    let event = next(&mut slow).await.unwrap();
    assert_eq!((event.kind(), event.task_id), (BoardEventKind::TaskAdded, after), "and nothing from before the resync");
}

#[tokio::test]
async fn slow_stream_of_a_removed_member_ends() {
    let fixture = Fixture::new().await;
    let mut slow = slow_stream(&fixture).await;
    remove_without_event(&fixture, &fixture.team.user_a1).await;
    let refused = drain_buffered(&mut slow).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&refused), Some(Reason::NotAMember));
}

#[tokio::test]
async fn stream_sends_heartbeats_and_reauthorizes_on_a_busy_board() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let service = Service::reauthorizing_every(1, &fixture).await;
    let mut quiet = service.watch(&fixture, &team.user_a1, BoardKind::My).await;
    for _ in 0..2 {
        assert_eq!(next(&mut quiet).await.unwrap().kind(), BoardEventKind::Keepalive);
    }
    remove_without_event(&fixture, &team.user_a1).await;
    assert_eq!(end(&mut quiet).await, Reason::NotAMember);

    let mut busy = service.watch(&fixture, &team.user_b1, BoardKind::My).await;
    let mut updates = 0;
    let refused = loop {
        publish_events(&fixture, &team.user_b1, 1).await;
        match next(&mut busy).await {
            Ok(message) if message.kind() == BoardEventKind::TaskUpdated => updates += 1,
            Ok(_) => {}
            Err(refused) => break refused,
        }
        match updates {
            1 => remove_without_event(&fixture, &team.user_b1).await,
            60 => panic!("the stream was not reauthorized"),
            _ => {}
        }
    };
    assert_eq!(baton_testkit::reason(&refused), Some(Reason::NotAMember));
}

#[tokio::test]
async fn stream_ends_with_its_session_or_api_key() {
    let fixture = Fixture::new().await;
    let (me, context) = (&fixture.team.user_a1, &fixture.context);
    let service = Service::without_reauthorization(&fixture).await;
    let login = LoginRequest { email: me.email.clone(), password: PASSWORD.to_owned() };
    let mut auth = AuthServiceClient::new(context.auth());
    let again = auth.login(login).await.unwrap().into_inner();
    let other_account = Person { token: again.access_token().to_owned(), ..me.clone() };
    let key = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
    let mut keys = ApiKeyServiceClient::new(context.auth());
    let key = keys.create_api_key(me.call_without_account(key)).await.unwrap().into_inner();
    let script = Person { token: key.key.clone(), ..me.clone() };
    let mut by_session = service.watch(&fixture, &other_account, BoardKind::My).await;
    let mut by_key = service.watch(&fixture, &script, BoardKind::My).await;
    let mut still = service.watch(&fixture, me, BoardKind::My).await;

    let refresh_token = again.refresh_token().to_owned();
    auth.logout(LogoutRequest { refresh_token }).await.unwrap();
    assert_eq!(end(&mut by_session).await, Reason::SessionClosed);
    keys.delete_api_key(me.call_without_account(DeleteApiKeyRequest { id: key.id })).await.unwrap();
    assert_eq!(end(&mut by_key).await, Reason::TokenInvalid);
    let task = fixture.create(me, new_task("Still here")).await.unwrap().id;
    assert_eq!(next(&mut still).await.unwrap().task_id, task, "their other session's stream stays open");
}

/// Changes a member as the owner.
async fn change(fixture: &Fixture, person: &Person, new: MemberChange, mask: &[&str]) {
    let change = UpdateMemberRequest {
        account_id: fixture.team.account_id.to_string(),
        user_id: person.user_id.to_string(),
        member: Some(new),
        update_mask: Some(FieldMask { paths: mask.iter().map(|&path| path.to_owned()).collect() }),
    };
    let mut members = MemberServiceClient::new(fixture.context.tenancy());
    members.update_member(fixture.call(&fixture.team.owner, change)).await.unwrap();
}

#[tokio::test]
async fn stream_ends_with_the_membership_or_required_role() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let service = Service::without_reauthorization(&fixture).await;
    let mut own = service.watch(&fixture, &team.user_a1, BoardKind::My).await;
    // Nobody reports to this member, so the role can be changed.
    let deputy = fixture.context.person("deputy").await;
    fixture.context.join(team.account_id, &deputy, baton_access::Role::SuperManager, Some(team.owner.user_id)).await;
    let mut all = service.watch(&fixture, &deputy, BoardKind::Account).await;
    let mut others = service.watch(&fixture, &team.user_b1, BoardKind::My).await;
    let remove = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.user_a1.user_id.to_string(),
        hand_over_to: None,
    };
    let mut members = MemberServiceClient::new(fixture.context.tenancy());
    members.remove_member(fixture.call(&team.owner, remove)).await.unwrap();
    assert_eq!(end(&mut own).await, Reason::NotAMember);

    let lower = MemberChange { role: Role::Manager.into(), ..MemberChange::default() };
    change(&fixture, &deputy, lower, &["role"]).await;
    assert_eq!(end(&mut all).await, Reason::PermissionMissing);
    let task = fixture.create(&team.user_b1, new_task("Still here")).await.unwrap().id;
    assert_eq!(next(&mut others).await.unwrap().task_id, task, "authorized streams stay open");
}

#[tokio::test]
async fn task_that_becomes_hidden_is_reported_removed_and_nothing_more() {
    use BoardEventKind::{Resync, TaskAdded, TaskRemoved};
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let service = Service::without_reauthorization(&fixture).await;
    let mut watch = service.watch(&fixture, &team.manager_a, BoardKind::Team).await;
    let mut next_event = async || {
        let message = next(&mut watch).await.unwrap();
        (message.kind(), message.task_id)
    };
    // Assigned to another team.
    let private =
        CreateTaskRequest { visibility: TaskVisibility::Private.into(), ..new_task_for("Passed", &team.user_a1) };
    let passed = fixture.create(&team.super_manager, private).await.unwrap().id;
    assert_eq!(next_event().await, (TaskAdded, passed.clone()));
    fixture.reassign(&team.super_manager, &passed, team.user_b1.user_id).await.unwrap();
    assert_eq!(next_event().await, (TaskRemoved, passed.clone()));
    fixture.start(&team.user_b1, &passed).await.unwrap();
    assert_eq!(error_reason(fixture.get(&team.manager_a, &passed).await), Reason::TaskNotFound);

    // Moved together with its assignee.
    let held = fixture.create(&team.user_a1, new_task("Held")).await.unwrap().id;
    assert_eq!(next_event().await, (TaskAdded, held.clone()), "nothing about the reassigned task");
    let manager_id = Some(team.manager_b.user_id.to_string());
    change(&fixture, &team.user_a1, MemberChange { manager_id, ..MemberChange::default() }, &["manager_id"]).await;
    assert_eq!(next_event().await.0, Resync, "the client reloads the board");
    fixture.start(&team.user_a1, &held).await.unwrap();
    let own = fixture.create(&team.user_a2, new_task("Of the team")).await.unwrap().id;
    assert_eq!(next_event().await, (TaskAdded, own), "nothing about the member who left the team");
}
