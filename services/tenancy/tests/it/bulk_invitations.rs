use baton_proto::baton::tenancy::v1::{
    AcceptInvitationRequest, Invitation, InvitationResult, InviteMembersRequest, LeaveAccountRequest,
    ResendInvitationRequest, RevokeInvitationRequest,
};
use baton_testkit::{Team, eventually};

use tonic_types::StatusExt;

use super::*;

fn new_invitation(email: &str, role: Role, manager: Option<&Person>) -> Invitation {
    let manager_id = manager.map(|manager| manager.user_id.to_string());
    Invitation { email: email.to_owned(), role: role.into(), manager_id }
}

async fn invite_all(
    context: &TestContext,
    by: &Person,
    account_id: Uuid,
    invitations: Vec<Invitation>,
) -> Result<Response<Vec<InvitationResult>>, Status> {
    let request = InviteMembersRequest { account_id: account_id.to_string(), invitations };
    let response = members(context).invite_members(by.call(account_id, request)).await?;
    Ok(Response::new(response.into_inner().results))
}

async fn resend(context: &TestContext, by: &Person, team: &Team, id: &str) -> Result<Response<Member>, Status> {
    let request = ResendInvitationRequest { account_id: team.account_id.to_string(), invitation_id: id.to_owned() };
    let response = members(context).resend_invitation(by.call(team.account_id, request)).await?;
    Ok(Response::new(response.into_inner().member.unwrap()))
}

async fn revoke(context: &TestContext, by: &Person, team: &Team, id: &str) -> Result<Response<()>, Status> {
    let request = RevokeInvitationRequest { account_id: team.account_id.to_string(), invitation_id: id.to_owned() };
    members(context).revoke_invitation(by.call(team.account_id, request)).await.map(|_| Response::new(()))
}

async fn accept(context: &TestContext, person: &Person, team: &Team, id: &str) -> Result<Response<Member>, Status> {
    let token = context.invitation_tokens().issue("invitation", [team.account_id, id.parse().unwrap()]);
    let request = person.call_without_account(AcceptInvitationRequest { token });
    Ok(Response::new(members(context).accept_invitation(request).await?.into_inner().member.unwrap()))
}

/// Backdates an invitation.
async fn backdate(context: &TestContext, id: &str, by: &str) {
    sqlx::query("update tenancy.memberships set invited_at = now() - $2::interval where id = $1")
        .bind(id.parse::<Uuid>().unwrap())
        .bind(by)
        .execute(&context.admin())
        .await
        .unwrap();
}

#[tokio::test]
async fn each_bulk_invitation_has_its_own_result() {
    let context = test_context().await;
    let team = context.team().await;
    let registered = context.person("registered").await;
    let mut invitations: Vec<_> =
        (0..97).map(|n| new_invitation(&format!("p{n}@example.org"), Role::User, Some(&team.manager_a))).collect();
    invitations.push(new_invitation(&registered.email, Role::Manager, None));
    invitations.push(new_invitation(&team.user_a1.email.to_uppercase(), Role::User, None));
    invitations.push(new_invitation("P200@example.org", Role::User, None));
    let results = invite_all(&context, &team.owner, team.account_id, invitations.clone()).await.unwrap().into_inner();
    let emails = |results: &[InvitationResult]| results.iter().map(|result| result.email.clone()).collect::<Vec<_>>();
    assert_eq!(emails(&results), invitations.iter().map(|one| one.email.clone()).collect::<Vec<_>>());
    let refused: Vec<_> = results.iter().filter(|result| result.member.is_none()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].email.clone(), refused[0].reason()), (team.user_a1.email.to_uppercase(), "MEMBER_EXISTS"));
    // Results do not reveal whether an address is registered (OWASP ASVS 5.0, 6.3.8).
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
    eventually(|| async { (context.mailbox().mails(None).len() == 99).then_some(()) }).await;
    // A job is deleted shortly after its e-mail was sent.
    eventually(|| async { (count(&context, "select count(*) from tenancy.jobs").await == 0).then_some(()) }).await;

    // A repetition invites nobody and sends nothing.
    let again = invite_all(&context, &team.owner, team.account_id, invitations).await.unwrap().into_inner();
    assert!(again.iter().all(|result| result.reason() == "MEMBER_EXISTS" && result.member.is_none()));
    assert_eq!(count(&context, "select count(*) from tenancy.memberships where status = 'invited'").await, 99);
    assert_eq!(count(&context, "select count(*) from tenancy.jobs").await, 0);
}

#[tokio::test]
async fn one_invalid_invitation_refuses_the_whole_request() {
    let context = test_context().await;
    let (team, other) = (context.team().await, context.team().await);
    let good = || new_invitation("good@example.org", Role::User, None);
    for (bad, expected) in [
        (new_invitation("bad@example.org", Role::Owner, None), Reason::RoleNotGrantable),
        (new_invitation("bad@example.org", Role::Manager, Some(&team.manager_a)), Reason::ManagerInvalid),
        (new_invitation("bad@example.org", Role::User, Some(&other.manager_a)), Reason::ManagerInvalid),
        (new_invitation("GOOD@example.org", Role::User, None), Reason::ValidationFailed),
        (new_invitation("no address", Role::User, None), Reason::ValidationFailed),
        (new_invitation("bad@example.org", Role::Unspecified, None), Reason::ValidationFailed),
    ] {
        let refused = invite_all(&context, &team.super_manager, team.account_id, vec![good(), bad.clone()]).await;
        assert_eq!(refusal(refused), expected, "{bad:?}");
    }
    for (person, number) in [(&team.owner, 0), (&team.owner, 101)] {
        let many = (0..number).map(|n| new_invitation(&format!("p{n}@example.org"), Role::User, None)).collect();
        assert_eq!(refusal(invite_all(&context, person, team.account_id, many).await), Reason::ValidationFailed);
    }
    let refused = invite_all(&context, &team.manager_a, team.account_id, vec![good()]).await;
    assert_eq!(refusal(refused), Reason::PermissionMissing);
    assert_eq!(count(&context, "select count(*) from tenancy.memberships where status = 'invited'").await, 0);
    assert_eq!(count(&context, "select count(*) from tenancy.jobs").await, 0);
}

#[tokio::test]
async fn resending_is_limited_to_once_a_minute() {
    let context = test_context().await;
    let (team, other) = (context.team().await, context.team().await);
    let bob = context.person("bob").await;
    let invited = invite(&context, &team.owner, invitation(team.account_id, &bob.email, Role::Owner, None)).await;
    let id = invited.unwrap().id;
    let wait_for_emails = async |number: usize| {
        eventually(|| async { (context.mailbox().mails(Some(&bob.email)).len() == number).then_some(()) }).await;
    };
    wait_for_emails(1).await;
    // Repeated resending sends one e-mail.
    for _ in 0..3 {
        assert_eq!(resend(&context, &team.owner, &team, &id).await.unwrap().into_inner().version, 1);
    }
    backdate(&context, &id, "13 days").await;
    assert_eq!(refusal(resend(&context, &team.super_manager, &team, &id).await), Reason::RoleNotGrantable);
    assert_eq!(refusal(resend(&context, &team.manager_a, &team, &id).await), Reason::PermissionMissing);
    assert_eq!(refusal(resend(&context, &other.owner, &other, &id).await), Reason::InvitationNotFound);
    assert_eq!(resend(&context, &team.owner, &team, &id).await.unwrap().into_inner().version, 2);
    wait_for_emails(2).await;
    // The expiry counts from the resending.
    backdate(&context, &id, "13 days").await;
    accept(&context, &bob, &team, &id).await.unwrap();
    assert_eq!(refusal(resend(&context, &team.owner, &team, &id).await), Reason::InvitationNotFound);
}

#[tokio::test]
async fn revoking_does_not_shorten_the_resend_interval() {
    let context = test_context().await;
    let (team, other) = (context.team().await, context.team().await);
    let (bob, account_id) = (context.person("bob").await, team.account_id);
    let open = async |email: &str| invite(&context, &team.owner, invitation(account_id, email, Role::User, None)).await;
    let first = open(&bob.email).await.unwrap().id;
    revoke(&context, &team.owner, &team, &first).await.unwrap();
    for email in [bob.email.clone(), bob.email.to_uppercase()] {
        let refused = open(&email).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::TooManyAttempts), "{refused:?}");
        let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap().as_secs();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // In a bulk request, the other addresses are invited.
    let many = vec![new_invitation("cy@example.org", Role::User, None), new_invitation(&bob.email, Role::User, None)];
    let results = invite_all(&context, &team.owner, account_id, many).await.unwrap().into_inner();
    assert!(results[0].member.is_some(), "{results:?}");
    assert_eq!((results[1].member.as_ref(), results[1].reason()), (None, "TOO_MANY_ATTEMPTS"));
    assert_eq!(count(&context, "select count(*) from tenancy.memberships where status = 'invited'").await, 1);
    // Other accounts are not affected.
    invite(&context, &other.owner, invitation(other.account_id, &bob.email, Role::User, None)).await.unwrap();

    // After a minute the address can be invited again. A member who joined and left can return at once.
    backdate(&context, &first, "61 seconds").await;
    let second = open(&bob.email).await.unwrap().id;
    accept(&context, &bob, &team, &second).await.unwrap();
    let request = LeaveAccountRequest { account_id: account_id.to_string(), hand_over_to: None };
    members(&context).leave_account(bob.call(account_id, request)).await.unwrap();
    let third = open(&bob.email).await.unwrap().id;
    accept(&context, &bob, &team, &third).await.unwrap();
}

#[tokio::test]
async fn a_revoked_or_expired_invitation_cannot_be_accepted() {
    let context = test_context().await;
    let (team, other) = (context.team().await, context.team().await);
    let (bob, eve) = (context.person("bob").await, context.person("eve").await);
    let open = async |email: &str| {
        invite(&context, &team.owner, invitation(team.account_id, email, Role::User, None)).await.unwrap().id
    };
    let id = open(&bob.email).await;
    assert_eq!(refusal(revoke(&context, &other.owner, &other, &id).await), Reason::InvitationNotFound);
    assert_eq!(refusal(revoke(&context, &team.user_a1, &team, &id).await), Reason::PermissionMissing);
    revoke(&context, &team.super_manager, &team, &id).await.unwrap();
    assert_eq!(refusal(revoke(&context, &team.super_manager, &team, &id).await), Reason::InvitationNotFound);
    assert_eq!(refusal(accept(&context, &bob, &team, &id).await), Reason::LinkInvalid);
    // The id of a member is not that of an invitation.
    let member: Uuid = sqlx::query_scalar("select id from tenancy.memberships where user_id = $1")
        .bind(team.user_a1.user_id)
        .fetch_one(&context.admin())
        .await
        .unwrap();
    let refused = revoke(&context, &team.owner, &team, &member.to_string()).await;
    assert_eq!(refusal(refused), Reason::InvitationNotFound);

    // After two weeks the other invitation expires, and its link with it.
    let id = open(&eve.email).await;
    backdate(&context, &id, "14 days").await;
    assert_eq!(refusal(accept(&context, &eve, &team, &id).await), Reason::LinkInvalid);
    eventually(|| async {
        let open = "select count(*) from tenancy.memberships where status = 'invited'";
        (count(&context, open).await == 0).then_some(())
    })
    .await;
    let id = open(&eve.email).await;
    accept(&context, &eve, &team, &id).await.unwrap();
}
