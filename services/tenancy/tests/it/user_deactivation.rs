//! A user who deactivates their sign-in leaves all accounts.

use baton_proto::baton::{
    auth::v1::{
        DeactivateRequest, LoginRequest, ReactivateRequest, auth_service_client::AuthServiceClient,
        user_service_client::UserServiceClient,
    },
    events::v1::Envelope,
    tenancy::v1::{CancelDeletionRequest, MemberEvent},
};
use baton_testkit::{PASSWORD, eventually};
use prost::Message;

use super::*;

async fn deactivate(context: &TestContext, person: &Person) {
    let request = DeactivateRequest { password: PASSWORD.to_owned() };
    UserServiceClient::new(context.auth()).deactivate(person.call_without_account(request)).await.unwrap();
}

/// Reactivates a person. Returns them with a new token.
async fn reactivate(context: &TestContext, person: &Person) -> Person {
    let login = || LoginRequest { email: person.email.clone(), password: PASSWORD.to_owned() };
    let mut auth = AuthServiceClient::new(context.auth());
    auth.login(login()).await.unwrap_err();
    let token = eventually(|| async {
        let mails = context.mailbox().mails(Some(&person.email));
        let text = mails
            .into_iter()
            .find_map(|mail| mail.text.split_once("/reactivate?token=").map(|(_, rest)| rest.to_owned()));
        text.and_then(|rest| rest.split_whitespace().next().map(str::to_owned))
    })
    .await;
    UserServiceClient::new(context.auth()).reactivate(ReactivateRequest { token }).await.unwrap();
    let token = auth.login(login()).await.unwrap().into_inner().access_token.unwrap();
    Person { token, ..person.clone() }
}

/// Waits until a membership has this role, status and manager.
async fn wait_for(context: &TestContext, account_id: Uuid, person: &Person, expected: (&str, &str, Option<&Person>)) {
    let (role, status, manager) = expected;
    let expected = (role.to_owned(), status.to_owned(), manager.map(|manager| manager.user_id));
    eventually(|| async {
        (stored_memberships(context, account_id, person.user_id).await == [expected.clone()]).then_some(())
    })
    .await;
}

/// Types and successors of the account's events, without those of the set-up.
async fn events_with_successor(context: &TestContext, account_id: Uuid) -> Vec<(String, String)> {
    let envelopes: Vec<Vec<u8>> =
        sqlx::query_scalar("select envelope from tenancy.outbox where account_id = $1 order by position")
            .bind(account_id)
            .fetch_all(&context.admin())
            .await
            .unwrap();
    let events = envelopes.iter().map(|bytes| Envelope::decode(&**bytes).unwrap());
    let events = events.filter(|event| !["account.created", "member.joined"].contains(&event.r#type.as_str()));
    let successor = |event: &Envelope| event.payload.clone().unwrap().to_msg::<MemberEvent>().map(|it| it.hand_over_to);
    events.map(|event| (event.r#type.clone(), successor(&event).unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_deactivated_user_leaves_all_accounts() {
    let context = test_context().await;
    let (team, other) = (context.team().await, context.team().await);
    context.join(other.account_id, &team.manager_a, baton_access::Role::User, Some(other.manager_b.user_id)).await;
    deactivate(&context, &team.manager_a).await;
    wait_for(&context, team.account_id, &team.manager_a, ("manager", "removed", Some(&team.super_manager))).await;
    wait_for(&context, other.account_id, &team.manager_a, ("user", "removed", Some(&other.manager_b))).await;
    wait_for(&context, team.account_id, &team.user_a1, ("user", "active", Some(&team.super_manager))).await;
    let removed = |successor: &Person| [("member.removed".to_owned(), successor.user_id.to_string())];
    assert_eq!(events_with_successor(&context, team.account_id).await, removed(&team.super_manager));
    assert_eq!(events_with_successor(&context, other.account_id).await, removed(&other.manager_b));

    // A reactivated user needs a new invitation, like everyone who left.
    let back = reactivate(&context, &team.manager_a).await;
    let request = baton_proto::baton::tenancy::v1::ListAccountsRequest::default();
    let accounts = accounts(&context).list_accounts(back.call_without_account(request)).await.unwrap().into_inner();
    assert!(accounts.accounts.is_empty());
    // A redelivered event changes nothing.
    sqlx::query("update auth.outbox set published_at = null, batch = null").execute(&context.admin()).await.unwrap();
    context.join(team.account_id, &back, baton_access::Role::User, Some(team.manager_b.user_id)).await;
    deactivate(&context, &team.user_b1).await;
    wait_for(&context, team.account_id, &team.user_b1, ("user", "removed", Some(&team.manager_b))).await;
    let now = stored_memberships(&context, team.account_id, back.user_id).await.pop().unwrap();
    assert_eq!(now, ("user".to_owned(), "active".to_owned(), Some(team.manager_b.user_id)));
}

#[tokio::test]
async fn ownership_passes_to_the_super_manager_with_the_longest_membership() {
    let context = test_context().await;
    let team = context.team().await;
    let (id, second) = (team.account_id, context.person("second").await);
    context.join(id, &second, baton_access::Role::SuperManager, Some(team.owner.user_id)).await;
    let direct = context.person("direct").await;
    context.join(id, &direct, baton_access::Role::User, Some(team.owner.user_id)).await;
    deactivate(&context, &team.owner).await;
    let successor = &team.super_manager;
    wait_for(&context, id, successor, ("owner", "active", None)).await;
    wait_for(&context, id, &team.owner, ("super_manager", "removed", Some(successor))).await;
    wait_for(&context, id, &second, ("super_manager", "active", Some(successor))).await;
    wait_for(&context, id, &direct, ("user", "active", Some(successor))).await;
    wait_for(&context, id, &team.manager_a, ("manager", "active", Some(successor))).await;
    let events = events_with_successor(&context, id).await;
    assert_eq!(events.last().unwrap(), &("member.removed".to_owned(), successor.user_id.to_string()));
    assert_eq!(events.iter().filter(|(kind, _)| kind == "member.role_changed").count(), 2);
}

#[tokio::test]
async fn another_owner_keeps_the_account() {
    let context = test_context().await;
    let team = context.team().await;
    let (id, second) = (team.account_id, context.person("second").await);
    context.join(id, &second, baton_access::Role::Owner, None).await;
    deactivate(&context, &team.owner).await;
    wait_for(&context, id, &team.owner, ("owner", "removed", None)).await;
    wait_for(&context, id, &second, ("owner", "active", None)).await;
    wait_for(&context, id, &team.super_manager, ("super_manager", "active", None)).await;
    assert_eq!(events_with_successor(&context, id).await, [("member.removed".to_owned(), second.user_id.to_string())]);
}

#[tokio::test]
async fn an_account_without_a_successor_is_scheduled_for_deletion_and_recoverable() {
    let context = test_context().await;
    let (owner, user) = (context.person("owner").await, context.person("user").await);
    let id = context.account(&owner).await;
    context.join(id, &user, baton_access::Role::Manager, Some(owner.user_id)).await;
    deactivate(&context, &owner).await;
    let status = async || -> (String, bool) {
        sqlx::query_as("select status, deletes_at > now() + interval '29 days' from tenancy.accounts where id = $1")
            .bind(id)
            .fetch_one(&context.admin())
            .await
            .unwrap_or_default()
    };
    eventually(|| async { (status().await == ("canceled".to_owned(), true)).then_some(()) }).await;
    wait_for(&context, id, &owner, ("owner", "active", None)).await;
    wait_for(&context, id, &user, ("manager", "active", Some(&owner))).await;
    assert_eq!(events_with_successor(&context, id).await, [("account.deletion_requested".to_owned(), String::new())]);

    let back = reactivate(&context, &owner).await;
    let cancel = CancelDeletionRequest { account_id: id.to_string() };
    accounts(&context).cancel_deletion(back.call(id, cancel)).await.unwrap();
    let now: String = sqlx::query_scalar("select status from tenancy.accounts where id = $1")
        .bind(id)
        .fetch_one(&context.admin())
        .await
        .unwrap();
    assert_eq!(now, "active");
}
