//! A rule does what its creator may do at that moment, and nothing more.

use std::time::{Duration, Instant};

use baton_errors::Reason;
use baton_proto::baton::{
    auth::v1::{DeactivateRequest, EndDelegationRequest, delegation_service_client::DelegationServiceClient},
    automation::v1::{
        AdoptAutomationRequest, Automation, ExecutionStatus, GetAutomationRequest, PausedReason, TriggerType,
    },
    task::v1::{
        CreateTaskRequest, SuggestAssigneesRequest, TaskVisibility, assignment_service_client::AssignmentServiceClient,
    },
    tenancy::v1::{RemoveMemberRequest, member_service_client::MemberServiceClient},
};
use baton_testkit::{Person, eventually, reason};
use serde_json::json;

use crate::fixture::{Fixture, outcomes};

/// The rule as its creator's super manager sees it.
async fn seen(fixture: &Fixture, rule: &Automation) -> Automation {
    let request = fixture.call(&fixture.team.super_manager, GetAutomationRequest { id: rule.id.clone() });
    fixture.rules().get_automation(request).await.unwrap().into_inner().automation.unwrap()
}

/// Waits until the rule is disabled because its creator may act no more, and its account's admins have been told.
async fn wait_until_left(fixture: &Fixture, rule: &Automation) -> Automation {
    let began = Instant::now();
    let disabled = eventually(|| async {
        let rule = seen(fixture, rule).await;
        (!rule.enabled).then_some(rule)
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(disabled.paused_reason(), PausedReason::CreatorLeft);
    for admin in [&fixture.team.owner, &fixture.team.super_manager] {
        let message = eventually(|| async { fixture.messages(admin).await.into_iter().next() }).await;
        let text = message.text.unwrap();
        assert!(text.contains("A rule") && text.contains("disabled"), "{text}");
    }
    disabled
}

async fn tagging(fixture: &Fixture, person: &Person) -> Automation {
    fixture
        .rule(
            person,
            TriggerType::TaskUpdated,
            json!({"fields": ["title"]}),
            &[json!({"type": "add_tag", "tag": "seen"})],
        )
        .await
}

#[tokio::test]
async fn task_that_the_creator_does_not_see_leaves_no_trace() {
    let fixture = Fixture::start().await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let rule = fixture
        .rule(
            ada,
            TriggerType::TaskCreated,
            json!({}),
            &[json!({"type": "notify", "to": "me", "message": "{{title}}"})],
        )
        .await;
    fixture.create(bob, "Secret").await;
    fixture.settle().await;
    assert!(fixture.history(ada, &rule).await.is_empty() && fixture.messages(ada).await.is_empty());
    assert_eq!(fixture.all::<i64>("select count(*) from automation.executions").await, [0]);
    // The same, but she sees it.
    let new = CreateTaskRequest {
        title: "Public".to_owned(),
        visibility: TaskVisibility::Account.into(),
        ..Default::default()
    };
    fixture.create_with(bob, new).await;
    fixture.ended(ada, &rule, 1).await;
    let message = eventually(|| async { fixture.messages(ada).await.into_iter().next() }).await;
    assert_eq!(message.text.as_deref(), Some("Public"));
}

#[tokio::test]
async fn what_the_creator_may_not_do_by_hand_is_refused_and_not_repeated() {
    let fixture = Fixture::start().await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let actions = [
        json!({"type": "set_field", "field": "priority", "value": "low", "continue": true}),
        json!({"type": "assign", "to": "me", "continue": true}),
        json!({"type": "archive", "continue": true}),
        json!({"type": "add_comment", "message": "I see you"}),
    ];
    let rule = fixture.rule(ada, TriggerType::TaskCreated, json!({}), &actions).await;
    let new = CreateTaskRequest {
        title: "Public".to_owned(),
        visibility: TaskVisibility::Account.into(),
        ..Default::default()
    };
    let task = fixture.create_with(bob, new).await;
    let [execution] = &fixture.ended(ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!(
        outcomes(execution),
        [
            (ExecutionStatus::Refused, Some("TASK_CHANGE_NOT_ALLOWED")),
            (ExecutionStatus::Refused, Some("PERMISSION_MISSING")),
            (ExecutionStatus::Refused, Some("TASK_CHANGE_NOT_ALLOWED")),
            (ExecutionStatus::Succeeded, None)
        ]
    );
    assert_eq!(execution.status(), ExecutionStatus::Partly);
    let after = fixture.get(bob, &task.id).await;
    assert_eq!((after.version, after.assigned_to), (task.version, None), "only the comment was made");
}

#[tokio::test]
async fn nobody_is_told_of_a_task_that_they_do_not_see() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    fixture.set_handle(&fixture.team.user_b1, "bob").await;
    let notify = json!({"type": "notify", "to": "@bob", "message": "{{title}}"});
    let rule = fixture.rule(ada, TriggerType::TaskCreated, json!({}), &[notify]).await;
    fixture.create(ada, "Private").await;
    let [execution] = &fixture.ended(ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!(outcomes(execution), [(ExecutionStatus::Failed, Some("MEMBER_NOT_FOUND"))]);
    assert!(fixture.messages(&fixture.team.user_b1).await.is_empty());
}

#[tokio::test]
async fn demotion_takes_the_rights_of_rules_with_it() {
    let fixture = Fixture::start().await;
    let boss = &fixture.team.manager_a;
    let assign = json!({"type": "assign", "to": "suggested"});
    let rule = fixture.rule(boss, TriggerType::TaskCreated, json!({}), &[assign]).await;
    let before = fixture.create(boss, "Before").await;
    assert_eq!(fixture.ended(boss, &rule, 1).await[0].status(), ExecutionStatus::Succeeded);
    sqlx::query("update tenancy.memberships set role = 'user' where user_id = $1")
        .bind(boss.user_id)
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    // Memberships are cached for a second.
    eventually(|| async {
        let message = SuggestAssigneesRequest { id: before.id.clone(), limit: None };
        let mut assignments = AssignmentServiceClient::new(fixture.task_channel());
        let refused = assignments.suggest_assignees(fixture.call(boss, message)).await.err()?;
        (reason(&refused) == Some(Reason::PermissionMissing)).then_some(())
    })
    .await;
    let task = fixture.create(boss, "After").await;
    fixture.settle().await;
    let execution =
        fixture.history(boss, &rule).await.into_iter().find(|it| it.task_id.as_ref() == Some(&task.id)).unwrap();
    assert_eq!(outcomes(&execution), [(ExecutionStatus::Refused, Some("PERMISSION_MISSING"))]);
    assert_eq!(fixture.get(boss, &task.id).await.assigned_to, None);
}

#[tokio::test]
async fn rules_of_a_removed_member_are_disabled_and_admins_are_told() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let rule = tagging(&fixture, ada).await;
    let task = fixture.create(ada, "Ship it").await;
    let message = RemoveMemberRequest {
        account_id: fixture.team.account_id.to_string(),
        user_id: ada.user_id.to_string(),
        ..Default::default()
    };
    let request = fixture.call(&fixture.team.owner, message);
    MemberServiceClient::new(fixture.context.tenancy()).remove_member(request).await.unwrap();
    let disabled = wait_until_left(&fixture, &rule).await;
    assert_eq!(disabled.version, 2);
    fixture.touch(&fixture.team.owner, &task.id, "Another title").await;
    fixture.settle().await;
    assert_eq!(fixture.get(&fixture.team.owner, &task.id).await.tags, Vec::<String>::new());
}

#[tokio::test]
async fn ended_grant_disables_the_rule_until_its_creator_enables_it_again() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let rule = tagging(&fixture, ada).await;
    let id: Vec<uuid::Uuid> = fixture.all("select id from auth.delegations").await;
    let request = ada.call_without_account(EndDelegationRequest { id: id[0].to_string() });
    DelegationServiceClient::new(fixture.context.auth()).end_delegation(request).await.unwrap();
    wait_until_left(&fixture, &rule).await;
    let enabled = fixture.toggle(ada, &rule, true).await.unwrap();
    assert_eq!((enabled.enabled, enabled.paused_reason()), (true, PausedReason::Unspecified));
    let task = fixture.create(ada, "Ship it").await;
    fixture.touch(ada, &task.id, "Ship it now").await;
    assert_eq!(fixture.ended(ada, &rule, 1).await[0].status(), ExecutionStatus::Succeeded);
}

#[tokio::test]
async fn adopted_rule_acts_with_the_rights_of_whoever_adopted_it() {
    let fixture = Fixture::start().await;
    let (ada, boss) = (&fixture.team.user_a1, &fixture.team.super_manager);
    let rule = tagging(&fixture, ada).await;
    let adopt = async |person: &Person| {
        let request = fixture.call(person, AdoptAutomationRequest { id: rule.id.clone() });
        Ok::<_, tonic::Status>(fixture.rules().adopt_automation(request).await?.into_inner().automation.unwrap())
    };
    assert_eq!(reason(&adopt(ada).await.unwrap_err()), Some(Reason::PermissionMissing));
    let grants: Vec<uuid::Uuid> = fixture.all("select id from auth.delegations").await;
    let request = ada.call_without_account(EndDelegationRequest { id: grants[0].to_string() });
    DelegationServiceClient::new(fixture.context.auth()).end_delegation(request).await.unwrap();
    wait_until_left(&fixture, &rule).await;
    for _ in 0..2 {
        let adopted = adopt(boss).await.unwrap();
        assert_eq!((adopted.enabled, adopted.created_by, adopted.version), (true, boss.user_id.to_string(), 3));
    }
    assert_eq!(fixture.all::<uuid::Uuid>("select user_id from auth.delegations").await, [boss.user_id]);
    let task = fixture.create(ada, "Ship it").await;
    fixture.touch(ada, &task.id, "Ship it now").await;
    assert_eq!(fixture.ended(boss, &rule, 1).await[0].status(), ExecutionStatus::Succeeded);
    let timeline = fixture.timeline(ada, &task.id).await;
    let last = timeline.iter().find(|entry| entry.via.is_some()).unwrap();
    assert_eq!(last.actor_id, boss.user_id.to_string());
    // It is not hers any more.
    let request = fixture.call(ada, GetAutomationRequest { id: rule.id.clone() });
    let gone = fixture.rules().get_automation(request).await.unwrap_err();
    assert_eq!(reason(&gone), Some(Reason::AutomationNotFound));
}

#[tokio::test]
async fn deactivated_creator_acts_no_more() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let rule = tagging(&fixture, ada).await;
    let message = DeactivateRequest { password: baton_testkit::PASSWORD.to_owned() };
    let mut users = baton_proto::baton::auth::v1::user_service_client::UserServiceClient::new(fixture.context.auth());
    users.deactivate(ada.call_without_account(message)).await.unwrap();
    wait_until_left(&fixture, &rule).await;
}

#[tokio::test]
async fn ten_refused_executions_in_a_row_pause_a_rule() {
    let fixture = Fixture::start().await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let rule =
        fixture.rule(ada, TriggerType::TaskCreated, json!({}), &[json!({"type": "add_tag", "tag": "mine"})]).await;
    let create = |title: String| {
        let visibility = TaskVisibility::Account.into();
        fixture.create_with(bob, CreateTaskRequest { title, visibility, ..Default::default() })
    };
    for n in 0..9 {
        create(format!("Theirs {n}")).await;
    }
    fixture.ended(ada, &rule, 9).await;
    // A success in between begins the count anew.
    fixture.create(ada, "Mine").await;
    assert_eq!(fixture.ended(ada, &rule, 10).await[0].status(), ExecutionStatus::Succeeded);
    for n in 0..10 {
        create(format!("Theirs again {n}")).await;
    }
    let paused = eventually(|| async {
        let rule = seen(&fixture, &rule).await;
        (!rule.enabled).then_some(rule)
    })
    .await;
    assert_eq!((paused.paused_reason(), paused.execution_count), (PausedReason::Refused, 20));
    let message = eventually(|| async { fixture.messages(ada).await.into_iter().next() }).await;
    assert!(message.text.unwrap().contains("ten times"));
    // Enabling it forgets them.
    fixture.toggle(ada, &rule, true).await.unwrap();
    create("Once more".to_owned()).await;
    fixture.ended(ada, &rule, 21).await;
    assert!(seen(&fixture, &rule).await.enabled);
}
