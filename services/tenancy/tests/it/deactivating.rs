//! People deactivate their sign-in, and the accounts go on without them.

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

async fn deactivate(world: &TestContext, person: &Person) {
    let request = DeactivateRequest { password: PASSWORD.to_owned() };
    UserServiceClient::new(world.auth()).deactivate(person.call_without_account(request)).await.unwrap();
}

/// The person again, once they have changed their mind.
async fn reactivate(world: &TestContext, person: &Person) -> Person {
    let login = || LoginRequest { email: person.email.clone(), password: PASSWORD.to_owned() };
    let mut auth = AuthServiceClient::new(world.auth());
    auth.login(login()).await.unwrap_err();
    let token = eventually(|| async {
        let mails = world.mailbox().mails(Some(&person.email));
        let text = mails
            .into_iter()
            .find_map(|mail| mail.text.split_once("/reactivate?token=").map(|(_, rest)| rest.to_owned()));
        text.and_then(|rest| rest.split_whitespace().next().map(str::to_owned))
    })
    .await;
    UserServiceClient::new(world.auth()).reactivate(ReactivateRequest { token }).await.unwrap();
    let token = auth.login(login()).await.unwrap().into_inner().access_token.unwrap();
    Person { token, ..person.clone() }
}

/// What became of a membership, once it is this: role, status, manager.
async fn becomes(world: &TestContext, account_id: Uuid, who: &Person, expected: (&str, &str, Option<&Person>)) {
    let (role, status, manager) = expected;
    let expected = (role.to_owned(), status.to_owned(), manager.map(|manager| manager.user_id));
    eventually(|| async { (stored(world, account_id, who.user_id).await == [expected.clone()]).then_some(()) }).await;
}

/// Types of the events of an account after its people joined, and who has the tasks.
async fn told(world: &TestContext, account_id: Uuid) -> Vec<(String, String)> {
    let envelopes: Vec<Vec<u8>> =
        sqlx::query_scalar("select envelope from tenancy.outbox where account_id = $1 order by position")
            .bind(account_id)
            .fetch_all(&world.admin())
            .await
            .unwrap();
    let events = envelopes.iter().map(|bytes| Envelope::decode(&**bytes).unwrap());
    let events = events.filter(|event| !["account.created", "member.joined"].contains(&event.r#type.as_str()));
    let heir = |event: &Envelope| event.payload.clone().unwrap().to_msg::<MemberEvent>().map(|it| it.hand_over_to);
    events.map(|event| (event.r#type.clone(), heir(&event).unwrap_or_default())).collect()
}

#[tokio::test]
async fn they_leave_all_their_accounts() {
    let world = world().await;
    let (team, other) = (world.team().await, world.team().await);
    world.join(other.account_id, &team.manager_a, baton_access::Role::User, Some(other.manager_b.user_id)).await;
    deactivate(&world, &team.manager_a).await;
    becomes(&world, team.account_id, &team.manager_a, ("manager", "removed", Some(&team.super_manager))).await;
    becomes(&world, other.account_id, &team.manager_a, ("user", "removed", Some(&other.manager_b))).await;
    becomes(&world, team.account_id, &team.user_a1, ("user", "active", Some(&team.super_manager))).await;
    let removed = |heir: &Person| [("member.removed".to_owned(), heir.user_id.to_string())];
    assert_eq!(told(&world, team.account_id).await, removed(&team.super_manager));
    assert_eq!(told(&world, other.account_id).await, removed(&other.manager_b));

    // Whoever changes their mind is invited anew, like everyone who left.
    let back = reactivate(&world, &team.manager_a).await;
    let request = baton_proto::baton::tenancy::v1::ListAccountsRequest::default();
    let accounts = accounts(&world).list_accounts(back.call_without_account(request)).await.unwrap().into_inner();
    assert!(accounts.accounts.is_empty());
    // The event comes once more, and finds nothing to do.
    sqlx::query("update auth.outbox set published_at = null, batch = null").execute(&world.admin()).await.unwrap();
    world.join(team.account_id, &back, baton_access::Role::User, Some(team.manager_b.user_id)).await;
    deactivate(&world, &team.user_b1).await;
    becomes(&world, team.account_id, &team.user_b1, ("user", "removed", Some(&team.manager_b))).await;
    let now = stored(&world, team.account_id, back.user_id).await.pop().unwrap();
    assert_eq!(now, ("user".to_owned(), "active".to_owned(), Some(team.manager_b.user_id)));
}

#[tokio::test]
async fn an_account_passes_to_the_super_manager_who_has_been_there_longest() {
    let world = world().await;
    let team = world.team().await;
    let (id, second) = (team.account_id, world.person("second").await);
    world.join(id, &second, baton_access::Role::SuperManager, Some(team.owner.user_id)).await;
    let direct = world.person("direct").await;
    world.join(id, &direct, baton_access::Role::User, Some(team.owner.user_id)).await;
    deactivate(&world, &team.owner).await;
    let heir = &team.super_manager;
    becomes(&world, id, heir, ("owner", "active", None)).await;
    becomes(&world, id, &team.owner, ("super_manager", "removed", Some(heir))).await;
    becomes(&world, id, &second, ("super_manager", "active", Some(heir))).await;
    becomes(&world, id, &direct, ("user", "active", Some(heir))).await;
    becomes(&world, id, &team.manager_a, ("manager", "active", Some(heir))).await;
    let events = told(&world, id).await;
    assert_eq!(events.last().unwrap(), &("member.removed".to_owned(), heir.user_id.to_string()));
    assert_eq!(events.iter().filter(|(kind, _)| kind == "member.role_changed").count(), 2);
}

#[tokio::test]
async fn of_two_owners_one_goes_and_the_other_stays() {
    let world = world().await;
    let team = world.team().await;
    let (id, second) = (team.account_id, world.person("second").await);
    world.join(id, &second, baton_access::Role::Owner, None).await;
    deactivate(&world, &team.owner).await;
    becomes(&world, id, &team.owner, ("owner", "removed", None)).await;
    becomes(&world, id, &second, ("owner", "active", None)).await;
    becomes(&world, id, &team.super_manager, ("super_manager", "active", None)).await;
    assert_eq!(told(&world, id).await, [("member.removed".to_owned(), second.user_id.to_string())]);
}

#[tokio::test]
async fn an_account_that_nobody_can_take_is_given_up_and_can_be_had_back() {
    let world = world().await;
    let (owner, user) = (world.person("owner").await, world.person("user").await);
    let id = world.account(&owner).await;
    world.join(id, &user, baton_access::Role::Manager, Some(owner.user_id)).await;
    deactivate(&world, &owner).await;
    let status = async || -> (String, bool) {
        sqlx::query_as("select status, deletes_at > now() + interval '29 days' from tenancy.accounts where id = $1")
            .bind(id)
            .fetch_one(&world.admin())
            .await
            .unwrap_or_default()
    };
    eventually(|| async { (status().await == ("canceled".to_owned(), true)).then_some(()) }).await;
    becomes(&world, id, &owner, ("owner", "active", None)).await;
    becomes(&world, id, &user, ("manager", "active", Some(&owner))).await;
    assert_eq!(told(&world, id).await, [("account.deletion_requested".to_owned(), String::new())]);

    let back = reactivate(&world, &owner).await;
    let keep = CancelDeletionRequest { account_id: id.to_string() };
    accounts(&world).cancel_deletion(back.call(id, keep)).await.unwrap();
    let now: String = sqlx::query_scalar("select status from tenancy.accounts where id = $1")
        .bind(id)
        .fetch_one(&world.admin())
        .await
        .unwrap();
    assert_eq!(now, "active");
}
