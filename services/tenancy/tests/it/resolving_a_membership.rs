use std::collections::HashSet;

use baton_proto::baton::tenancy::v1::{ResolveMembershipRequest, ResolveMembershipResponse};

use super::*;

async fn resolve(world: &TestContext, request: Request<ResolveMembershipRequest>) -> ResolveMembershipResponse {
    members(world).resolve_membership(request).await.unwrap().into_inner()
}

fn ids(people: &[&Person]) -> HashSet<String> {
    people.iter().map(|person| person.user_id.to_string()).collect()
}

#[tokio::test]
async fn everyone_has_the_reports_and_the_team_of_their_place() {
    let world = world().await;
    let team = world.team().await;
    // A user under a manager under a manager's manager: reports are found through others.
    let lead = world.person("lead").await;
    world.join(team.account_id, &lead, baton_access::Role::Manager, None).await;
    let under = new_manager(team.account_id, &team.user_a2, Some(&lead));
    members(&world).update_member(team.owner.call(team.account_id, under)).await.unwrap();

    for (person, role, reports, colleagues) in [
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
        let answer = resolve(&world, person.call(team.account_id, ResolveMembershipRequest {})).await;
        assert_eq!(answer.account_id, team.account_id.to_string());
        assert_eq!(answer.role(), role);
        assert_eq!(answer.report_ids.into_iter().collect::<HashSet<_>>(), ids(&reports), "reports of {role:?}");
        assert_eq!(answer.team_ids.into_iter().collect::<HashSet<_>>(), ids(&colleagues), "team of {role:?}");
    }
}

#[tokio::test]
async fn without_an_account_it_is_the_one_joined_first() {
    let world = world().await;
    let (first, second) = (world.team().await, world.team().await);
    let bob = world.person("bob").await;
    world.join(first.account_id, &bob, baton_access::Role::Manager, None).await;
    world.join(second.account_id, &bob, baton_access::Role::User, None).await;
    let under = new_manager(first.account_id, &first.user_a1, Some(&bob));
    members(&world).update_member(first.owner.call(first.account_id, under)).await.unwrap();

    let default = resolve(&world, bob.call_without_account(ResolveMembershipRequest {})).await;
    assert_eq!(default, resolve(&world, bob.call(first.account_id, ResolveMembershipRequest {})).await);
    assert_eq!((default.account_id.clone(), default.role()), (first.account_id.to_string(), Role::Manager));
    assert_eq!(default.report_ids, [first.user_a1.user_id.to_string()]);
    let other = resolve(&world, bob.call(second.account_id, ResolveMembershipRequest {})).await;
    assert_eq!((other.account_id.clone(), other.role()), (second.account_id.to_string(), Role::User));

    // Removed from the first, the second is the default.
    let remove = baton_proto::baton::tenancy::v1::RemoveMemberRequest {
        account_id: first.account_id.to_string(),
        user_id: bob.user_id.to_string(),
        hand_over_to: None,
    };
    members(&world).remove_member(first.owner.call(first.account_id, remove)).await.unwrap();
    let default = resolve(&world, bob.call_without_account(ResolveMembershipRequest {})).await;
    assert_eq!(default.account_id, second.account_id.to_string());
}

#[tokio::test]
async fn foreign_unknown_and_malformed_accounts_are_the_same_no() {
    let world = world().await;
    let (team, other) = (world.team().await, world.team().await);
    let loner = world.person("loner").await;
    let call = |who: &Person, account: &str| {
        with_metadata(who.call_without_account(ResolveMembershipRequest {}), "x-account-id", account)
    };
    let mut answers = Vec::new();
    for request in [
        call(&team.owner, &other.account_id.to_string()),
        call(&team.owner, &Uuid::now_v7().to_string()),
        call(&team.owner, &Uuid::nil().to_string()),
        call(&team.owner, "nonsense"),
        call(&team.owner, ""),
        loner.call_without_account(ResolveMembershipRequest {}),
    ] {
        let status = members(&world).resolve_membership(request).await.unwrap_err();
        assert_eq!(reason(&status), Some(Reason::NotAMember));
        answers.push((status.code(), status.message().to_owned()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}
