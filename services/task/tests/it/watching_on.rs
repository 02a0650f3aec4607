//! A watch that goes on: whoever falls behind reads anew, and it ends when the right to it does.

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
use baton_task::{Config, start};
use baton_testkit::{PASSWORD, Person};
use prost::Message;
use prost_types::{Any, FieldMask};
use tokio::{net::TcpListener, time::timeout};
use tonic::{Status, Streaming, transport::Endpoint};
use uuid::Uuid;

use crate::desk::{Desk, new, new_for, refused};

type Watch = Streaming<WatchBoardResponse>;

/// Another instance of the service, and ways to it: each is a connection of its own.
struct Service(SocketAddr);

impl Service {
    /// One that asks so often whether its watchers still may.
    async fn asking_every(seconds: u32, desk: &Desk) -> Self {
        let mut env = desk.world.env();
        env.set("BATON_TASK_WATCH_KEEPALIVE_SECONDS", seconds.to_string());
        let (config, clock) = (Config::from_env(&env).unwrap(), desk.clock.clone());
        let mut address = None;
        let run = |listener: TcpListener, shutdown| {
            address = listener.local_addr().ok();
            start(config, clock, listener, shutdown)
        };
        desk.world.spawn(run).await;
        Self(address.unwrap())
    }

    /// One that never asks by itself: what ends a watch there is word of it.
    async fn trusting(desk: &Desk) -> Self {
        Self::asking_every(3_600, desk).await
    }

    async fn watch(&self, desk: &Desk, who: &Person, board: BoardKind) -> Watch {
        let to = Endpoint::from_shared(format!("http://{}", self.0)).unwrap();
        // What is on the way to somebody who does not read is not much.
        let channel = to.initial_stream_window_size(65_535).connect_lazy();
        let request = desk.call(who, WatchBoardRequest { board: board.into(), user_id: None });
        let mut watch = BoardServiceClient::new(channel).watch_board(request).await.unwrap().into_inner();
        assert_eq!(next(&mut watch).await.unwrap().kind(), BoardEventKind::Watching);
        watch
    }
}

async fn next(watch: &mut Watch) -> Result<WatchBoardResponse, Status> {
    let message = timeout(Duration::from_secs(20), watch.message()).await.expect("a message in time")?;
    Ok(message.expect("a stream does not end without a reason"))
}

/// Why a watch ends that has nothing more to tell.
async fn end(watch: &mut Watch) -> Reason {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match next(watch).await {
            Ok(message) => assert_eq!(message.kind(), BoardEventKind::Keepalive),
            Err(status) => return baton_testkit::reason(&status).unwrap(),
        }
        assert!(Instant::now() < deadline, "it goes on");
    }
}

/// Takes somebody's membership away so that no event tells of it.
async fn remove_unheard(desk: &Desk, person: &Person) {
    let leave = "update tenancy.memberships set status = 'removed' where user_id = $1";
    sqlx::query(leave).bind(person.user_id).execute(&desk.world.admin()).await.unwrap();
}

/// Publishes as many events about a task of the person's own, as if they had happened.
async fn happen(desk: &Desk, person: &Person, many: usize) {
    let task_id = Uuid::now_v7();
    let event = TaskEvent {
        task_id: task_id.to_string(),
        kind: TaskEventKind::Updated.into(),
        version: 2,
        status: TaskStatus::Pending.into(),
        created_by: person.user_id.to_string(),
        ..TaskEvent::default()
    };
    let ids: Vec<Uuid> = (0..many).map(|_| desk.clock.new_id()).collect();
    let envelope = |id: &Uuid| Envelope {
        id: id.to_string(),
        r#type: "task.updated".to_owned(),
        account_id: desk.team.account_id.to_string(),
        subject_id: task_id.to_string(),
        actor_id: person.user_id.to_string(),
        occurred_at: Some(timestamp(desk.clock.now())),
        payload: Some(Any::from_msg(&event).unwrap()),
        ..Envelope::default()
    };
    let envelopes: Vec<Vec<u8>> = ids.iter().map(|id| envelope(id).encode_to_vec()).collect();
    let publish = "insert into task.outbox (id, account_id, envelope)
                   select id, $3, envelope from unnest($1::uuid[], $2::bytea[]) with ordinality
                          as events (id, envelope, nth) order by nth";
    let publish = sqlx::query(publish).bind(ids).bind(envelopes).bind(desk.team.account_id);
    publish.execute(&desk.world.admin()).await.unwrap();
}

/// A watch of A1's own board that has missed events: more happened than a connection and a watcher's queue hold.
async fn behind(desk: &Desk) -> Watch {
    let service = Service::trusting(desk).await;
    let slow = service.watch(desk, &desk.team.user_a1, BoardKind::My).await;
    // On whose board nothing of it happens: word of what does comes after all of it.
    let mut witness = service.watch(desk, &desk.team.user_b1, BoardKind::My).await;
    happen(desk, &desk.team.user_a1, TOO_MANY).await;
    let last = desk.create(&desk.team.user_b1, new("After it")).await.unwrap().id;
    assert_eq!(next(&mut witness).await.unwrap().task_id, last);
    slow
}

const TOO_MANY: usize = 6_000;

/// Reads what was on the way before events were missed.
async fn read_what_waits(slow: &mut Watch) -> Result<WatchBoardResponse, Status> {
    let mut read = 0;
    loop {
        match next(slow).await {
            Ok(message) if message.kind() == BoardEventKind::TaskUpdated => read += 1,
            other => return other,
        }
        assert!(read < TOO_MANY, "none was missed");
    }
}

#[tokio::test]
async fn whoever_falls_behind_reads_the_board_anew_and_hears_all_that_comes_after() {
    let desk = Desk::open().await;
    let mut slow = behind(&desk).await;
    assert_eq!(read_what_waits(&mut slow).await.unwrap().kind(), BoardEventKind::Resync);
    let after = desk.create(&desk.team.user_a1, new("After it")).await.unwrap().id;
    let told = next(&mut slow).await.unwrap();
    assert_eq!((told.kind(), told.task_id), (BoardEventKind::TaskAdded, after), "and nothing that was there to read");
}

#[tokio::test]
async fn whoever_falls_behind_and_missed_their_removal_is_shown_out() {
    let desk = Desk::open().await;
    let mut slow = behind(&desk).await;
    remove_unheard(&desk, &desk.team.user_a1).await;
    let refused = read_what_waits(&mut slow).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&refused), Some(Reason::NotAMember));
}

#[tokio::test]
async fn a_watch_says_that_it_goes_on_and_asks_whether_it_may_however_busy_the_board_is() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let service = Service::asking_every(1, &desk).await;
    let mut quiet = service.watch(&desk, &team.user_a1, BoardKind::My).await;
    for _ in 0..2 {
        assert_eq!(next(&mut quiet).await.unwrap().kind(), BoardEventKind::Keepalive);
    }
    remove_unheard(&desk, &team.user_a1).await;
    assert_eq!(end(&mut quiet).await, Reason::NotAMember);

    let mut busy = service.watch(&desk, &team.user_b1, BoardKind::My).await;
    let mut told = 0;
    let refused = loop {
        happen(&desk, &team.user_b1, 1).await;
        match next(&mut busy).await {
            Ok(message) if message.kind() == BoardEventKind::TaskUpdated => told += 1,
            Ok(_) => {}
            Err(refused) => break refused,
        }
        match told {
            1 => remove_unheard(&desk, &team.user_b1).await,
            60 => panic!("nobody asked whether they still may"),
            _ => {}
        }
    };
    assert_eq!(baton_testkit::reason(&refused), Some(Reason::NotAMember));
}

#[tokio::test]
async fn a_watch_ends_with_its_session_and_with_its_key() {
    let desk = Desk::open().await;
    let (me, world) = (&desk.team.user_a1, &desk.world);
    let service = Service::trusting(&desk).await;
    let login = LoginRequest { email: me.email.clone(), password: PASSWORD.to_owned() };
    let mut auth = AuthServiceClient::new(world.auth());
    let again = auth.login(login).await.unwrap().into_inner();
    let elsewhere = Person { token: again.access_token().to_owned(), ..me.clone() };
    let key = CreateApiKeyRequest { name: "A script".to_owned(), ..CreateApiKeyRequest::default() };
    let mut keys = ApiKeyServiceClient::new(world.auth());
    let key = keys.create_api_key(me.call_without_account(key)).await.unwrap().into_inner();
    let script = Person { token: key.key.clone(), ..me.clone() };
    let mut by_session = service.watch(&desk, &elsewhere, BoardKind::My).await;
    let mut by_key = service.watch(&desk, &script, BoardKind::My).await;
    let mut still = service.watch(&desk, me, BoardKind::My).await;

    let refresh_token = again.refresh_token().to_owned();
    auth.logout(LogoutRequest { refresh_token }).await.unwrap();
    assert_eq!(end(&mut by_session).await, Reason::SessionClosed);
    keys.delete_api_key(me.call_without_account(DeleteApiKeyRequest { id: key.id })).await.unwrap();
    assert_eq!(end(&mut by_key).await, Reason::TokenInvalid);
    let task = desk.create(me, new("Still here")).await.unwrap().id;
    assert_eq!(next(&mut still).await.unwrap().task_id, task, "their other session goes on");
}

/// The owner changes somebody's place in the account.
async fn change(desk: &Desk, person: &Person, new: MemberChange, mask: &[&str]) {
    let change = UpdateMemberRequest {
        account_id: desk.team.account_id.to_string(),
        user_id: person.user_id.to_string(),
        member: Some(new),
        update_mask: Some(FieldMask { paths: mask.iter().map(|&path| path.to_owned()).collect() }),
    };
    let mut members = MemberServiceClient::new(desk.world.tenancy());
    members.update_member(desk.call(&desk.team.owner, change)).await.unwrap();
}

#[tokio::test]
async fn a_watch_ends_with_the_membership_and_with_the_role_that_it_takes() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let service = Service::trusting(&desk).await;
    let mut own = service.watch(&desk, &team.user_a1, BoardKind::My).await;
    // To whom nobody reports: their role can be changed.
    let deputy = desk.world.person("deputy").await;
    desk.world.join(team.account_id, &deputy, baton_access::Role::SuperManager, Some(team.owner.user_id)).await;
    let mut all = service.watch(&desk, &deputy, BoardKind::Account).await;
    let mut others = service.watch(&desk, &team.user_b1, BoardKind::My).await;
    let remove = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.user_a1.user_id.to_string(),
        hand_over_to: None,
    };
    let mut members = MemberServiceClient::new(desk.world.tenancy());
    members.remove_member(desk.call(&team.owner, remove)).await.unwrap();
    assert_eq!(end(&mut own).await, Reason::NotAMember);

    let lower = MemberChange { role: Role::Manager.into(), ..MemberChange::default() };
    change(&desk, &deputy, lower, &["role"]).await;
    assert_eq!(end(&mut all).await, Reason::PermissionMissing);
    let task = desk.create(&team.user_b1, new("Still here")).await.unwrap().id;
    assert_eq!(next(&mut others).await.unwrap().task_id, task, "whoever may goes on");
}

#[tokio::test]
async fn a_task_out_of_sight_is_told_as_gone_and_nothing_more_of_it() {
    use BoardEventKind::{Resync, TaskAdded, TaskRemoved};
    let desk = Desk::open().await;
    let team = &desk.team;
    let service = Service::trusting(&desk).await;
    let mut watch = service.watch(&desk, &team.manager_a, BoardKind::Team).await;
    let mut told = async || {
        let message = next(&mut watch).await.unwrap();
        (message.kind(), message.task_id)
    };
    // Into the hands of another team.
    let private = CreateTaskRequest { visibility: TaskVisibility::Private.into(), ..new_for("Passed", &team.user_a1) };
    let passed = desk.create(&team.super_manager, private).await.unwrap().id;
    assert_eq!(told().await, (TaskAdded, passed.clone()));
    desk.reassign(&team.super_manager, &passed, team.user_b1.user_id).await.unwrap();
    assert_eq!(told().await, (TaskRemoved, passed.clone()));
    desk.start(&team.user_b1, &passed).await.unwrap();
    assert_eq!(refused(desk.get(&team.manager_a, &passed).await), Reason::TaskNotFound);

    // With the person who holds it.
    let held = desk.create(&team.user_a1, new("Held")).await.unwrap().id;
    assert_eq!(told().await, (TaskAdded, held.clone()), "nothing of what was passed on");
    let manager_id = Some(team.manager_b.user_id.to_string());
    change(&desk, &team.user_a1, MemberChange { manager_id, ..MemberChange::default() }, &["manager_id"]).await;
    assert_eq!(told().await.0, Resync, "which tasks are gone, the board says");
    desk.start(&team.user_a1, &held).await.unwrap();
    let own = desk.create(&team.user_a2, new("Of the team")).await.unwrap().id;
    assert_eq!(told().await, (TaskAdded, own), "nothing of who left the team");
}
