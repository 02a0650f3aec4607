use baton_access::MailedTokens;
use baton_proto::baton::tenancy::v1::{AcceptInvitationRequest, MemberStatus, RemoveMemberRequest};
use baton_runtime::Secret;
use futures_util::future::join_all;

use super::*;

fn token(context: &TestContext, invited: &Member) -> String {
    let ids = [invited.account_id.parse().unwrap(), invited.id.parse().unwrap()];
    context.invitation_tokens().issue("invitation", ids)
}

async fn accept(context: &TestContext, person: &Person, token: String) -> Result<Response<Member>, Status> {
    let response =
        members(context).accept_invitation(person.call_without_account(AcceptInvitationRequest { token })).await?;
    Ok(Response::new(response.into_inner().member.unwrap()))
}

async fn remove(context: &TestContext, by: &Person, account_id: Uuid, person: &Person) {
    let request = RemoveMemberRequest {
        account_id: account_id.to_string(),
        user_id: person.user_id.to_string(),
        hand_over_to: None,
    };
    members(context).remove_member(by.call(account_id, request)).await.unwrap();
}

#[tokio::test]
async fn only_the_invited_address_can_accept() {
    let context = test_context().await;
    let team = context.team().await;
    let (bob, eve) = (context.person("bob").await, context.person("eve").await);
    // Addresses are compared case-insensitively.
    let upper = invitation(team.account_id, &bob.email.to_uppercase(), Role::User, None);
    let invited = invite(&context, &team.owner, upper).await.unwrap();
    assert_eq!(refusal(accept(&context, &eve, token(&context, &invited)).await), Reason::InvitationForAnother);
    assert!(stored_memberships(&context, team.account_id, eve.user_id).await.is_empty());
    let joined = accept(&context, &bob, token(&context, &invited)).await.unwrap().into_inner();
    assert_eq!(joined.status(), MemberStatus::Active);
    // Nobody else can accept afterwards.
    assert_eq!(refusal(accept(&context, &eve, token(&context, &invited)).await), Reason::LinkInvalid);
}

#[tokio::test]
async fn a_forged_token_is_refused() {
    let context = test_context().await;
    let team = context.team().await;
    let bob = context.person("bob").await;
    let invited =
        invite(&context, &team.owner, invitation(team.account_id, &bob.email, Role::Owner, None)).await.unwrap();
    let ids = [team.account_id, invited.id.parse().unwrap()];
    let good = token(&context, &invited);
    let other_key = MailedTokens::new(&Secret::new("MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=")).unwrap();
    for bad in [
        "nonsense".to_owned(),
        good[..good.len() - 2].to_owned(),
        good.to_uppercase(),
        other_key.issue("invitation", ids),
        context.invitation_tokens().issue("activation", ids),
        context.invitation_tokens().issue("invitation", [team.account_id, Uuid::now_v7()]),
        context.invitation_tokens().issue("invitation", [Uuid::now_v7(), invited.id.parse().unwrap()]),
    ] {
        assert_eq!(refusal(accept(&context, &bob, bad.clone()).await), Reason::LinkInvalid, "{bad}");
    }
    assert_eq!(refusal(accept(&context, &bob, String::new()).await), Reason::ValidationFailed);
    assert!(stored_memberships(&context, team.account_id, bob.user_id).await.is_empty());
}

#[tokio::test]
async fn repeated_and_concurrent_acceptance_joins_once() {
    let context = test_context().await;
    let team = context.team().await;
    let bob = context.person("bob").await;
    let invited =
        invite(&context, &team.owner, invitation(team.account_id, &bob.email, Role::User, None)).await.unwrap();
    let responses = join_all((0..20).map(|_| accept(&context, &bob, token(&context, &invited)))).await;
    let responses: Vec<_> = responses.into_iter().map(|response| response.unwrap().into_inner()).collect();
    assert!(responses.iter().all(|response| response == &responses[0]), "{responses:?}");
    let joined = "select count(*) from tenancy.outbox where encode(envelope, 'escape') like '%member.joined%'";
    // One for the owner and one for Bob: the fixture inserts the other members without events.
    assert_eq!(count(&context, joined).await, 2);
}

#[tokio::test]
async fn a_removed_member_needs_a_new_invitation() {
    let context = test_context().await;
    let team = context.team().await;
    let bob = context.person("bob").await;
    let request = || invitation(team.account_id, &bob.email, Role::User, None);
    let first = invite(&context, &team.owner, request()).await.unwrap();
    accept(&context, &bob, token(&context, &first)).await.unwrap();
    remove(&context, &team.owner, team.account_id, &bob).await;
    assert_eq!(refusal(accept(&context, &bob, token(&context, &first)).await), Reason::LinkInvalid);

    let second = invite(&context, &team.owner, request()).await.unwrap();
    assert_ne!(first.id, second.id);
    accept(&context, &bob, token(&context, &second)).await.unwrap();
    let statuses: Vec<_> = stored_memberships(&context, team.account_id, bob.user_id)
        .await
        .into_iter()
        .map(|(_, status, _)| status)
        .collect();
    assert_eq!(statuses, ["removed", "active"]);
}

#[tokio::test]
async fn a_manager_who_is_gone_is_dropped_at_acceptance() {
    let context = test_context().await;
    let team = context.team().await;
    let people = [context.person("bob").await, context.person("cy").await, context.person("di").await];
    let managers = [&team.manager_a, &team.manager_b, &team.super_manager];
    let mut tokens = Vec::new();
    for (person, manager) in people.iter().zip(managers) {
        let request = invitation(team.account_id, &person.email, Role::User, Some(manager));
        tokens.push(token(&context, &invite(&context, &team.owner, request).await.unwrap()));
    }
    // One manager is removed: their invitee moves up like their reports.
    remove(&context, &team.owner, team.account_id, &team.manager_a).await;
    // One is demoted to user, and can no longer manage anyone.
    let free = new_manager(team.account_id, &team.user_b1, Some(&team.super_manager));
    members(&context).update_member(team.owner.call(team.account_id, free)).await.unwrap();
    let demote = new_role(team.account_id, &team.manager_b, Role::User);
    members(&context).update_member(team.owner.call(team.account_id, demote)).await.unwrap();

    let up = Some(team.super_manager.user_id.to_string());
    for ((person, token), expected) in people.iter().zip(tokens).zip([up.clone(), None, up]) {
        assert_eq!(accept(&context, person, token).await.unwrap().into_inner().manager_id, expected);
    }
}

#[tokio::test]
async fn a_member_cannot_join_twice() {
    let context = test_context().await;
    let team = context.team().await;
    // The invited address has become that of a member since: a unique index refuses.
    let invited =
        invite(&context, &team.owner, invitation(team.account_id, "old@example.org", Role::User, None)).await.unwrap();
    sqlx::query("update tenancy.memberships set email_key = 'moved', email = $1 where id = $2::uuid")
        .bind(&team.user_a1.email)
        .bind(&invited.id)
        .execute(&context.admin())
        .await
        .unwrap();
    assert_eq!(refusal(accept(&context, &team.user_a1, token(&context, &invited)).await), Reason::MemberExists);
}
