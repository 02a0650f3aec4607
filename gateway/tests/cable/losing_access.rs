//! A membership or session that ends, ends the connection; one that changes is noticed.

use baton_proto::baton::{
    auth::v1::{LoginRequest, LogoutRequest, auth_service_client::AuthServiceClient},
    tenancy::v1::{AccountEvent, MemberEvent, RemoveMemberRequest, member_service_client::MemberServiceClient},
};
use baton_store::Event;
use baton_testkit::{PASSWORD, Person};
use serde_json::json;
use uuid::Uuid;

use crate::stage::{Stage, notifications, task_channel};

fn member_event(stage: &Stage, kind: &'static str, person: &Person) -> Event {
    let event = MemberEvent { user_id: person.user_id.to_string(), ..MemberEvent::default() };
    Event::new(kind, stage.team.account_id, Uuid::now_v7(), &event)
}

#[tokio::test]
async fn a_removed_member_is_disconnected() {
    let stage = Stage::set().await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    let mut socket = stage.connect(user).await;
    let mut colleague = stage.connect(&stage.team.user_a2).await;
    let remove =
        RemoveMemberRequest { account_id: account.to_string(), user_id: user.user_id.to_string(), hand_over_to: None };
    let request = stage.team.owner.call(account, remove);
    MemberServiceClient::new(stage.world.tenancy()).remove_member(request).await.unwrap();
    socket.is_told_to_go("unauthorized", false).await;
    colleague.follow(&notifications()).await;
}

#[tokio::test]
async fn nothing_is_said_to_one_of_whom_it_is_not_known_whether_they_are_still_a_member() {
    let stage = Stage::set().await;
    let (user, account) = (&stage.team.user_a1, stage.team.account_id);
    let mut removed = stage.connect(user).await;
    removed.follow(&notifications()).await;
    let mut kept = stage.connect(&stage.team.user_a2).await;
    kept.follow(&notifications()).await;

    stage.sql("update tenancy.memberships set status = 'removed' where user_id = $1", user.user_id).await;
    let (_, told) = stage.notification(account, user);
    stage.publish([member_event(&stage, "member.removed", user), told]).await;
    removed.is_told_to_go("unauthorized", false).await;

    // One who is still there hears afterwards what happened meanwhile.
    let (id, told) = stage.notification(account, &stage.team.user_a2);
    stage.publish([member_event(&stage, "member.role_changed", &stage.team.user_a2), told]).await;
    assert_eq!(kept.hears(&notifications()).await["notification"]["id"], json!(id));
}

#[tokio::test]
async fn a_change_of_ones_place_asks_again_about_every_task() {
    let stage = Stage::set().await;
    let (manager, user) = (&stage.team.manager_a, &stage.team.user_a1);
    let (kept, lost) = (stage.tasks.seen_by(manager), stage.tasks.seen_by(manager));
    let mut socket = stage.connect(manager).await;
    socket.follow(&task_channel(kept)).await;
    socket.follow(&task_channel(lost)).await;
    // A report moves to another manager; the event is about the report.
    sqlx::query("update tenancy.memberships set manager_id = $2 where user_id = $1")
        .bind(user.user_id)
        .bind(stage.team.manager_b.user_id)
        .execute(&stage.world.admin())
        .await
        .unwrap();
    stage.tasks.hide(lost);
    stage.publish([member_event(&stage, "member.updated", user)]).await;
    let rejected = json!({"type": "reject_subscription", "identifier": task_channel(lost).to_string()});
    assert_eq!(socket.next().await, rejected);
    stage.publish([stage.task_event("task.started", lost, 1), stage.task_event("task.started", kept, 1)]).await;
    assert_eq!(socket.hears(&task_channel(kept)).await["event"], "task_started");
}

#[tokio::test]
async fn a_membership_that_ended_while_connecting_is_noticed_without_an_event() {
    let stage = Stage::set().await;
    let mut socket = stage.connect(&stage.team.user_a1).await;
    stage.sql("update tenancy.memberships set status = 'removed' where user_id = $1", stage.team.user_a1.user_id).await;
    socket.is_told_to_go("unauthorized", false).await;
}

#[tokio::test]
async fn signing_out_ends_the_connections_of_that_session_only() {
    let stage = Stage::set().await;
    let user = &stage.team.user_a1;
    let mut auth = AuthServiceClient::new(stage.world.auth());
    let login = LoginRequest { email: user.email.clone(), password: PASSWORD.to_owned() };
    let second = auth.login(login).await.unwrap().into_inner();
    let mut socket = stage.connect(user).await;
    let mut elsewhere = stage.connect(&Person { token: second.access_token.unwrap(), ..user.clone() }).await;
    auth.logout(LogoutRequest { refresh_token: user.refresh_token.clone() }).await.unwrap();
    socket.is_told_to_go("unauthorized", false).await;
    elsewhere.follow(&notifications()).await;
}

#[tokio::test]
async fn an_account_that_is_suspended_or_demands_a_second_factor_shuts_sockets_out() {
    for change in [
        "update tenancy.accounts set status = 'suspended', suspended_at = now() where id = $1",
        "update tenancy.accounts set require_second_factor = true where id = $1",
    ] {
        let stage = Stage::set().await;
        let (user, account) = (&stage.team.user_a1, stage.team.account_id);
        let mut open = stage.connect(user).await;
        open.follow(&notifications()).await;
        stage.sql(change, account).await;
        let (_, told) = stage.notification(account, user);
        stage.publish([Event::new("account.updated", account, account, &AccountEvent::default()), told]).await;
        // What follows the change is not shown before it is decided anew.
        open.is_told_to_go("unauthorized", false).await;
        let query = format!("?token={}&account_id={account}", user.token);
        stage.open(&query).await.is_told_to_go("unauthorized", false).await;
    }
}
