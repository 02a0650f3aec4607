//! Ended memberships and sessions end the connection; changed memberships are detected.

use baton_proto::baton::{
    auth::v1::{LoginRequest, LogoutRequest, auth_service_client::AuthServiceClient},
    tenancy::v1::{AccountEvent, MemberEvent, RemoveMemberRequest, member_service_client::MemberServiceClient},
};
use baton_store::Event;
use baton_testkit::{PASSWORD, Person, event};
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{Fixture, notification_identifier, task_identifier};

fn member_event(fixture: &Fixture, kind: &'static str, person: &Person) -> Event {
    let payload = MemberEvent { user_id: person.user_id.to_string(), ..MemberEvent::default() };
    event(kind, fixture.team.account_id, Uuid::now_v7(), &payload)
}

#[tokio::test]
async fn a_removed_member_is_disconnected() {
    let fixture = Fixture::start().await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    let mut socket = fixture.connect(user).await;
    let mut other_socket = fixture.connect(&fixture.team.user_a2).await;
    let remove =
        RemoveMemberRequest { account_id: account.to_string(), user_id: user.user_id.to_string(), hand_over_to: None };
    let request = fixture.team.owner.call(account, remove);
    MemberServiceClient::new(fixture.context.tenancy()).remove_member(request).await.unwrap();
    socket.expect_disconnect("unauthorized", false).await;
    other_socket.subscribe(&notification_identifier()).await;
}

#[tokio::test]
async fn events_are_held_while_the_membership_is_checked() {
    let fixture = Fixture::start().await;
    let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
    let mut removed = fixture.connect(user).await;
    removed.subscribe(&notification_identifier()).await;
    let mut kept = fixture.connect(&fixture.team.user_a2).await;
    kept.subscribe(&notification_identifier()).await;

    fixture.sql("update tenancy.memberships set status = 'removed' where user_id = $1", user.user_id).await;
    let (_, notification) = fixture.notification(account, user);
    fixture.publish([member_event(&fixture, "member.removed", user), notification]).await;
    removed.expect_disconnect("unauthorized", false).await;

    // A remaining member then receives the held events.
    let (id, notification) = fixture.notification(account, &fixture.team.user_a2);
    fixture.publish([member_event(&fixture, "member.role_changed", &fixture.team.user_a2), notification]).await;
    assert_eq!(kept.next_message(&notification_identifier()).await["notification"]["id"], json!(id));
}

#[tokio::test]
async fn a_changed_membership_checks_every_subscription() {
    let fixture = Fixture::start().await;
    let (manager, user) = (&fixture.team.manager_a, &fixture.team.user_a1);
    let (kept, lost) = (fixture.task_service.create_visible_to(manager), fixture.task_service.create_visible_to(user));
    // The service shows a task to its creator only; its events say that their manager sees it, too.
    fixture.publish([fixture.task_event("task.started", lost, 1)]).await;
    let mut socket = fixture.connect(manager).await;
    socket.subscribe(&task_identifier(kept)).await;
    socket.subscribe(&task_identifier(lost)).await;
    // A report moves to another manager; the event names the report.
    sqlx::query("update tenancy.memberships set manager_id = $2 where user_id = $1")
        .bind(user.user_id)
        .bind(fixture.team.manager_b.user_id)
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    fixture.publish([member_event(&fixture, "member.updated", user)]).await;
    let rejected = json!({"type": "reject_subscription", "identifier": task_identifier(lost).to_string()});
    assert_eq!(socket.receive().await, rejected);
    fixture.publish([fixture.task_event("task.started", lost, 1), fixture.task_event("task.started", kept, 1)]).await;
    assert_eq!(socket.next_message(&task_identifier(kept)).await["event"], "task_started");
}

#[tokio::test]
async fn a_membership_that_ended_while_connecting_is_detected() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let mut first = fixture.connect(user).await;
    fixture.sql("update tenancy.memberships set status = 'removed' where user_id = $1", user.user_id).await;
    fixture.publish([member_event(&fixture, "member.removed", user)]).await;
    first.expect_disconnect("unauthorized", false).await;
    // The membership is remembered for a second: it admits the socket, and the hierarchy ends it.
    fixture.connect_unauthorized(&format!("?token={}&account_id={}", user.token, fixture.team.account_id)).await;
}

#[tokio::test]
async fn signing_out_ends_the_connections_of_that_session_only() {
    let fixture = Fixture::start().await;
    let user = &fixture.team.user_a1;
    let mut auth = AuthServiceClient::new(fixture.context.auth());
    let login = LoginRequest { email: user.email.clone(), password: PASSWORD.to_owned() };
    let second = auth.login(login).await.unwrap().into_inner();
    let mut socket = fixture.connect(user).await;
    let mut elsewhere = fixture.connect(&Person { token: second.access_token.unwrap(), ..user.clone() }).await;
    auth.logout(LogoutRequest { refresh_token: user.refresh_token.clone() }).await.unwrap();
    socket.expect_disconnect("unauthorized", false).await;
    elsewhere.subscribe(&notification_identifier()).await;
}

#[tokio::test]
async fn suspension_and_a_required_second_factor_disconnect_sockets() {
    for change in [
        "update tenancy.accounts set status = 'suspended', suspended_at = now() where id = $1",
        "update tenancy.accounts set require_second_factor = true where id = $1",
    ] {
        let fixture = Fixture::start().await;
        let (user, account) = (&fixture.team.user_a1, fixture.team.account_id);
        let mut open = fixture.connect(user).await;
        open.subscribe(&notification_identifier()).await;
        fixture.sql(change, account).await;
        let (_, notification) = fixture.notification(account, user);
        fixture.publish([event("account.updated", account, account, &AccountEvent::default()), notification]).await;
        // Events after the change are held until access is checked again.
        open.expect_disconnect("unauthorized", false).await;
        let query = format!("?token={}&account_id={account}", user.token);
        fixture.connect_unauthorized(&query).await;
    }
}
