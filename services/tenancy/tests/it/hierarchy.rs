//! The hierarchy for the gateway agrees with the memberships that every other service resolves.

use std::collections::HashSet;

use baton_access::Hierarchy;
use baton_clients::{Peer, ServiceTokens, Tenancy};
use baton_proto::baton::tenancy::v1::{
    GetHierarchyRequest, ResolveMembershipRequest, internal_service_client::InternalServiceClient,
};
use baton_runtime::Secret;

use super::*;

async fn hierarchy(context: &TestContext, account_id: Uuid) -> Option<Hierarchy> {
    let secret = context.env().get("BATON_GATEWAY_SERVICE_SECRET").unwrap().to_owned();
    let tokens = ServiceTokens::new(Peer::new("auth", context.auth()), "gateway", Secret::new(secret));
    Tenancy::new(Peer::new("tenancy", context.tenancy())).hierarchy(&tokens, account_id).await.unwrap()
}

#[tokio::test]
async fn hierarchy_agrees_with_the_membership_of_every_member() {
    let context = test_context().await;
    let team = context.team().await;
    let (lead, alone) = (context.person("lead").await, context.person("alone").await);
    context.join(team.account_id, &lead, baton_access::Role::Manager, Some(team.manager_a.user_id)).await;
    context.join(team.account_id, &alone, baton_access::Role::User, None).await;
    let under = new_manager(team.account_id, &team.user_a2, Some(&lead));
    members(&context).update_member(team.owner.call(team.account_id, under)).await.unwrap();
    let remove = baton_proto::baton::tenancy::v1::RemoveMemberRequest {
        account_id: team.account_id.to_string(),
        user_id: team.manager_b.user_id.to_string(),
        hand_over_to: None,
    };
    members(&context).remove_member(team.owner.call(team.account_id, remove)).await.unwrap();

    let hierarchy = hierarchy(&context, team.account_id).await.expect("the account exists");
    let left = &team.manager_b;
    let people =
        [&team.owner, &team.super_manager, &team.manager_a, &team.user_a1, &team.user_a2, &team.user_b1, &lead, &alone];
    assert_eq!(hierarchy.members.len(), people.len());
    assert_eq!(hierarchy.role(left.user_id), None);
    for person in people {
        let request = person.call(team.account_id, ResolveMembershipRequest {});
        let membership = members(&context).resolve_membership(request).await.unwrap().into_inner();
        let ids = |ids: Vec<String>| ids.iter().map(|id| id.parse().unwrap()).collect::<HashSet<Uuid>>();
        let those = |wanted: &dyn Fn(Uuid) -> bool| -> HashSet<Uuid> {
            people.iter().copied().chain([left]).map(|it| it.user_id).filter(|&id| wanted(id)).collect()
        };
        let me = person.user_id;
        let role = hierarchy.role(me).unwrap();
        assert_eq!(role.to_proto(), membership.role(), "{}", person.email);
        assert_eq!(those(&|id| hierarchy.has_in_team(me, id)), ids(membership.team_ids), "{}", person.email);
        // Those who see everything have no list of reports.
        if role < baton_access::Role::SuperManager {
            let reports = those(&|id| id != me && hierarchy.is_or_manages(me, id));
            assert_eq!(reports, ids(membership.report_ids), "{}", person.email);
        }
    }
    assert!(!hierarchy.is_suspended && !hierarchy.second_factor_required);
}

#[tokio::test]
async fn pages_end_with_the_last_member_and_only_services_read_them() {
    let context = test_context().await;
    let team = context.team().await;
    let secret = context.env().get("BATON_GATEWAY_SERVICE_SECRET").unwrap().to_owned();
    let tokens = ServiceTokens::new(Peer::new("auth", context.auth()), "gateway", Secret::new(secret));
    let authorization = tokens.authorization("tenancy").await.unwrap();
    let page = async |account_id: Uuid, after: Option<String>| {
        let message = GetHierarchyRequest { account_id: account_id.to_string(), page_size: 3, after };
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", authorization.clone());
        InternalServiceClient::new(context.tenancy()).get_hierarchy(request).await
    };
    let (mut after, mut seen) = (None, HashSet::new());
    for expected in [3, 3, 1] {
        let members = page(team.account_id, after.take()).await.unwrap().into_inner().members;
        assert_eq!(members.len(), expected);
        after = members.last().map(|member| member.user_id.clone());
        seen.extend(members.into_iter().map(|member| member.user_id));
    }
    assert_eq!(seen.len(), 7);
    let nobody = page(Uuid::now_v7(), None).await.unwrap_err();
    assert_eq!(baton_testkit::reason(&nobody), Some(Reason::AccountNotFound));
    assert_eq!(hierarchy(&context, Uuid::now_v7()).await, None);
    let message = GetHierarchyRequest { account_id: team.account_id.to_string(), page_size: 3, after: None };
    let refused =
        InternalServiceClient::new(context.tenancy()).get_hierarchy(team.owner.call(team.account_id, message)).await;
    assert_eq!(baton_testkit::reason(&refused.unwrap_err()), Some(Reason::ServiceOnly));
}
