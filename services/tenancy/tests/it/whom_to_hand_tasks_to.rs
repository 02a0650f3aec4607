//! Whom a member may hand tasks to, as services ask it.

use baton_proto::baton::tenancy::v1::ListAssigneesRequest;
use baton_testkit::Team;

use super::*;

async fn assignees(world: &TestContext, team: &Team, who: &Person) -> Result<Vec<Uuid>, Status> {
    let request = who.call(team.account_id, ListAssigneesRequest {});
    let answer = members(world).list_assignees(request).await?.into_inner();
    Ok(answer.assignees.into_iter().map(|one| one.user_id.parse().unwrap()).collect())
}

#[tokio::test]
async fn each_role_may_hand_tasks_to_those_below() {
    let world = world().await;
    let (team, _other) = (world.team().await, world.team().await);
    let gone = world.person("gone").await;
    world.join(team.account_id, &gone, baton_access::Role::User, Some(team.manager_a.user_id)).await;
    sqlx::query("update tenancy.memberships set status = 'removed', left_at = now() where user_id = $1")
        .bind(gone.user_id)
        .execute(&world.admin())
        .await
        .unwrap();
    invite(&world, &team.owner, invitation(team.account_id, "new@example.org", Role::User, None)).await.unwrap();
    let ids = |people: &[&Person]| people.iter().map(|person| person.user_id).collect::<Vec<_>>();
    // Direct reports first, then those who joined first.
    let Team { super_manager, manager_a, manager_b, user_a1, user_a2, user_b1, owner, .. } = &team;
    let all = ids(&[super_manager, manager_a, manager_b, user_a1, user_a2, user_b1]);
    assert_eq!(assignees(&world, &team, owner).await.unwrap(), all);
    assert_eq!(assignees(&world, &team, super_manager).await.unwrap(), all[1..]);
    assert_eq!(assignees(&world, &team, manager_a).await.unwrap(), ids(&[user_a1, user_a2]));
    assert_eq!(assignees(&world, &team, manager_b).await.unwrap(), ids(&[user_b1]));
    let refused = assignees(&world, &team, user_a1).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::PermissionMissing));
}
