use baton_proto::baton::{
    events::v1::Envelope,
    tenancy::v1::{AcceptInvitationRequest, LeaveAccountRequest, MemberEvent, RemoveMemberRequest},
};
use baton_testkit::Team;
use prost::Message;

use super::*;

async fn leave(
    context: &TestContext,
    team: &Team,
    person: &Person,
    to: Option<&Person>,
) -> Result<Response<()>, Status> {
    let request = LeaveAccountRequest {
        account_id: team.account_id.to_string(),
        hand_over_to: to.map(|to| to.user_id.to_string()),
    };
    members(context).leave_account(person.call(team.account_id, request)).await.map(|_| Response::new(()))
}

async fn remove(
    context: &TestContext,
    team: &Team,
    by: &Person,
    person: &Person,
    to: Option<&Person>,
) -> Result<Response<()>, Status> {
    let request = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: person.user_id.to_string(),
        hand_over_to: to.map(|to| to.user_id.to_string()),
    };
    members(context).remove_member(by.call(team.account_id, request)).await.map(|_| Response::new(()))
}

/// Pairs of leaver and successor from the published events, in order.
async fn successors(context: &TestContext) -> Vec<(Uuid, Uuid)> {
    let envelopes: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from tenancy.outbox order by position")
        .fetch_all(&context.admin())
        .await
        .unwrap();
    let removed = envelopes.iter().map(|bytes| Envelope::decode(&**bytes).unwrap());
    let removed = removed.filter(|event| event.r#type == "member.removed");
    let member = removed.map(|event| event.payload.unwrap().to_msg::<MemberEvent>().unwrap());
    member.map(|member| (member.user_id.parse().unwrap(), member.hand_over_to.parse().unwrap())).collect()
}

#[tokio::test]
async fn tasks_are_handed_over_to_the_manager_or_the_named_successor() {
    let context = test_context().await;
    let team = context.team().await;
    leave(&context, &team, &team.user_a1, None).await.unwrap();
    remove(&context, &team, &team.super_manager, &team.manager_a, Some(&team.user_b1)).await.unwrap();
    leave(&context, &team, &team.manager_b, Some(&team.user_b1)).await.unwrap();
    remove(&context, &team, &team.owner, &team.super_manager, Some(&team.owner)).await.unwrap();
    let lone = context.person("lone").await;
    context.join(team.account_id, &lone, baton_access::Role::User, None).await;
    leave(&context, &team, &lone, None).await.unwrap();
    let ids = |from: &Person, to: &Person| (from.user_id, to.user_id);
    assert_eq!(
        successors(&context).await,
        [
            ids(&team.user_a1, &team.manager_a),
            ids(&team.manager_a, &team.user_b1),
            ids(&team.manager_b, &team.user_b1),
            ids(&team.super_manager, &team.owner),
            ids(&lone, &team.owner),
        ]
    );
    // Reports of the leavers move up.
    for user in [&team.user_a2, &team.user_b1] {
        let rows = stored_memberships(&context, team.account_id, user.user_id).await;
        assert_eq!(rows, [("user".to_owned(), "active".to_owned(), Some(team.owner.user_id))]);
    }
}

#[tokio::test]
async fn an_invalid_successor_is_refused() {
    let context = test_context().await;
    let (team, other) = (context.team().await, context.team().await);
    let invited = context.person("invited").await;
    invite(&context, &team.owner, invitation(team.account_id, &invited.email, Role::User, None)).await.unwrap();
    for to in [&team.user_a1, &other.user_a1, &invited] {
        let refused = remove(&context, &team, &team.owner, &team.user_a1, Some(to)).await;
        assert_eq!(refusal(refused), Reason::HandOverInvalid);
    }
    // The successor must be assignable: a user cannot name a peer, a manager another manager's report, a super manager
    // the owner (unless the owner is the leaver's manager).
    for (person, to) in [(&team.user_a1, &team.user_a2), (&team.manager_a, &team.user_b1), (&team.user_a1, &team.owner)]
    {
        assert_eq!(refusal(leave(&context, &team, person, Some(to)).await), Reason::HandOverInvalid);
    }
    let refused = remove(&context, &team, &team.super_manager, &team.user_a1, Some(&team.owner)).await;
    assert_eq!(refusal(refused), Reason::HandOverInvalid);
    assert_eq!(refusal(leave(&context, &team, &team.owner, None).await), Reason::LastOwner);
    assert!(successors(&context).await.is_empty());
    assert_eq!(count(&context, "select count(*) from tenancy.memberships where status = 'removed'").await, 0);
}

#[tokio::test]
async fn a_returning_member_gets_a_new_membership() {
    let context = test_context().await;
    let team = context.team().await;
    leave(&context, &team, &team.user_a1, None).await.unwrap();
    let again = invitation(team.account_id, &team.user_a1.email, Role::Manager, Some(&team.super_manager));
    let invited = invite(&context, &team.owner, again).await.unwrap();
    let token = context.invitation_tokens().issue("invitation", [team.account_id, invited.id.parse().unwrap()]);
    members(&context)
        .accept_invitation(team.user_a1.call_without_account(AcceptInvitationRequest { token }))
        .await
        .unwrap();
    assert_eq!(
        stored_memberships(&context, team.account_id, team.user_a1.user_id).await,
        [
            ("user".to_owned(), "removed".to_owned(), Some(team.manager_a.user_id)),
            ("manager".to_owned(), "active".to_owned(), Some(team.super_manager.user_id)),
        ]
    );
}

#[tokio::test]
async fn two_owners_leaving_concurrently_leave_one_owner() {
    let context = test_context().await;
    for _ in 0..4 {
        let team = context.team().await;
        let other = context.person("other").await;
        context.join(team.account_id, &other, baton_access::Role::Owner, None).await;
        let (one, two) = tokio::join!(leave(&context, &team, &team.owner, None), leave(&context, &team, &other, None));
        let refused: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(reason(&refused[0]), Some(Reason::LastOwner));
    }
}
