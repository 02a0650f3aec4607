//! Tests of rules: they say what would happen, and change nothing.

use baton_errors::Reason;
use baton_proto::{
    baton::{
        automation::v1::{ExecutionStatus, TestAutomationRequest, TestAutomationResponse, TriggerType},
        task::v1::{CreateTaskRequest, TaskPriority, TaskVisibility},
    },
    convert::to_object,
};
use baton_testkit::{Person, reason};
use serde_json::{Value, json};
use tonic::Status;

use crate::fixture::{Fixture, archiving, new_rule};

async fn test(
    fixture: &Fixture,
    person: &Person,
    message: TestAutomationRequest,
) -> Result<TestAutomationResponse, Status> {
    Ok(fixture.rules().test_automation(fixture.call(person, message)).await?.into_inner())
}

#[tokio::test]
async fn test_says_which_leaf_held_and_what_each_action_would_do() {
    let fixture = Fixture::start().await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let conditions = json!({"any": [{"priority": "high"}, {"not": {"tags": "vip"}}]});
    let actions = [
        json!({"type": "notify", "to": "me", "message": "{{title}}"}),
        json!({"type": "add_tag", "tag": "seen"}),
        json!({"type": "notify", "to": "manager", "message": "x"}),
        json!({"type": "set_status", "status": "archived"}),
    ];
    let new = new_rule(TriggerType::TaskUpdated, conditions, &actions);
    let own = fixture.create(ada, "Mine").await;
    let message = TestAutomationRequest { automation: Some(new), task_id: Some(own.id.clone()), ..Default::default() };
    let tested = test(&fixture, ada, message.clone()).await.unwrap();
    assert!(tested.matches);
    let leaves: Vec<_> = tested.conditions.iter().map(|leaf| (&*leaf.path, &*leaf.field, leaf.held)).collect();
    assert_eq!(leaves, [("any[0]", "priority", false), ("any[1].not", "tags", false)]);
    let values = Value::Object(to_object(tested.conditions[0].values.clone().unwrap()));
    assert_eq!(values, json!({"expected": "high", "actual": "medium"}));
    use ExecutionStatus::{Failed, Refused, Succeeded};
    let of = |tested: &TestAutomationResponse| {
        tested.actions.iter().map(|action| (action.outcome(), action.reason.clone())).collect::<Vec<_>>()
    };
    let nobody = (Failed, Some("MEMBER_NOT_FOUND".to_owned()));
    // From pending, a task is archived by canceling it first.
    assert_eq!(of(&tested), [(Succeeded, None), (Succeeded, None), nobody.clone(), (Succeeded, None)]);
    assert_eq!(tested.actions[1].description, "add the tag “seen”");

    let visibility = TaskVisibility::Account.into();
    let theirs = fixture
        .create_with(bob, CreateTaskRequest { title: "Theirs".to_owned(), visibility, ..Default::default() })
        .await;
    let tested = test(&fixture, ada, TestAutomationRequest { task_id: Some(theirs.id.clone()), ..message.clone() })
        .await
        .unwrap();
    let refused = (Refused, Some("TASK_CHANGE_NOT_ALLOWED".to_owned()));
    assert_eq!(of(&tested), [(Succeeded, None), refused.clone(), nobody, refused]);

    fixture.settle().await;
    assert!(fixture.messages(ada).await.is_empty());
    for (person, task) in [(ada, &own), (bob, &theirs)] {
        assert_eq!(fixture.get(person, &task.id).await.version, task.version);
    }
    let count = "select (select count(*) from automation.rules) + (select count(*) from automation.executions)";
    assert_eq!(fixture.all::<i64>(count).await, [0]);
}

#[tokio::test]
async fn test_needs_a_rule_and_a_task_that_the_caller_sees() {
    let fixture = Fixture::start().await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let rule = fixture.try_rule(ada, archiving()).await.unwrap();
    let own = fixture.create(ada, "Mine").await;
    let entry = fixture.timeline(ada, &own.id).await[0].id.clone();
    let nothing = uuid::Uuid::now_v7().to_string();
    let saved = || TestAutomationRequest {
        automation_id: Some(rule.id.clone()),
        task_id: Some(own.id.clone()),
        ..Default::default()
    };
    test(&fixture, ada, saved()).await.unwrap();
    let new =
        || TestAutomationRequest { automation: Some(archiving()), task_id: Some(own.id.clone()), ..Default::default() };
    for (person, message, expected) in [
        (bob, saved(), Reason::AutomationNotFound),
        (bob, new(), Reason::TaskNotFound),
        (ada, TestAutomationRequest { task_id: None, ..saved() }, Reason::ValidationFailed),
        (ada, TestAutomationRequest { automation: Some(archiving()), ..saved() }, Reason::ValidationFailed),
        (ada, TestAutomationRequest::default(), Reason::ValidationFailed),
        (ada, TestAutomationRequest { event_id: Some(entry.clone()), ..saved() }, Reason::ValidationFailed),
        (bob, TestAutomationRequest { task_id: None, event_id: Some(entry), ..new() }, Reason::TaskNotFound),
        (ada, TestAutomationRequest { task_id: None, event_id: Some(nothing), ..saved() }, Reason::TaskNotFound),
    ] {
        assert_eq!(reason(&test(&fixture, person, message).await.unwrap_err()), Some(expected));
    }
}

#[tokio::test]
async fn test_on_an_event_takes_the_task_as_it_was_then() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let task = fixture.create(ada, "Ship it").await;
    fixture.set_priority(ada, &task.id, TaskPriority::High).await;
    fixture.set_priority(ada, &task.id, TaskPriority::Low).await;
    fixture.touch(ada, &task.id, "Ship them").await;
    let tag = json!({"type": "add_tag", "tag": "seen"});
    let conditions =
        json!({"fields": ["priority"], "all": [{"title": "Ship it"}, {"priority": "high"}, {"blocked": false}]});
    let rule = new_rule(TriggerType::TaskUpdated, conditions, &[tag]);
    let (mut matches, mut leaves) = (Vec::new(), Vec::new());
    for entry in fixture.timeline(ada, &task.id).await {
        let message =
            TestAutomationRequest { automation: Some(rule.clone()), event_id: Some(entry.id), ..Default::default() };
        let tested = test(&fixture, ada, message).await.unwrap();
        matches.push(tested.matches);
        leaves.push(tested.conditions.iter().map(|leaf| leaf.held).collect::<Vec<_>>());
        assert_eq!(tested.actions[0].outcome(), ExecutionStatus::Succeeded);
    }
    // The task was created with another priority, and the last event changed another field.
    assert_eq!(matches, [false, true, false, false]);
    assert_eq!(leaves, [[true, false, true], [true, true, true], [true, false, true], [false, false, true]]);
}
