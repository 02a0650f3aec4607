use baton_access::MailedTokens;
use baton_proto::baton::tenancy::v1::{AcceptInvitationRequest, MemberStatus, RemoveMemberRequest};
use baton_runtime::Secret;
use futures_util::future::join_all;

use super::*;

fn token(world: &TestContext, invited: &Member) -> String {
    let ids = [invited.account_id.parse().unwrap(), invited.id.parse().unwrap()];
    world.invitation_tokens().issue("invitation", ids)
}

async fn accept(world: &TestContext, who: &Person, token: String) -> Result<Response<Member>, Status> {
    let answer = members(world).accept_invitation(who.call_without_account(AcceptInvitationRequest { token })).await?;
    Ok(Response::new(answer.into_inner().member.unwrap()))
}

async fn remove(world: &TestContext, by: &Person, account_id: Uuid, who: &Person) {
    let request = RemoveMemberRequest {
        account_id: account_id.to_string(),
        user_id: who.user_id.to_string(),
        hand_over_to: None,
    };
    members(world).remove_member(by.call(account_id, request)).await.unwrap();
}

#[tokio::test]
async fn only_the_invited_address_may_accept() {
    let world = world().await;
    let team = world.team().await;
    let (bob, eve) = (world.person("bob").await, world.person("eve").await);
    // The address counts however it is written.
    let upper = invitation(team.account_id, &bob.email.to_uppercase(), Role::User, None);
    let invited = invite(&world, &team.owner, upper).await.unwrap();
    assert_eq!(refusal(accept(&world, &eve, token(&world, &invited)).await), Reason::InvitationForAnother);
    assert!(stored(&world, team.account_id, eve.user_id).await.is_empty());
    let joined = accept(&world, &bob, token(&world, &invited)).await.unwrap().into_inner();
    assert_eq!(joined.status(), MemberStatus::Active);
    // And nobody after them.
    assert_eq!(refusal(accept(&world, &eve, token(&world, &invited)).await), Reason::LinkInvalid);
}

#[tokio::test]
async fn a_token_that_we_did_not_make_opens_nothing() {
    let world = world().await;
    let team = world.team().await;
    let bob = world.person("bob").await;
    let invited =
        invite(&world, &team.owner, invitation(team.account_id, &bob.email, Role::Owner, None)).await.unwrap();
    let ids = [team.account_id, invited.id.parse().unwrap()];
    let good = token(&world, &invited);
    let other_key = MailedTokens::new(&Secret::new("MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=")).unwrap();
    for bad in [
        "nonsense".to_owned(),
        good[..good.len() - 2].to_owned(),
        good.to_uppercase(),
        other_key.issue("invitation", ids),
        world.invitation_tokens().issue("activation", ids),
        world.invitation_tokens().issue("invitation", [team.account_id, Uuid::now_v7()]),
        world.invitation_tokens().issue("invitation", [Uuid::now_v7(), invited.id.parse().unwrap()]),
    ] {
        assert_eq!(refusal(accept(&world, &bob, bad.clone()).await), Reason::LinkInvalid, "{bad}");
    }
    assert_eq!(refusal(accept(&world, &bob, String::new()).await), Reason::ValidationFailed);
    assert!(stored(&world, team.account_id, bob.user_id).await.is_empty());
}

#[tokio::test]
async fn accepting_again_and_at_once_joins_once() {
    let world = world().await;
    let team = world.team().await;
    let bob = world.person("bob").await;
    let invited = invite(&world, &team.owner, invitation(team.account_id, &bob.email, Role::User, None)).await.unwrap();
    let answers = join_all((0..20).map(|_| accept(&world, &bob, token(&world, &invited)))).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().into_inner()).collect();
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    let joined = "select count(*) from tenancy.outbox where encode(envelope, 'escape') like '%member.joined%'";
    // The owner's own, and one for Bob; the rest of the team was put there without ceremony.
    assert_eq!(count(&world, joined).await, 2);
}

#[tokio::test]
async fn who_was_removed_needs_a_new_invitation() {
    let world = world().await;
    let team = world.team().await;
    let bob = world.person("bob").await;
    let request = || invitation(team.account_id, &bob.email, Role::User, None);
    let first = invite(&world, &team.owner, request()).await.unwrap();
    accept(&world, &bob, token(&world, &first)).await.unwrap();
    remove(&world, &team.owner, team.account_id, &bob).await;
    assert_eq!(refusal(accept(&world, &bob, token(&world, &first)).await), Reason::LinkInvalid);

    let second = invite(&world, &team.owner, request()).await.unwrap();
    assert_ne!(first.id, second.id);
    accept(&world, &bob, token(&world, &second)).await.unwrap();
    let statuses: Vec<_> =
        stored(&world, team.account_id, bob.user_id).await.into_iter().map(|(_, status, _)| status).collect();
    assert_eq!(statuses, ["removed", "active"]);
}

#[tokio::test]
async fn a_manager_who_went_meanwhile_is_not_joined_under() {
    let world = world().await;
    let team = world.team().await;
    let people = [world.person("bob").await, world.person("cy").await, world.person("di").await];
    let managers = [&team.manager_a, &team.manager_b, &team.super_manager];
    let mut tokens = Vec::new();
    for (person, manager) in people.iter().zip(managers) {
        let request = invitation(team.account_id, &person.email, Role::User, Some(manager));
        tokens.push(token(&world, &invite(&world, &team.owner, request).await.unwrap()));
    }
    // One manager is removed: who was invited under them moves up with the others.
    remove(&world, &team.owner, team.account_id, &team.manager_a).await;
    // One is a user now, and no longer leads anyone.
    let free = new_manager(team.account_id, &team.user_b1, Some(&team.super_manager));
    members(&world).update_member(team.owner.call(team.account_id, free)).await.unwrap();
    let demote = new_role(team.account_id, &team.manager_b, Role::User);
    members(&world).update_member(team.owner.call(team.account_id, demote)).await.unwrap();

    let up = Some(team.super_manager.user_id.to_string());
    for ((person, token), expected) in people.iter().zip(tokens).zip([up.clone(), None, up]) {
        assert_eq!(accept(&world, person, token).await.unwrap().into_inner().manager_id, expected);
    }
}

#[tokio::test]
async fn a_member_cannot_join_twice() {
    let world = world().await;
    let team = world.team().await;
    // Invited under an address that has since become that of a member: the index decides.
    let invited =
        invite(&world, &team.owner, invitation(team.account_id, "old@example.org", Role::User, None)).await.unwrap();
    sqlx::query("update tenancy.memberships set email_key = 'moved', email = $1 where id = $2::uuid")
        .bind(&team.user_a1.email)
        .bind(&invited.id)
        .execute(&world.admin())
        .await
        .unwrap();
    assert_eq!(refusal(accept(&world, &team.user_a1, token(&world, &invited)).await), Reason::MemberExists);
}
