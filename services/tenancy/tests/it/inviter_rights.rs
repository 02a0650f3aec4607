//! An invitation ends when its inviter loses the right to make it.

use baton_proto::baton::{
    auth::v1::{DeactivateRequest, user_service_client::UserServiceClient},
    events::v1::Envelope,
    tenancy::v1::{
        AcceptInvitationRequest, LeaveAccountRequest, ListMembersRequest, MemberStatus, RemoveMemberRequest,
        ResendInvitationRequest, SuspendAccountRequest, TransferOwnershipRequest,
    },
};
use baton_testkit::{PASSWORD, Team, eventually};
use futures_util::future::join_all;
use prost::Message;

use super::*;

async fn accept(context: &TestContext, person: &Person, invited: &Member) -> Result<Response<Member>, Status> {
    let ids = [invited.account_id.parse().unwrap(), invited.id.parse().unwrap()];
    let request = AcceptInvitationRequest { token: context.invitation_tokens().issue("invitation", ids) };
    let response = members(context).accept_invitation(person.call_without_account(request)).await?;
    Ok(Response::new(response.into_inner().member.unwrap()))
}

/// Ids of the open invitations.
async fn open_invitations(context: &TestContext, team: &Team) -> Vec<String> {
    let request = ListMembersRequest {
        account_id: team.account_id.to_string(),
        status: vec![MemberStatus::Invited.into()],
        ..ListMembersRequest::default()
    };
    let response = members(context).list_members(team.owner.call(team.account_id, request)).await.unwrap().into_inner();
    response.members.into_iter().map(|member| member.id).collect()
}

/// Whether the end of this invitation was published.
async fn is_end_published(context: &TestContext, invited: &Member) -> bool {
    let envelopes: Vec<Vec<u8>> =
        sqlx::query_scalar("select envelope from tenancy.outbox").fetch_all(&context.admin()).await.unwrap();
    let events = envelopes.iter().map(|bytes| Envelope::decode(&**bytes).unwrap());
    events.filter(|event| event.r#type == "member.removed").any(|event| event.subject_id == invited.id)
}

async fn invite_new(context: &TestContext, by: &Person, team: &Team, role: Role) -> (Person, Member) {
    let person = context.person("invited").await;
    let invited = invite(context, by, invitation(team.account_id, &person.email, role, None)).await.unwrap();
    (person, invited)
}

fn removal(team: &Team, person: &Person) -> RemoveMemberRequest {
    RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: person.user_id.to_string(),
        hand_over_to: None,
    }
}

/// How the super manager loses the right to invite.
#[derive(Debug, Clone, Copy)]
enum LossOfRight {
    Removed,
    Left,
    Deactivated,
    Demoted,
}

async fn end_right(context: &TestContext, team: &Team, cause: LossOfRight) {
    let (id, inviter) = (team.account_id, &team.super_manager);
    match cause {
        LossOfRight::Removed => {
            drop(members(context).remove_member(team.owner.call(id, removal(team, inviter))).await.unwrap())
        }
        LossOfRight::Left => {
            let leave = LeaveAccountRequest { account_id: id.to_string(), hand_over_to: None };
            members(context).leave_account(inviter.call(id, leave)).await.unwrap();
        }
        LossOfRight::Deactivated => {
            let request = DeactivateRequest { password: PASSWORD.to_owned() };
            let mut users = UserServiceClient::new(context.auth());
            users.deactivate(inviter.call_without_account(request)).await.unwrap();
            eventually(|| async {
                (stored_memberships(context, id, inviter.user_id).await[0].1 == "removed").then_some(())
            })
            .await;
        }
        LossOfRight::Demoted => {
            for manager in [&team.manager_a, &team.manager_b] {
                let free = new_manager(id, manager, Some(&team.owner));
                members(context).update_member(team.owner.call(id, free)).await.unwrap();
            }
            let demote = new_role(id, inviter, Role::Manager);
            members(context).update_member(team.owner.call(id, demote)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_invitation_ends_with_its_inviters_membership_or_role() {
    let context = test_context().await;
    for cause in [LossOfRight::Removed, LossOfRight::Left, LossOfRight::Deactivated, LossOfRight::Demoted] {
        let team = context.team().await;
        let (_, others) = invite_new(&context, &team.owner, &team, Role::User).await;
        let (person, invited) = invite_new(&context, &team.super_manager, &team, Role::User).await;
        end_right(&context, &team, cause).await;
        assert_eq!(open_invitations(&context, &team).await, [others.id], "{cause:?}");
        assert!(is_end_published(&context, &invited).await, "{cause:?}");
        assert_eq!(refusal(accept(&context, &person, &invited).await), Reason::LinkInvalid, "{cause:?}");
        assert!(stored_memberships(&context, team.account_id, person.user_id).await.is_empty(), "{cause:?}");
    }
}

#[tokio::test]
async fn a_demotion_ends_only_invitations_above_the_new_role() {
    let context = test_context().await;
    let team = context.team().await;
    let (owner, into_owner) = invite_new(&context, &team.owner, &team, Role::Owner).await;
    let (user, into_user) = invite_new(&context, &team.owner, &team, Role::User).await;
    let transfer = TransferOwnershipRequest {
        account_id: team.account_id.to_string(),
        user_id: team.super_manager.user_id.to_string(),
    };
    accounts(&context).transfer_ownership(team.owner.call(team.account_id, transfer)).await.unwrap();
    assert_eq!(refusal(accept(&context, &owner, &into_owner).await), Reason::LinkInvalid);
    assert!(is_end_published(&context, &into_owner).await && !is_end_published(&context, &into_user).await);
    accept(&context, &user, &into_user).await.unwrap();
}

#[tokio::test]
async fn acceptance_checks_the_inviters_current_right() {
    let context = test_context().await;
    let team = context.team().await;
    let (person, invited) = invite_new(&context, &team.super_manager, &team, Role::SuperManager).await;
    // A row of an older version: the inviter lost the right, and the invitation is still open.
    sqlx::query("update tenancy.memberships set role = 'manager' where user_id = $1")
        .bind(team.super_manager.user_id)
        .execute(&context.admin())
        .await
        .unwrap();
    assert_eq!(open_invitations(&context, &team).await, std::slice::from_ref(&invited.id));
    assert_eq!(refusal(accept(&context, &person, &invited).await), Reason::LinkInvalid);
    assert!(open_invitations(&context, &team).await.is_empty(), "the seat is free");
    assert!(is_end_published(&context, &invited).await);
}

#[tokio::test]
async fn an_invitation_of_a_suspended_account_cannot_be_accepted() {
    let context = test_context().await;
    let team = context.team().await;
    let (person, invited) = invite_new(&context, &team.super_manager, &team, Role::User).await;
    let suspend = SuspendAccountRequest { account_id: team.account_id.to_string() };
    accounts(&context).suspend_account(team.owner.call(team.account_id, suspend)).await.unwrap();
    assert_eq!(refusal(accept(&context, &person, &invited).await), Reason::AccountSuspended);
}

#[tokio::test]
async fn resending_makes_the_caller_the_inviter() {
    let context = test_context().await;
    let team = context.team().await;
    let (person, invited) = invite_new(&context, &team.super_manager, &team, Role::User).await;
    sqlx::query(
        "update tenancy.memberships set invited_at = invited_at - interval '2 minutes' where status = 'invited'",
    )
    .execute(&context.admin())
    .await
    .unwrap();
    let resend = ResendInvitationRequest { account_id: team.account_id.to_string(), invitation_id: invited.id.clone() };
    members(&context).resend_invitation(team.owner.call(team.account_id, resend)).await.unwrap();
    end_right(&context, &team, LossOfRight::Removed).await;
    accept(&context, &person, &invited).await.unwrap();
}

#[tokio::test]
async fn concurrent_removal_and_acceptance_leave_no_open_invitation() {
    let context = test_context().await;
    for _ in 0..4 {
        let team = context.team().await;
        let invited = join_all((0..4).map(|_| invite_new(&context, &team.super_manager, &team, Role::User))).await;
        let removed = async {
            members(&context).remove_member(team.owner.call(team.account_id, removal(&team, &team.super_manager))).await
        };
        let accepted = join_all(invited.iter().map(|(person, invited)| accept(&context, person, invited)));
        let (removed, accepted) = tokio::join!(removed, accepted);
        removed.unwrap();
        assert!(open_invitations(&context, &team).await.is_empty());
        for ((_, invited), accepted) in invited.iter().zip(accepted) {
            // Accepted before the inviter lost the right, or ended.
            assert_ne!(accepted.is_ok(), is_end_published(&context, invited).await);
        }
    }
}
