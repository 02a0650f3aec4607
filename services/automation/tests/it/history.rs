//! The history of rules: who sees it, filters, repetitions, and the events about it.

use baton_errors::Reason;
use baton_proto::{
    baton::{
        automation::v1::{
            AutomationEvent, ExecutionEvent, ExecutionStatus, ListExecutionsRequest, ListTaskExecutionsRequest,
            RetryExecutionRequest, TriggerType,
        },
        events::v1::Envelope,
        task::v1::{CreateTaskRequest, TaskVisibility},
    },
    convert::timestamp,
};
use baton_testkit::{Person, eventually, reason};
use chrono::{TimeDelta, Utc};
use prost::Message;
use serde_json::json;
use tonic::Status;
use uuid::Uuid;

use crate::fixture::{Fixture, outcomes};

async fn of_task(fixture: &Fixture, person: &Person, task_id: &str) -> Result<Vec<String>, Status> {
    let message = ListTaskExecutionsRequest { task_id: task_id.to_owned(), page: None };
    let response = fixture.executions().list_task_executions(fixture.call(person, message)).await?;
    Ok(response.into_inner().executions.into_iter().map(|execution| execution.automation_id).collect())
}

#[tokio::test]
async fn history_is_filtered_and_seen_by_whoever_sees_the_rule() {
    let fixture = Fixture::start().await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let rule =
        fixture.rule(ada, TriggerType::TaskCreated, json!({}), &[json!({"type": "add_tag", "tag": "new"})]).await;
    let own = fixture.create(ada, "Mine").await;
    // Executions of different tasks begin in any order.
    assert_eq!(fixture.ended(ada, &rule, 1).await.len(), 1);
    let visibility = TaskVisibility::Account.into();
    fixture.create_with(bob, CreateTaskRequest { title: "Theirs".to_owned(), visibility, ..Default::default() }).await;
    assert_eq!(fixture.ended(ada, &rule, 2).await.len(), 2);
    let list = async |person: &Person, status: ExecutionStatus, hours: Option<(i64, i64)>| {
        let time = |hours| Some(timestamp(Utc::now() + TimeDelta::hours(hours)));
        let message = ListExecutionsRequest {
            automation_id: rule.id.clone(),
            status: status.into(),
            from: hours.and_then(|(from, _)| time(from)),
            to: hours.and_then(|(_, to)| time(to)),
            page: None,
        };
        let response = fixture.executions().list_executions(fixture.call(person, message)).await?;
        Ok::<_, Status>(response.into_inner().executions.iter().map(|it| it.status()).collect::<Vec<_>>())
    };
    use ExecutionStatus::{Refused, Succeeded, Unspecified};
    assert_eq!(list(ada, Unspecified, None).await.unwrap(), [Refused, Succeeded]);
    assert_eq!(list(ada, Succeeded, Some((-1, 1))).await.unwrap(), [Succeeded]);
    assert_eq!(list(ada, Unspecified, Some((1, 2))).await.unwrap(), []);
    assert_eq!(list(&fixture.team.super_manager, Refused, None).await.unwrap(), [Refused]);
    let refused = list(bob, Unspecified, None).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::AutomationNotFound));

    // By task: one's own rules, and those of all for super managers; nothing of a task that one does not see.
    assert_eq!(of_task(&fixture, ada, &own.id).await.unwrap(), std::slice::from_ref(&rule.id));
    assert_eq!(of_task(&fixture, &fixture.team.manager_a, &own.id).await.unwrap(), Vec::<String>::new());
    assert_eq!(of_task(&fixture, &fixture.team.owner, &own.id).await.unwrap(), std::slice::from_ref(&rule.id));
    for id in [own.id, Uuid::now_v7().to_string()] {
        assert_eq!(reason(&of_task(&fixture, bob, &id).await.unwrap_err()), Some(Reason::TaskNotFound));
    }
}

#[tokio::test]
async fn repetition_does_what_did_not_succeed_and_nothing_twice() {
    let fixture = Fixture::start().await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let actions = [json!({"type": "add_comment", "message": "I see you"}), json!({"type": "add_tag", "tag": "hers"})];
    let rule = fixture.rule(ada, TriggerType::TaskCreated, json!({}), &actions).await;
    let visibility = TaskVisibility::Account.into();
    let new = CreateTaskRequest { title: "Theirs".to_owned(), visibility, ..Default::default() };
    let task = fixture.create_with(bob, new).await;
    let [execution] = &fixture.ended(ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!((execution.status(), outcomes(execution)[1].0), (ExecutionStatus::Partly, ExecutionStatus::Refused));
    let retry = async |person: &Person, execution_id: &str| {
        let message = RetryExecutionRequest { automation_id: rule.id.clone(), execution_id: execution_id.to_owned() };
        fixture.executions().retry_execution(fixture.call(person, message)).await
    };
    for (person, id, expected) in [
        (bob, execution.id.clone(), Reason::AutomationNotFound),
        (&fixture.team.owner, execution.id.clone(), Reason::AutomationChangeNotAllowed),
        (ada, Uuid::now_v7().to_string(), Reason::ExecutionNotFound),
    ] {
        assert_eq!(reason(&retry(person, &id).await.unwrap_err()), Some(expected));
    }
    // Now it is hers to do.
    sqlx::query("update task.tasks set created_by = $1")
        .bind(ada.user_id)
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    let again = retry(ada, &execution.id).await.unwrap().into_inner().execution.unwrap();
    assert_eq!(again.status(), ExecutionStatus::Running);
    let ended = eventually(|| async {
        let execution = fixture.history(ada, &rule).await.remove(0);
        execution.ended_at.is_some().then_some(execution)
    })
    .await;
    assert_eq!((ended.id.clone(), ended.status()), (execution.id.clone(), ExecutionStatus::Succeeded));
    assert_eq!(fixture.get(ada, &task.id).await.tags, ["hers"]);
    assert_eq!(fixture.all::<i64>("select count(*) from task.comments").await, [1]);
    let refused = retry(ada, &execution.id).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ExecutionNotRetryable));
}

#[tokio::test]
async fn events_and_stored_plans_carry_no_text() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let notify = json!({"type": "notify", "to": "me", "message": "Canary of {{title}}"});
    let rule = fixture.rule(ada, TriggerType::TaskCreated, json!({}), &[notify]).await;
    fixture.create(ada, "Canary").await;
    fixture.ended(ada, &rule, 1).await;
    fixture.toggle(ada, &rule, false).await.unwrap();
    let envelopes: Vec<Vec<u8>> = fixture.all("select envelope from automation.outbox order by position").await;
    let mut kinds = Vec::new();
    for envelope in &envelopes {
        assert!(
            !String::from_utf8_lossy(envelope).contains("Canary")
                && !String::from_utf8_lossy(envelope).contains("A rule")
        );
        let event = Envelope::decode(envelope.as_slice()).unwrap();
        let payload = event.payload.unwrap();
        if event.r#type == "automation.executed" {
            let executed: ExecutionEvent = payload.to_msg().unwrap();
            assert_eq!((executed.status(), executed.automation_id), (ExecutionStatus::Succeeded, rule.id.clone()));
        } else if event.r#type == "usage.changed" {
            continue;
        } else {
            let changed: AutomationEvent = payload.to_msg().unwrap();
            assert_eq!(changed.created_by, ada.user_id.to_string());
        }
        assert_eq!(event.actor_id, ada.user_id.to_string());
        kinds.push(event.r#type);
    }
    assert_eq!(kinds, ["automation.created", "automation.executed", "automation.disabled"]);
    let kept = "select count(*) from automation.executions where plan is not null or occurrence::text like '%Canary%'";
    assert_eq!(fixture.all::<i64>(kept).await, [0]);
}
