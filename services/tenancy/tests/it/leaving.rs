use baton_proto::baton::{
    events::v1::Envelope,
    tenancy::v1::{AcceptInvitationRequest, LeaveAccountRequest, MemberEvent, RemoveMemberRequest},
};
use baton_testkit::Team;
use prost::Message;

use super::*;

async fn leave(world: &TestContext, team: &Team, who: &Person, to: Option<&Person>) -> Result<Response<()>, Status> {
    let request = LeaveAccountRequest {
        account_id: team.account_id.to_string(),
        hand_over_to: to.map(|to| to.user_id.to_string()),
    };
    members(world).leave_account(who.call(team.account_id, request)).await.map(|_| Response::new(()))
}

async fn remove(
    world: &TestContext,
    team: &Team,
    by: &Person,
    who: &Person,
    to: Option<&Person>,
) -> Result<Response<()>, Status> {
    let request = RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: who.user_id.to_string(),
        hand_over_to: to.map(|to| to.user_id.to_string()),
    };
    members(world).remove_member(by.call(team.account_id, request)).await.map(|_| Response::new(()))
}

/// Who has the tasks of those who left, in the order in which they left.
async fn heirs(world: &TestContext) -> Vec<(Uuid, Uuid)> {
    let envelopes: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from tenancy.outbox order by position")
        .fetch_all(&world.admin())
        .await
        .unwrap();
    let removed = envelopes.iter().map(|bytes| Envelope::decode(&**bytes).unwrap());
    let removed = removed.filter(|event| event.r#type == "member.removed");
    let member = removed.map(|event| event.payload.unwrap().to_msg::<MemberEvent>().unwrap());
    member.map(|member| (member.user_id.parse().unwrap(), member.hand_over_to.parse().unwrap())).collect()
}

#[tokio::test]
async fn tasks_go_to_the_manager_or_to_who_was_named() {
    let world = world().await;
    let team = world.team().await;
    leave(&world, &team, &team.user_a1, None).await.unwrap();
    remove(&world, &team, &team.super_manager, &team.manager_a, Some(&team.user_b1)).await.unwrap();
    leave(&world, &team, &team.manager_b, Some(&team.user_b1)).await.unwrap();
    remove(&world, &team, &team.owner, &team.super_manager, Some(&team.owner)).await.unwrap();
    let lone = world.person("lone").await;
    world.join(team.account_id, &lone, baton_access::Role::User, None).await;
    leave(&world, &team, &lone, None).await.unwrap();
    let ids = |from: &Person, to: &Person| (from.user_id, to.user_id);
    assert_eq!(
        heirs(&world).await,
        [
            ids(&team.user_a1, &team.manager_a),
            ids(&team.manager_a, &team.user_b1),
            ids(&team.manager_b, &team.user_b1),
            ids(&team.super_manager, &team.owner),
            ids(&lone, &team.owner),
        ]
    );
    // Who reported to those who left reports to whoever is above.
    for user in [&team.user_a2, &team.user_b1] {
        let rows = stored(&world, team.account_id, user.user_id).await;
        assert_eq!(rows, [("user".to_owned(), "active".to_owned(), Some(team.owner.user_id))]);
    }
}

#[tokio::test]
async fn tasks_go_to_nobody_who_may_not_have_them() {
    let world = world().await;
    let (team, other) = (world.team().await, world.team().await);
    let invited = world.person("invited").await;
    invite(&world, &team.owner, invitation(team.account_id, &invited.email, Role::User, None)).await.unwrap();
    for to in [&team.user_a1, &other.user_a1, &invited] {
        let refused = remove(&world, &team, &team.owner, &team.user_a1, Some(to)).await;
        assert_eq!(refusal(refused), Reason::HandOverInvalid);
    }
    // Nobody hands tasks to whom they may not assign them: a user to a colleague, a manager to another's
    // people, a super manager to the owner (unless that is their manager).
    for (who, to) in [(&team.user_a1, &team.user_a2), (&team.manager_a, &team.user_b1), (&team.user_a1, &team.owner)] {
        assert_eq!(refusal(leave(&world, &team, who, Some(to)).await), Reason::HandOverInvalid);
    }
    let refused = remove(&world, &team, &team.super_manager, &team.user_a1, Some(&team.owner)).await;
    assert_eq!(refusal(refused), Reason::HandOverInvalid);
    assert_eq!(refusal(leave(&world, &team, &team.owner, None).await), Reason::LastOwner);
    assert!(heirs(&world).await.is_empty());
    assert_eq!(count(&world, "select count(*) from tenancy.memberships where status = 'removed'").await, 0);
}

#[tokio::test]
async fn who_left_comes_back_as_somebody_new() {
    let world = world().await;
    let team = world.team().await;
    leave(&world, &team, &team.user_a1, None).await.unwrap();
    let again = invitation(team.account_id, &team.user_a1.email, Role::Manager, Some(&team.super_manager));
    let invited = invite(&world, &team.owner, again).await.unwrap();
    let token = world.invitation_tokens().issue("invitation", [team.account_id, invited.id.parse().unwrap()]);
    members(&world)
        .accept_invitation(team.user_a1.call_without_account(AcceptInvitationRequest { token }))
        .await
        .unwrap();
    assert_eq!(
        stored(&world, team.account_id, team.user_a1.user_id).await,
        [
            ("user".to_owned(), "removed".to_owned(), Some(team.manager_a.user_id)),
            ("manager".to_owned(), "active".to_owned(), Some(team.super_manager.user_id)),
        ]
    );
}

#[tokio::test]
async fn of_two_owners_who_leave_at_once_one_remains() {
    let world = world().await;
    for _ in 0..4 {
        let team = world.team().await;
        let other = world.person("other").await;
        world.join(team.account_id, &other, baton_access::Role::Owner, None).await;
        let (one, two) = tokio::join!(leave(&world, &team, &team.owner, None), leave(&world, &team, &other, None));
        let refused: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(reason(&refused[0]), Some(Reason::LastOwner));
    }
}
