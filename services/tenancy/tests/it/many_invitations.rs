use baton_proto::baton::tenancy::v1::{
    AcceptInvitationRequest, Invitation, InvitationResult, InviteMembersRequest, LeaveAccountRequest,
    ResendInvitationRequest, RevokeInvitationRequest,
};
use baton_testkit::{Team, eventually};

use tonic_types::StatusExt;

use super::*;

fn to(email: &str, role: Role, manager: Option<&Person>) -> Invitation {
    let manager_id = manager.map(|manager| manager.user_id.to_string());
    Invitation { email: email.to_owned(), role: role.into(), manager_id }
}

async fn invite_all(
    world: &TestContext,
    by: &Person,
    account_id: Uuid,
    invitations: Vec<Invitation>,
) -> Result<Response<Vec<InvitationResult>>, Status> {
    let request = InviteMembersRequest { account_id: account_id.to_string(), invitations };
    let answer = members(world).invite_members(by.call(account_id, request)).await?;
    Ok(Response::new(answer.into_inner().results))
}

async fn resend(world: &TestContext, by: &Person, team: &Team, id: &str) -> Result<Response<Member>, Status> {
    let request = ResendInvitationRequest { account_id: team.account_id.to_string(), invitation_id: id.to_owned() };
    let answer = members(world).resend_invitation(by.call(team.account_id, request)).await?;
    Ok(Response::new(answer.into_inner().member.unwrap()))
}

async fn revoke(world: &TestContext, by: &Person, team: &Team, id: &str) -> Result<Response<()>, Status> {
    let request = RevokeInvitationRequest { account_id: team.account_id.to_string(), invitation_id: id.to_owned() };
    members(world).revoke_invitation(by.call(team.account_id, request)).await.map(|_| Response::new(()))
}

async fn accept(world: &TestContext, who: &Person, team: &Team, id: &str) -> Result<Response<Member>, Status> {
    let token = world.invitation_tokens().issue("invitation", [team.account_id, id.parse().unwrap()]);
    let request = who.call_without_account(AcceptInvitationRequest { token });
    Ok(Response::new(members(world).accept_invitation(request).await?.into_inner().member.unwrap()))
}

async fn age(world: &TestContext, id: &str, by: &str) {
    sqlx::query("update tenancy.memberships set invited_at = now() - $2::interval where id = $1")
        .bind(id.parse::<Uuid>().unwrap())
        .bind(by)
        .execute(&world.admin())
        .await
        .unwrap();
}

#[tokio::test]
async fn many_are_invited_at_once_with_an_answer_each() {
    let world = world().await;
    let team = world.team().await;
    let registered = world.person("registered").await;
    let mut invitations: Vec<_> =
        (0..97).map(|n| to(&format!("p{n}@example.org"), Role::User, Some(&team.manager_a))).collect();
    invitations.push(to(&registered.email, Role::Manager, None));
    invitations.push(to(&team.user_a1.email.to_uppercase(), Role::User, None));
    invitations.push(to("P200@example.org", Role::User, None));
    let results = invite_all(&world, &team.owner, team.account_id, invitations.clone()).await.unwrap().into_inner();
    let emails = |results: &[InvitationResult]| results.iter().map(|result| result.email.clone()).collect::<Vec<_>>();
    assert_eq!(emails(&results), invitations.iter().map(|one| one.email.clone()).collect::<Vec<_>>());
    let refused: Vec<_> = results.iter().filter(|result| result.member.is_none()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].email.clone(), refused[0].reason()), (team.user_a1.email.to_uppercase(), "MEMBER_EXISTS"));
    // Who is registered is told from who is not by nothing (OWASP ASVS 5.0, 6.3.8).
    let shape = |email: &str| {
        let mut result = results.iter().find(|result| result.email == email).unwrap().clone();
        let member = result.member.as_mut().unwrap();
        member.id.clear();
        member.email.clear();
        member.role = 0;
        member.manager_id = None;
        result.email.clear();
        result
    };
    assert_eq!(shape(&registered.email), shape("p1@example.org"));
    eventually(|| async { (world.mailbox().mails(None).len() == 99).then_some(()) }).await;
    // A job is gone a moment after its mail has come.
    eventually(|| async { (count(&world, "select count(*) from tenancy.jobs").await == 0).then_some(()) }).await;

    // The same again: everyone is invited already, and nobody is mailed.
    let again = invite_all(&world, &team.owner, team.account_id, invitations).await.unwrap().into_inner();
    assert!(again.iter().all(|result| result.reason() == "MEMBER_EXISTS" && result.member.is_none()));
    assert_eq!(count(&world, "select count(*) from tenancy.memberships where status = 'invited'").await, 99);
    assert_eq!(count(&world, "select count(*) from tenancy.jobs").await, 0);
}

#[tokio::test]
async fn an_unfit_invitation_among_many_invites_nobody() {
    let world = world().await;
    let (team, other) = (world.team().await, world.team().await);
    let good = || to("good@example.org", Role::User, None);
    for (bad, expected) in [
        (to("bad@example.org", Role::Owner, None), Reason::RoleNotGrantable),
        (to("bad@example.org", Role::Manager, Some(&team.manager_a)), Reason::ManagerInvalid),
        (to("bad@example.org", Role::User, Some(&other.manager_a)), Reason::ManagerInvalid),
        (to("GOOD@example.org", Role::User, None), Reason::ValidationFailed),
        (to("no address", Role::User, None), Reason::ValidationFailed),
        (to("bad@example.org", Role::Unspecified, None), Reason::ValidationFailed),
    ] {
        let refused = invite_all(&world, &team.super_manager, team.account_id, vec![good(), bad.clone()]).await;
        assert_eq!(refusal(refused), expected, "{bad:?}");
    }
    for (person, number) in [(&team.owner, 0), (&team.owner, 101)] {
        let many = (0..number).map(|n| to(&format!("p{n}@example.org"), Role::User, None)).collect();
        assert_eq!(refusal(invite_all(&world, person, team.account_id, many).await), Reason::ValidationFailed);
    }
    let refused = invite_all(&world, &team.manager_a, team.account_id, vec![good()]).await;
    assert_eq!(refusal(refused), Reason::PermissionMissing);
    assert_eq!(count(&world, "select count(*) from tenancy.memberships where status = 'invited'").await, 0);
    assert_eq!(count(&world, "select count(*) from tenancy.jobs").await, 0);
}

#[tokio::test]
async fn an_invitation_is_mailed_again_but_not_at_once() {
    let world = world().await;
    let (team, other) = (world.team().await, world.team().await);
    let bob = world.person("bob").await;
    let invited = invite(&world, &team.owner, invitation(team.account_id, &bob.email, Role::Owner, None)).await;
    let id = invited.unwrap().id;
    let mails = async |number: usize| {
        eventually(|| async { (world.mailbox().mails(Some(&bob.email)).len() == number).then_some(()) }).await;
    };
    mails(1).await;
    // A flood of them is one mail.
    for _ in 0..3 {
        assert_eq!(resend(&world, &team.owner, &team, &id).await.unwrap().into_inner().version, 1);
    }
    age(&world, &id, "13 days").await;
    assert_eq!(refusal(resend(&world, &team.super_manager, &team, &id).await), Reason::RoleNotGrantable);
    assert_eq!(refusal(resend(&world, &team.manager_a, &team, &id).await), Reason::PermissionMissing);
    assert_eq!(refusal(resend(&world, &other.owner, &other, &id).await), Reason::InvitationNotFound);
    assert_eq!(resend(&world, &team.owner, &team, &id).await.unwrap().into_inner().version, 2);
    mails(2).await;
    // It counts from then on.
    age(&world, &id, "13 days").await;
    accept(&world, &bob, &team, &id).await.unwrap();
    assert_eq!(refusal(resend(&world, &team.owner, &team, &id).await), Reason::InvitationNotFound);
}

#[tokio::test]
async fn taking_an_invitation_back_mails_nobody_sooner() {
    let world = world().await;
    let (team, other) = (world.team().await, world.team().await);
    let (bob, account_id) = (world.person("bob").await, team.account_id);
    let open = async |email: &str| invite(&world, &team.owner, invitation(account_id, email, Role::User, None)).await;
    let first = open(&bob.email).await.unwrap().id;
    revoke(&world, &team.owner, &team, &first).await.unwrap();
    for email in [bob.email.clone(), bob.email.to_uppercase()] {
        let refused = open(&email).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::TooManyAttempts), "{refused:?}");
        let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap().as_secs();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // Of many, the others are invited.
    let many = vec![to("cy@example.org", Role::User, None), to(&bob.email, Role::User, None)];
    let results = invite_all(&world, &team.owner, account_id, many).await.unwrap().into_inner();
    assert!(results[0].member.is_some(), "{results:?}");
    assert_eq!((results[1].member.as_ref(), results[1].reason()), (None, "TOO_MANY_ATTEMPTS"));
    assert_eq!(count(&world, "select count(*) from tenancy.memberships where status = 'invited'").await, 1);
    // Another account knows nothing of it.
    invite(&world, &other.owner, invitation(other.account_id, &bob.email, Role::User, None)).await.unwrap();

    // A minute later it is as before; and who joined and left may come back at once.
    age(&world, &first, "61 seconds").await;
    let second = open(&bob.email).await.unwrap().id;
    accept(&world, &bob, &team, &second).await.unwrap();
    let request = LeaveAccountRequest { account_id: account_id.to_string(), hand_over_to: None };
    members(&world).leave_account(bob.call(account_id, request)).await.unwrap();
    let third = open(&bob.email).await.unwrap().id;
    accept(&world, &bob, &team, &third).await.unwrap();
}

#[tokio::test]
async fn a_revoked_or_expired_invitation_lets_nobody_in() {
    let world = world().await;
    let (team, other) = (world.team().await, world.team().await);
    let (bob, eve) = (world.person("bob").await, world.person("eve").await);
    let open = async |email: &str| {
        invite(&world, &team.owner, invitation(team.account_id, email, Role::User, None)).await.unwrap().id
    };
    let id = open(&bob.email).await;
    assert_eq!(refusal(revoke(&world, &other.owner, &other, &id).await), Reason::InvitationNotFound);
    assert_eq!(refusal(revoke(&world, &team.user_a1, &team, &id).await), Reason::PermissionMissing);
    revoke(&world, &team.super_manager, &team, &id).await.unwrap();
    assert_eq!(refusal(revoke(&world, &team.super_manager, &team, &id).await), Reason::InvitationNotFound);
    assert_eq!(refusal(accept(&world, &bob, &team, &id).await), Reason::LinkInvalid);
    // A member is no invitation.
    let member: Uuid = sqlx::query_scalar("select id from tenancy.memberships where user_id = $1")
        .bind(team.user_a1.user_id)
        .fetch_one(&world.admin())
        .await
        .unwrap();
    let refused = revoke(&world, &team.owner, &team, &member.to_string()).await;
    assert_eq!(refusal(refused), Reason::InvitationNotFound);

    // Two weeks on, the other one ends by itself, and its link with it.
    let id = open(&eve.email).await;
    age(&world, &id, "14 days").await;
    assert_eq!(refusal(accept(&world, &eve, &team, &id).await), Reason::LinkInvalid);
    eventually(|| async {
        let open = "select count(*) from tenancy.memberships where status = 'invited'";
        (count(&world, open).await == 0).then_some(())
    })
    .await;
    let id = open(&eve.email).await;
    accept(&world, &eve, &team, &id).await.unwrap();
}
