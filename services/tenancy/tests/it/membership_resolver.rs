use std::collections::HashSet;

use baton_proto::baton::tenancy::v1::{ResolveMembershipRequest, ResolveMembershipResponse};

use super::*;

async fn resolve(context: &TestContext, request: Request<ResolveMembershipRequest>) -> ResolveMembershipResponse {
    members(context).resolve_membership(request).await.unwrap().into_inner()
}

fn ids(people: &[&Person]) -> HashSet<String> {
    people.iter().map(|person| person.user_id.to_string()).collect()
}

#[tokio::test]
async fn a_membership_has_reports_and_team() {
    let context = test_context().await;
    let team = context.team().await;
    // A report of a manager without a manager of their own.
    let lead = context.person("lead").await;
    context.join(team.account_id, &lead, baton_access::Role::Manager, None).await;
    let under = new_manager(team.account_id, &team.user_a2, Some(&lead));
    members(&context).update_member(team.owner.call(team.account_id, under)).await.unwrap();

    for (person, role, reports, members) in [
        (&team.owner, Role::Owner, vec![], vec![]),
        (&team.super_manager, Role::SuperManager, vec![], vec![&team.owner, &team.super_manager]),
        (
            &team.manager_a,
            Role::Manager,
            vec![&team.user_a1],
            vec![&team.super_manager, &team.manager_a, &team.manager_b],
        ),
        (&lead, Role::Manager, vec![&team.user_a2], vec![]),
        (&team.user_a1, Role::User, vec![], vec![&team.manager_a, &team.user_a1]),
    ] {
        let response = resolve(&context, person.call(team.account_id, ResolveMembershipRequest {})).await;
        assert_eq!(response.account_id, team.account_id.to_string());
        assert_eq!(response.role(), role);
        assert_eq!(response.report_ids.into_iter().collect::<HashSet<_>>(), ids(&reports), "reports of {role:?}");
        assert_eq!(response.team_ids.into_iter().collect::<HashSet<_>>(), ids(&members), "team of {role:?}");
    }
}

#[tokio::test]
async fn without_an_account_header_the_first_joined_account_is_used() {
    let context = test_context().await;
    let (first, second) = (context.team().await, context.team().await);
    let bob = context.person("bob").await;
    context.join(first.account_id, &bob, baton_access::Role::Manager, None).await;
    context.join(second.account_id, &bob, baton_access::Role::User, None).await;
    let under = new_manager(first.account_id, &first.user_a1, Some(&bob));
    members(&context).update_member(first.owner.call(first.account_id, under)).await.unwrap();

    let default = resolve(&context, bob.call_without_account(ResolveMembershipRequest {})).await;
    assert_eq!(default, resolve(&context, bob.call(first.account_id, ResolveMembershipRequest {})).await);
    assert_eq!((default.account_id.clone(), default.role()), (first.account_id.to_string(), Role::Manager));
    assert_eq!(default.report_ids, [first.user_a1.user_id.to_string()]);
    let other = resolve(&context, bob.call(second.account_id, ResolveMembershipRequest {})).await;
    assert_eq!((other.account_id.clone(), other.role()), (second.account_id.to_string(), Role::User));

    // After removal from the first account, the second is the default.
    let remove = baton_proto::baton::tenancy::v1::RemoveMemberRequest {
        account_id: first.account_id.to_string(),
        user_id: bob.user_id.to_string(),
        hand_over_to: None,
    };
    members(&context).remove_member(first.owner.call(first.account_id, remove)).await.unwrap();
    let default = resolve(&context, bob.call_without_account(ResolveMembershipRequest {})).await;
    assert_eq!(default.account_id, second.account_id.to_string());
}

#[tokio::test]
async fn foreign_unknown_and_malformed_accounts_get_the_same_error() {
    let context = test_context().await;
    let (team, other) = (context.team().await, context.team().await);
    let loner = context.person("loner").await;
    let call = |person: &Person, account: &str| {
        with_metadata(person.call_without_account(ResolveMembershipRequest {}), "x-account-id", account)
    };
    let mut responses = Vec::new();
    for request in [
        call(&team.owner, &other.account_id.to_string()),
        call(&team.owner, &Uuid::now_v7().to_string()),
        call(&team.owner, &Uuid::nil().to_string()),
        call(&team.owner, "nonsense"),
        call(&team.owner, ""),
        loner.call_without_account(ResolveMembershipRequest {}),
    ] {
        let status = members(&context).resolve_membership(request).await.unwrap_err();
        assert_eq!(reason(&status), Some(Reason::NotAMember));
        responses.push((status.code(), status.message().to_owned()));
    }
    responses.dedup();
    assert_eq!(responses.len(), 1, "{responses:?}");
}
