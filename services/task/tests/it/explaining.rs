//! Why somebody may or may not do a thing.

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

use crate::desk::{Answer, Desk, new, refused};

async fn explain(
    desk: &Desk,
    asker: &Person,
    of: Uuid,
    permission: Permission,
    task: Option<&str>,
) -> Answer<ExplainResponse> {
    let request =
        ExplainRequest { user_id: of.to_string(), permission: permission.into(), task_id: task.map(str::to_owned) };
    let answer = AccessServiceClient::new(desk.channel()).explain(desk.call(asker, request)).await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn the_verdict_names_its_rule_and_the_relation() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let task = desk.create(&team.user_a1, new("Sweep")).await.unwrap().id;
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
        let answer = explain(&desk, asker, of.user_id, permission, task.map(|id: &String| &**id)).await.unwrap();
        assert_eq!((answer.allowed, answer.rule(), answer.relation()), (allowed, rule, relation), "{case}");
        assert_eq!(answer.task_rights.is_some(), task.is_some(), "{case}");
        assert!(!answer.explanation.is_empty());
    }
    let answer = explain(&desk, &team.owner, team.user_a1.user_id, Permission::Billing, None).await.unwrap();
    assert_eq!((answer.role(), answer.least_role()), (Role::User, Role::Owner));
    let rights =
        explain(&desk, &team.owner, team.manager_a.user_id, Permission::WorkOnTasks, Some(&task)).await.unwrap();
    let rights = rights.task_rights.unwrap();
    assert_eq!((rights.see, rights.change, rights.delete, rights.work), (true, true, false, false));
}

#[tokio::test]
async fn only_those_above_are_told() {
    let desk = Desk::open().await;
    let (team, other) = (&desk.team, desk.elsewhere().await);
    let task = desk.create(&team.user_b1, new("Not manager A's")).await.unwrap().id;
    let ask = |asker, of: Uuid, task| explain(&desk, asker, of, Permission::WorkOnTasks, task);
    for (asker, of) in [
        (&team.user_a1, &team.user_a2),
        (&team.user_a1, &team.manager_a),
        (&team.manager_a, &team.user_b1),
        (&team.manager_a, &team.super_manager),
        (&team.super_manager, &team.owner),
    ] {
        assert_eq!(refused(ask(asker, of.user_id, None).await), Reason::NotAboveMember);
    }
    // Nobody of another account, the same as nobody at all.
    for of in [other.team.user_a1.user_id, Uuid::now_v7()] {
        assert_eq!(refused(ask(&team.owner, of, None).await), Reason::MemberNotFound);
    }
    // A task that the asker does not see tells nothing of those who do.
    assert_eq!(refused(ask(&team.manager_a, team.user_a1.user_id, Some(&*task)).await), Reason::TaskNotFound);
    let billing = explain(&desk, &team.owner, team.owner.user_id, Permission::Billing, Some(&task)).await;
    assert_eq!(refused(billing), Reason::ValidationFailed);
    let none = explain(&desk, &team.owner, team.owner.user_id, Permission::Unspecified, None).await;
    assert_eq!(refused(none), Reason::ValidationFailed);
}
