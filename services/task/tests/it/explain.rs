//! Explain: why a user may or may not do something.

use baton_errors::Reason;
use baton_proto::baton::{
    access::v1::Permission,
    task::v1::{
        AccessRelation, AccessRule, ExplainRequest, ExplainResponse, access_service_client::AccessServiceClient,
    },
    tenancy::v1::Role,
};
use baton_testkit::Person;
use uuid::Uuid;

use crate::fixture::{Fixture, RpcResult, error_reason, new_task};

async fn explain(
    fixture: &Fixture,
    asker: &Person,
    of: Uuid,
    permission: Permission,
    task: Option<&str>,
) -> RpcResult<ExplainResponse> {
    let request =
        ExplainRequest { user_id: of.to_string(), permission: permission.into(), task_id: task.map(str::to_owned) };
    let response = AccessServiceClient::new(fixture.channel()).explain(fixture.call(asker, request)).await?;
    Ok(response.into_inner())
}

#[tokio::test]
async fn verdict_names_its_rule_and_relation() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let task = fixture.create(&team.user_a1, new_task("Sweep")).await.unwrap().id;
    for (asker, of, permission, task, allowed, rule, relation) in [
        (&team.user_a1, &team.user_a1, Permission::Billing, None, false, AccessRule::Role, AccessRelation::Unspecified),
        (
            &team.manager_a,
            &team.user_a1,
            Permission::ViewOwnBoard,
            None,
            true,
            AccessRule::Role,
            AccessRelation::Unspecified,
        ),
        (
            &team.manager_a,
            &team.manager_a,
            Permission::ReassignTasks,
            None,
            false,
            AccessRule::NoReassigning,
            AccessRelation::Unspecified,
        ),
        (
            &team.user_a1,
            &team.user_a1,
            Permission::WorkOnTasks,
            Some(&task),
            true,
            AccessRule::OwnTask,
            AccessRelation::Own,
        ),
        (
            &team.owner,
            &team.manager_a,
            Permission::WorkOnTasks,
            Some(&task),
            true,
            AccessRule::TaskOfReport,
            AccessRelation::Report,
        ),
        (
            &team.owner,
            &team.manager_b,
            Permission::WorkOnTasks,
            Some(&task),
            false,
            AccessRule::TaskNotVisible,
            AccessRelation::None,
        ),
        (
            &team.owner,
            &team.super_manager,
            Permission::AssignToUsers,
            Some(&task),
            true,
            AccessRule::WholeAccount,
            AccessRelation::Other,
        ),
    ] {
        let case = format!("{permission:?} of {}", of.email);
        let response = explain(&fixture, asker, of.user_id, permission, task.map(|id: &String| &**id)).await.unwrap();
        assert_eq!((response.allowed, response.rule(), response.relation()), (allowed, rule, relation), "{case}");
        assert_eq!(response.task_rights.is_some(), task.is_some(), "{case}");
        assert!(!response.explanation.is_empty());
    }
    let response = explain(&fixture, &team.owner, team.user_a1.user_id, Permission::Billing, None).await.unwrap();
    assert_eq!((response.role(), response.least_role()), (Role::User, Role::Owner));
    let rights =
        explain(&fixture, &team.owner, team.manager_a.user_id, Permission::WorkOnTasks, Some(&task)).await.unwrap();
    let rights = rights.task_rights.unwrap();
    assert_eq!((rights.see, rights.change, rights.delete, rights.work), (true, true, false, false));
}

#[tokio::test]
async fn only_superiors_may_ask() {
    let fixture = Fixture::new().await;
    let (team, other) = (&fixture.team, fixture.other_account().await);
    let task = fixture.create(&team.user_b1, new_task("Not manager A's")).await.unwrap().id;
    let ask = |asker, of: Uuid, task| explain(&fixture, asker, of, Permission::WorkOnTasks, task);
    for (asker, of) in [
        (&team.user_a1, &team.user_a2),
        (&team.user_a1, &team.manager_a),
        (&team.manager_a, &team.user_b1),
        (&team.manager_a, &team.super_manager),
        (&team.super_manager, &team.owner),
    ] {
        assert_eq!(error_reason(ask(asker, of.user_id, None).await), Reason::NotAboveMember);
    }
    // A user of another account is refused like an unknown one.
    for of in [other.team.user_a1.user_id, Uuid::now_v7()] {
        assert_eq!(error_reason(ask(&team.owner, of, None).await), Reason::MemberNotFound);
    }
    // A task that the caller does not see reveals nothing about those who do.
    assert_eq!(error_reason(ask(&team.manager_a, team.user_a1.user_id, Some(&*task)).await), Reason::TaskNotFound);
    let billing = explain(&fixture, &team.owner, team.owner.user_id, Permission::Billing, Some(&task)).await;
    assert_eq!(error_reason(billing), Reason::ValidationFailed);
    let none = explain(&fixture, &team.owner, team.owner.user_id, Permission::Unspecified, None).await;
    assert_eq!(error_reason(none), Reason::ValidationFailed);
}
