//! Disabling a rule, outages, and several instances.

use baton_proto::baton::{
    automation::v1::{AutomationChange, ExecutionStatus, RetryExecutionRequest, TriggerType, UpdateAutomationRequest},
    task::v1::CreateTaskRequest,
};
use baton_runtime::Clock;
use baton_testkit::eventually;
use futures_util::future::join_all;
use serde_json::json;

use crate::fixture::{Fixture, listener};

#[tokio::test]
async fn after_a_rule_was_disabled_none_of_its_actions_begins() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let actions: Vec<_> = (0..5).map(|n| json!({"type": "add_tag", "tag": format!("t{n}")})).collect();
    let rule = fixture.rule(ada, TriggerType::TaskCreated, json!({}), &actions).await;
    join_all(
        (0..20)
            .map(|n| fixture.create_with(ada, CreateTaskRequest { title: format!("Task {n}"), ..Default::default() })),
    )
    .await;
    // Some have begun.
    eventually(|| async { (!fixture.history(ada, &rule).await.is_empty()).then_some(()) }).await;
    fixture.toggle(ada, &rule, false).await.unwrap();
    let versions = "select sum(version)::bigint from task.tasks";
    let at_once: Vec<i64> = fixture.all(versions).await;
    fixture.settle().await;
    assert_eq!(fixture.all::<i64>(versions).await, at_once, "something was changed after the call");
    let history = fixture.history(ada, &rule).await;
    assert!(history.iter().all(|it| it.ended_at.is_some()), "{history:?}");
    assert!(history.iter().any(|it| it.status() == ExecutionStatus::Canceled) || history.len() < 20, "{history:?}");
}

#[tokio::test]
async fn two_instances_run_a_rule_once_per_event() {
    let mut fixture = Fixture::start().await;
    fixture.start_instance().await;
    let ada = fixture.team.user_a1.clone();
    let comment = json!({"type": "add_comment", "message": "Once"});
    let rule = fixture.rule(&ada, TriggerType::TaskCreated, json!({}), &[comment]).await;
    join_all(
        (0..30)
            .map(|n| fixture.create_with(&ada, CreateTaskRequest { title: format!("Task {n}"), ..Default::default() })),
    )
    .await;
    fixture.settle().await;
    assert_eq!(fixture.all::<i64>("select count(*) from task.comments").await, [30]);
    let executed = "select count(*) from automation.executions where status = 'succeeded'";
    assert_eq!(fixture.all::<i64>(executed).await, [30]);
    let count = "select execution_count::bigint from automation.rules";
    assert_eq!((fixture.all::<i64>(count).await, rule.version), (vec![30], 1));
}

#[tokio::test]
async fn interrupted_execution_goes_on_with_the_calls_that_it_had_planned() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let actions =
        [json!({"type": "add_comment", "message": "First"}), json!({"type": "add_comment", "message": "Second"})];
    let rule = fixture.rule(ada, TriggerType::TaskCreated, json!({}), &actions).await;
    let task = fixture.create(ada, "Ship it").await;
    let [execution] = &fixture.ended(ada, &rule, 1).await[..] else { panic!("one execution") };
    // As if the process had died after the second call and before its outcome was stored.
    let mut tx = fixture.context.admin().begin().await.unwrap();
    sqlx::query(
        "update automation.executions
         set status = 'running', ended_at = null, actions = jsonb_set(actions, '{1,outcome}', '\"running\"'),
             plan = '{\"action\": 1, \"calls\": [{\"call\": \"comment\", \"body\": \"Second\"}]}', acting_until = now() + interval '1 second'",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "insert into automation.jobs (id, kind, payload)
         select gen_random_uuid(), 'automation.run', jsonb_build_object('account_id', account_id, 'rule_id', rule_id, 'occurrence', occurrence, 'enqueued_at', now())
         from automation.executions",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let again = eventually(|| async {
        let again = fixture.history(ada, &rule).await.remove(0);
        (again.ended_at.is_some() && again.ended_at != execution.ended_at).then_some(again)
    })
    .await;
    assert_eq!(again.status(), ExecutionStatus::Succeeded);
    assert_eq!(fixture.ended(ada, &rule, 1).await.len(), 1);
    assert_eq!(fixture.all::<i64>("select count(*) from task.comments").await, [2], "{}", task.id);
}

#[tokio::test]
async fn execution_goes_on_when_the_service_that_it_needs_is_back() {
    let mut fixture = Fixture::start_without_notification(Clock::system()).await;
    // Nobody listens there for now.
    let address = listener().await.local_addr().unwrap();
    fixture.env.set("BATON_NOTIFICATION_URL", format!("http://{address}"));
    fixture.start_instance().await;
    fixture.context.expect_failures();
    let ada = fixture.team.user_a1.clone();
    let actions = [
        json!({"type": "add_comment", "message": "Before"}),
        json!({"type": "notify", "to": "me", "message": "{{title}}"}),
        json!({"type": "add_comment", "message": "After"}),
    ];
    let rule = fixture.rule(&ada, TriggerType::TaskCreated, json!({}), &actions).await;
    let task = fixture.create(&ada, "Ship it").await;
    eventually(|| async {
        let failed =
            "select count(*) from automation.jobs where kind = 'automation.run' and attempts > 0 and run_at > now()";
        let history = fixture.history(&ada, &rule).await;
        let is_half_done = history.first().is_some_and(|it| it.actions[0].outcome() == ExecutionStatus::Succeeded);
        (is_half_done && fixture.all::<i64>(failed).await == [1]).then_some(())
    })
    .await;
    assert_eq!(fixture.history(&ada, &rule).await[0].status(), ExecutionStatus::Running);
    fixture.start_notification(tokio::net::TcpListener::bind(address).await.unwrap()).await;
    let [execution] = &fixture.ended(&ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!(execution.status(), ExecutionStatus::Succeeded);
    assert_eq!(fixture.messages(&ada).await.len(), 1);
    assert_eq!(fixture.all::<i64>("select count(*) from task.comments").await, [2], "{}", task.id);
}

#[tokio::test]
async fn execution_gives_up_after_an_hour_and_its_repetition_does_what_is_left() {
    let mut fixture = Fixture::start_without_notification(Clock::system()).await;
    let address = listener().await.local_addr().unwrap();
    fixture.env.set("BATON_NOTIFICATION_URL", format!("http://{address}"));
    fixture.start_instance().await;
    fixture.context.expect_failures();
    let ada = fixture.team.user_a1.clone();
    let notify = json!({"type": "notify", "to": "me", "message": "{{title}}"});
    let rule = fixture.rule(&ada, TriggerType::TaskCreated, json!({}), &[notify]).await;
    fixture.create(&ada, "Ship it").await;
    eventually(|| async { (!fixture.history(&ada, &rule).await.is_empty()).then_some(()) }).await;
    sqlx::query("update automation.executions set started_at = started_at - interval '1 hour'")
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    let [execution] = &fixture.ended(&ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!((execution.status(), execution.reason.as_deref()), (ExecutionStatus::Failed, Some("UNAVAILABLE")));
    fixture.start_notification(tokio::net::TcpListener::bind(address).await.unwrap()).await;
    let message = RetryExecutionRequest { automation_id: rule.id.clone(), execution_id: execution.id.clone() };
    fixture.executions().retry_execution(fixture.call(&ada, message)).await.unwrap();
    let again = fixture.ended(&ada, &rule, 1).await;
    assert_eq!((again.len(), again[0].status()), (1, ExecutionStatus::Succeeded));
    assert_eq!(fixture.messages(&ada).await.len(), 1);
}

#[tokio::test]
async fn change_of_a_rule_ends_what_had_begun_before() {
    let mut fixture = Fixture::start_without_notification(Clock::system()).await;
    let address = listener().await.local_addr().unwrap();
    fixture.env.set("BATON_NOTIFICATION_URL", format!("http://{address}"));
    fixture.start_instance().await;
    fixture.context.expect_failures();
    let ada = fixture.team.user_a1.clone();
    let actions = [json!({"type": "notify", "to": "me", "message": "{{title}}"}), json!({"type": "archive"})];
    let rule = fixture.rule(&ada, TriggerType::TaskCreated, json!({}), &actions).await;
    fixture.create(&ada, "Ship it").await;
    eventually(|| async { (!fixture.history(&ada, &rule).await.is_empty()).then_some(()) }).await;
    let change = async |path: &str, change: AutomationChange| {
        let update_mask = Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
        let message = UpdateAutomationRequest { id: rule.id.clone(), automation: Some(change), update_mask };
        fixture.rules().update_automation(fixture.call(&ada, message)).await.unwrap();
    };
    // A name changes nothing of what it does.
    change("name", AutomationChange { name: "Another".to_owned(), ..Default::default() }).await;
    let archive = json!({"type": "archive"}).as_object().unwrap().clone();
    let actions = vec![baton_proto::convert::to_struct(archive)];
    change("actions", AutomationChange { actions, ..Default::default() }).await;
    let [execution] = &fixture.ended(&ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!(execution.status(), ExecutionStatus::Canceled);
}
