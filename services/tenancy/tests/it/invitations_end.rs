//! An invitation ends with its inviter's right to make it.

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

async fn accept(world: &TestContext, who: &Person, invited: &Member) -> Result<Response<Member>, Status> {
    let ids = [invited.account_id.parse().unwrap(), invited.id.parse().unwrap()];
    let request = AcceptInvitationRequest { token: world.invitation_tokens().issue("invitation", ids) };
    let answer = members(world).accept_invitation(who.call_without_account(request)).await?;
    Ok(Response::new(answer.into_inner().member.unwrap()))
}

/// Ids of the invitations that are open.
async fn open(world: &TestContext, team: &Team) -> Vec<String> {
    let request = ListMembersRequest {
        account_id: team.account_id.to_string(),
        status: vec![MemberStatus::Invited.into()],
        ..ListMembersRequest::default()
    };
    let answer = members(world).list_members(team.owner.call(team.account_id, request)).await.unwrap().into_inner();
    answer.members.into_iter().map(|member| member.id).collect()
}

/// Whether the end of this invitation was published.
async fn is_published(world: &TestContext, invited: &Member) -> bool {
    let envelopes: Vec<Vec<u8>> =
        sqlx::query_scalar("select envelope from tenancy.outbox").fetch_all(&world.admin()).await.unwrap();
    let events = envelopes.iter().map(|bytes| Envelope::decode(&**bytes).unwrap());
    events.filter(|event| event.r#type == "member.removed").any(|event| event.subject_id == invited.id)
}

async fn invite_new(world: &TestContext, by: &Person, team: &Team, role: Role) -> (Person, Member) {
    let person = world.person("invited").await;
    let invited = invite(world, by, invitation(team.account_id, &person.email, role, None)).await.unwrap();
    (person, invited)
}

fn removal(team: &Team, who: &Person) -> RemoveMemberRequest {
    RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: who.user_id.to_string(),
        hand_over_to: None,
    }
}

/// The ways in which the super manager's right to invite ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Removed,
    Left,
    Deactivated,
    Demoted,
}

async fn end_right(world: &TestContext, team: &Team, how: End) {
    let (id, inviter) = (team.account_id, &team.super_manager);
    match how {
        End::Removed => drop(members(world).remove_member(team.owner.call(id, removal(team, inviter))).await.unwrap()),
        End::Left => {
            let leave = LeaveAccountRequest { account_id: id.to_string(), hand_over_to: None };
            members(world).leave_account(inviter.call(id, leave)).await.unwrap();
        }
        End::Deactivated => {
            let request = DeactivateRequest { password: PASSWORD.to_owned() };
            let mut users = UserServiceClient::new(world.auth());
            users.deactivate(inviter.call_without_account(request)).await.unwrap();
            eventually(|| async { (stored(world, id, inviter.user_id).await[0].1 == "removed").then_some(()) }).await;
        }
        End::Demoted => {
            for manager in [&team.manager_a, &team.manager_b] {
                let free = new_manager(id, manager, Some(&team.owner));
                members(world).update_member(team.owner.call(id, free)).await.unwrap();
            }
            let demote = new_role(id, inviter, Role::Manager);
            members(world).update_member(team.owner.call(id, demote)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_invitation_ends_with_its_inviters_membership_and_role() {
    let world = world().await;
    for how in [End::Removed, End::Left, End::Deactivated, End::Demoted] {
        let team = world.team().await;
        let (_, others) = invite_new(&world, &team.owner, &team, Role::User).await;
        let (person, invited) = invite_new(&world, &team.super_manager, &team, Role::User).await;
        end_right(&world, &team, how).await;
        assert_eq!(open(&world, &team).await, [others.id], "{how:?}");
        assert!(is_published(&world, &invited).await, "{how:?}");
        assert_eq!(refusal(accept(&world, &person, &invited).await), Reason::LinkInvalid, "{how:?}");
        assert!(stored(&world, team.account_id, person.user_id).await.is_empty(), "{how:?}");
    }
}

#[tokio::test]
async fn a_lower_role_ends_the_invitations_above_it_only() {
    let world = world().await;
    let team = world.team().await;
    let (owner, into_owner) = invite_new(&world, &team.owner, &team, Role::Owner).await;
    let (user, into_user) = invite_new(&world, &team.owner, &team, Role::User).await;
    let transfer = TransferOwnershipRequest {
        account_id: team.account_id.to_string(),
        user_id: team.super_manager.user_id.to_string(),
    };
    accounts(&world).transfer_ownership(team.owner.call(team.account_id, transfer)).await.unwrap();
    assert_eq!(refusal(accept(&world, &owner, &into_owner).await), Reason::LinkInvalid);
    assert!(is_published(&world, &into_owner).await && !is_published(&world, &into_user).await);
    accept(&world, &user, &into_user).await.unwrap();
}

#[tokio::test]
async fn accepting_decides_anew_whatever_the_row_says() {
    let world = world().await;
    let team = world.team().await;
    let (person, invited) = invite_new(&world, &team.super_manager, &team, Role::SuperManager).await;
    // As the version before left it: the inviter is gone and the invitation is open.
    sqlx::query("update tenancy.memberships set role = 'manager' where user_id = $1")
        .bind(team.super_manager.user_id)
        .execute(&world.admin())
        .await
        .unwrap();
    assert_eq!(open(&world, &team).await, std::slice::from_ref(&invited.id));
    assert_eq!(refusal(accept(&world, &person, &invited).await), Reason::LinkInvalid);
    assert!(open(&world, &team).await.is_empty(), "it holds a seat no longer");
    assert!(is_published(&world, &invited).await);
}

#[tokio::test]
async fn an_invitation_of_a_suspended_account_cannot_be_accepted() {
    let world = world().await;
    let team = world.team().await;
    let (person, invited) = invite_new(&world, &team.super_manager, &team, Role::User).await;
    let suspend = SuspendAccountRequest { account_id: team.account_id.to_string() };
    accounts(&world).suspend_account(team.owner.call(team.account_id, suspend)).await.unwrap();
    assert_eq!(refusal(accept(&world, &person, &invited).await), Reason::AccountSuspended);
}

#[tokio::test]
async fn whoever_sends_an_invitation_again_answers_for_it() {
    let world = world().await;
    let team = world.team().await;
    let (person, invited) = invite_new(&world, &team.super_manager, &team, Role::User).await;
    sqlx::query(
        "update tenancy.memberships set invited_at = invited_at - interval '2 minutes' where status = 'invited'",
    )
    .execute(&world.admin())
    .await
    .unwrap();
    let resend = ResendInvitationRequest { account_id: team.account_id.to_string(), invitation_id: invited.id.clone() };
    members(&world).resend_invitation(team.owner.call(team.account_id, resend)).await.unwrap();
    end_right(&world, &team, End::Removed).await;
    accept(&world, &person, &invited).await.unwrap();
}

#[tokio::test]
async fn removing_the_inviter_and_accepting_at_once_never_leaves_an_open_invitation() {
    let world = world().await;
    for _ in 0..4 {
        let team = world.team().await;
        let invited = join_all((0..4).map(|_| invite_new(&world, &team.super_manager, &team, Role::User))).await;
        let removed = async {
            members(&world).remove_member(team.owner.call(team.account_id, removal(&team, &team.super_manager))).await
        };
        let accepted = join_all(invited.iter().map(|(person, invited)| accept(&world, person, invited)));
        let (removed, accepted) = tokio::join!(removed, accepted);
        removed.unwrap();
        assert!(open(&world, &team).await.is_empty());
        for ((_, invited), accepted) in invited.iter().zip(accepted) {
            // Either came first: joined before the right ended, or never.
            assert_ne!(accepted.is_ok(), is_published(&world, invited).await);
        }
    }
}
