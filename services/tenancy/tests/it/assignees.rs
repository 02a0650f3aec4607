//! ListAssignees: the members to whom a member may assign tasks.

use baton_proto::baton::tenancy::v1::ListAssigneesRequest;
use baton_testkit::Team;

use super::*;

async fn assignees(context: &TestContext, team: &Team, person: &Person) -> Result<Vec<Uuid>, Status> {
    let request = person.call(team.account_id, ListAssigneesRequest {});
    let response = members(context).list_assignees(request).await?.into_inner();
    Ok(response.assignees.into_iter().map(|one| one.user_id.parse().unwrap()).collect())
}

#[tokio::test]
async fn each_role_can_assign_to_lower_roles() {
    let context = test_context().await;
    let (team, _other) = (context.team().await, context.team().await);
    let gone = context.person("gone").await;
    context.join(team.account_id, &gone, baton_access::Role::User, Some(team.manager_a.user_id)).await;
    sqlx::query("update tenancy.memberships set status = 'removed', left_at = now() where user_id = $1")
        .bind(gone.user_id)
        .execute(&context.admin())
        .await
        .unwrap();
    invite(&context, &team.owner, invitation(team.account_id, "new@example.org", Role::User, None)).await.unwrap();
    let ids = |people: &[&Person]| people.iter().map(|person| person.user_id).collect::<Vec<_>>();
    // Direct reports first, then those who joined first.
    let Team { super_manager, manager_a, manager_b, user_a1, user_a2, user_b1, owner, .. } = &team;
    let all = ids(&[super_manager, manager_a, manager_b, user_a1, user_a2, user_b1]);
    assert_eq!(assignees(&context, &team, owner).await.unwrap(), all);
    assert_eq!(assignees(&context, &team, super_manager).await.unwrap(), all[1..]);
    assert_eq!(assignees(&context, &team, manager_a).await.unwrap(), ids(&[user_a1, user_a2]));
    assert_eq!(assignees(&context, &team, manager_b).await.unwrap(), ids(&[user_b1]));
    let refused = assignees(&context, &team, user_a1).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::PermissionMissing));
}
