//! Assigning, reassigning and rejecting tasks.

use baton_errors::Reason;
use baton_proto::baton::{
    task::v1::{TaskEventKind, TaskStatus, TaskVisibility},
    tenancy::v1::{SettingsChange, UpdateSettingsRequest, account_service_client::AccountServiceClient},
};
use baton_testkit::{Person, eventually};
use prost_types::FieldMask;
use uuid::Uuid;

use crate::fixture::{Fixture, error_reason, new_task, new_task_for};

#[tokio::test]
async fn each_role_assigns_tasks_to_lower_roles_only() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let people = [
        &team.owner,
        &team.super_manager,
        &team.manager_a,
        &team.manager_b,
        &team.user_a1,
        &team.user_a2,
        &team.user_b1,
    ];
    let rules: [(&Person, [bool; 7]); 4] = [
        (&team.owner, [true; 7]),
        (&team.super_manager, [false, true, true, true, true, true, true]),
        (&team.manager_a, [false, false, true, false, true, true, false]),
        (&team.user_a1, [false, false, false, false, true, false, false]),
    ];
    for (from, expected) in rules {
        for (to, allowed) in people.into_iter().zip(expected) {
            let created = fixture.create(from, new_task_for("Sweep", to)).await;
            if allowed {
                let created = created.unwrap();
                assert_eq!(created.assigned_to, Some(to.user_id.to_string()));
                assert_eq!(
                    created.accepted_at.is_some(),
                    from.user_id == to.user_id,
                    "a self-assigned task is accepted at once"
                );
            } else {
                assert_eq!(error_reason(created), Reason::AssignmentNotAllowed);
            }
            let unassigned = fixture.create(from, new_task("Mop")).await.unwrap().id;
            let assigned = fixture.assign(from, &unassigned, to.user_id).await;
            match (allowed, from.user_id == team.user_a1.user_id) {
                (_, true) => {
                    assert_eq!(error_reason(assigned), Reason::PermissionMissing, "users assign tasks to nobody")
                }
                (true, _) => assert_eq!(assigned.unwrap().assigned_to, Some(to.user_id.to_string())),
                (false, _) => assert_eq!(error_reason(assigned), Reason::AssignmentNotAllowed),
            }
        }
    }
    let stranger = fixture.context.person("stranger").await;
    for nobody in [stranger.user_id, Uuid::now_v7()] {
        let mut request = new_task("Sweep");
        request.assigned_to = Some(nobody.to_string());
        assert_eq!(error_reason(fixture.create(&team.owner, request).await), Reason::AssigneeInvalid);
    }
}

#[tokio::test]
async fn assigned_task_is_passed_on_by_its_assignee_only() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.owner, new_task_for("Sweep", &team.manager_a)).await.unwrap().id;
    let target = team.user_b1.user_id;
    assert_eq!(error_reason(fixture.assign(&team.owner, &id, target).await), Reason::TaskAlreadyAssigned);
    assert_eq!(error_reason(fixture.assign(&team.manager_b, &id, target).await), Reason::TaskNotFound);
    let once = fixture.assign(&team.manager_a, &id, team.user_a1.user_id).await.unwrap();
    let again = fixture.assign(&team.manager_a, &id, team.user_a1.user_id).await.unwrap();
    assert_eq!(once, again, "assigning to the same user again changes nothing");
    assert_eq!(fixture.events(&id).await.len(), 3, "created and assigned, assigned");

    let seen = fixture.create(&team.owner, {
        let mut request = new_task("Shared");
        request.visibility = TaskVisibility::Account.into();
        request
    });
    let id = seen.await.unwrap().id;
    let theirs = fixture.assign(&team.manager_b, &id, team.user_b1.user_id).await;
    assert_eq!(error_reason(theirs), Reason::TaskChangeNotAllowed, "visibility does not permit changes");
}

#[tokio::test]
async fn rejected_task_returns_to_its_assigner() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    assert_eq!(error_reason(fixture.reject(&team.manager_a, &id, None).await), Reason::TaskChangeNotAllowed);
    assert_eq!(error_reason(fixture.accept(&team.manager_a, &id).await), Reason::TaskChangeNotAllowed);
    let back = fixture.reject(&team.user_a1, &id, Some("no broom")).await.unwrap();
    assert_eq!(back.assigned_to, Some(team.manager_a.user_id.to_string()));
    assert_eq!((back.assigned_by, back.accepted_at.is_some()), (None, true));
    assert_eq!(error_reason(fixture.get(&team.user_a1, &id).await), Reason::TaskNotFound, "it is no longer theirs");
    let line = fixture.timeline(&team.manager_a, &id).await.unwrap();
    assert_eq!((line[1].kind(), line[1].reason.as_deref()), (TaskEventKind::Rejected, Some("no broom")));
    let (kind, event) = fixture.events(&id).await.pop().unwrap();
    assert_eq!((kind.as_str(), event.previously_assigned_to), ("task.rejected", team.user_a1.user_id.to_string()));
    assert_eq!(error_reason(fixture.reject(&team.manager_a, &id, None).await), Reason::AssignmentAlreadyAccepted);
}

#[tokio::test]
async fn account_admins_reassign_any_task() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.manager_a, new_task("Sweep")).await.unwrap().id;
    let to = team.user_b1.user_id;
    assert_eq!(error_reason(fixture.reassign(&team.super_manager, &id, to).await), Reason::TaskNotAssigned);
    fixture.assign(&team.manager_a, &id, team.user_a1.user_id).await.unwrap();
    fixture.start(&team.user_a1, &id).await.unwrap();
    let moved = fixture.reassign(&team.super_manager, &id, to).await.unwrap();
    assert_eq!((moved.status(), moved.assigned_to.clone()), (TaskStatus::Paused, Some(to.to_string())));
    assert_eq!(fixture.reassign(&team.super_manager, &id, to).await.unwrap(), moved, "a repetition changes nothing");
    let (kind, event) = fixture.events(&id).await.pop().unwrap();
    assert_eq!((kind.as_str(), event.previously_assigned_to), ("task.reassigned", team.user_a1.user_id.to_string()));
    let refusal = fixture.reassign(&team.super_manager, &id, team.owner.user_id).await;
    assert_eq!(error_reason(refusal), Reason::AssignmentNotAllowed);
    assert_eq!(error_reason(fixture.reassign(&team.user_b1, &id, to).await), Reason::PermissionMissing);

    fixture.resume(&team.user_b1, &id).await.unwrap();
    fixture.complete(&team.user_b1, &id).await.unwrap();
    let refusal = fixture.reassign(&team.owner, &id, team.user_a1.user_id).await;
    assert_eq!(error_reason(refusal), Reason::TaskWrongState);
}

#[tokio::test]
async fn manager_reassigns_by_member_permission_or_account_setting() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let id = fixture.create(&team.manager_a, new_task_for("Sweep", &team.user_a1)).await.unwrap().id;
    let theirs = fixture.create(&team.manager_b, new_task_for("Mop", &team.user_b1)).await.unwrap().id;
    let refusal = fixture.reassign(&team.manager_a, &id, team.user_a2.user_id).await;
    assert_eq!(error_reason(refusal), Reason::ReassignmentNotAllowed);

    may_reassign(&fixture, &team.manager_a, true).await;
    let moved = eventually(|| async { fixture.reassign(&team.manager_a, &id, team.user_a2.user_id).await.ok() }).await;
    assert_eq!(moved.assigned_to, Some(team.user_a2.user_id.to_string()));
    let refusal = fixture.reassign(&team.manager_a, &id, team.user_b1.user_id).await;
    assert_eq!(error_reason(refusal), Reason::AssignmentNotAllowed, "not among their reports");
    let refusal = fixture.reassign(&team.manager_a, &theirs, team.user_a1.user_id).await;
    assert_eq!(error_reason(refusal), Reason::TaskNotFound, "another team's task");
    may_reassign(&fixture, &team.manager_a, false).await;
    eventually(|| async {
        let refusal = fixture.reassign(&team.manager_a, &id, team.user_a1.user_id).await.err()?;
        (baton_testkit::reason(&refusal) == Some(Reason::ReassignmentNotAllowed)).then_some(())
    })
    .await;

    let request = UpdateSettingsRequest {
        account_id: team.account_id.to_string(),
        settings: Some(SettingsChange { managers_may_reassign: Some(true), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["managers_may_reassign".to_owned()] }),
    };
    let mut accounts = AccountServiceClient::new(fixture.context.tenancy());
    accounts.update_settings(fixture.call(&team.owner, request)).await.unwrap();
    eventually(|| async { fixture.reassign(&team.manager_b, &theirs, team.manager_b.user_id).await.ok() }).await;
}

async fn may_reassign(fixture: &Fixture, person: &Person, may: bool) {
    let update = "update tenancy.memberships set can_reassign_tasks = $3 where account_id = $1 and user_id = $2";
    let update = sqlx::query(update).bind(fixture.team.account_id).bind(person.user_id).bind(may);
    assert_eq!(update.execute(&fixture.context.admin()).await.unwrap().rows_affected(), 1);
}
