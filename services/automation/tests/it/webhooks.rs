//! Rules that call URLs.

use std::sync::{Arc, Mutex};

use baton_errors::Reason;
use baton_proto::{
    baton::automation::v1::{
        Automation, AutomationChange, DeliveryStatus, Execution, ExecutionStatus, GetAutomationRequest, PausedReason,
        RetryExecutionRequest, TriggerType, UpdateAutomationRequest,
    },
    convert::to_object,
};
use baton_runtime::Clock;
use baton_testkit::{eventually, reason};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    fixture::{Fixture, new_rule},
    standard_webhooks::{headers, verify},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that answers with these statuses, the last one again and again, and notes heads and bodies.
#[derive(Clone)]
struct Receiver {
    url: String,
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl Receiver {
    async fn answering(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<(String, String)>>>::default();
        let (noted, statuses) = (Arc::clone(&requests), statuses.to_vec());
        tokio::spawn(async move {
            for nth in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                let (head, body) = loop {
                    let text = String::from_utf8_lossy(&request).into_owned();
                    if let Some((head, body)) = text.split_once("\r\n\r\n") {
                        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                        if body.len() == length.unwrap().parse::<usize>().unwrap() {
                            break (head.to_owned(), body.to_owned());
                        }
                    }
                    stream.read_buf(&mut request).await.unwrap();
                };
                noted.lock().unwrap().push((head, body));
                let status = statuses[nth.min(statuses.len() - 1)];
                let answer = format!("HTTP/1.1 {status} X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }
}

/// Services that may call this machine.
async fn start(clock: Clock) -> Fixture {
    let mut fixture = Fixture::start_without_notification(clock).await;
    fixture.env.set("BATON_OUTBOUND_ALLOWED_NETWORKS", "127.0.0.0/8".to_owned());
    fixture.start_notification(crate::fixture::listener().await).await;
    fixture.start_instance().await;
    fixture
}

fn call(url: &str) -> Value {
    json!({"type": "call_webhook", "url": url, "secret": SECRET, "fields": ["priority", "title"]})
}

async fn rule(fixture: &Fixture, url: &str) -> Automation {
    fixture.rule(&fixture.team.super_manager, TriggerType::TaskCreated, json!({}), &[call(url)]).await
}

/// Waits until the last attempt so far was made; returns the execution.
async fn delivered(fixture: &Fixture, rule: &Automation, status: DeliveryStatus) -> Execution {
    eventually(|| async {
        let execution = fixture.history(&fixture.team.super_manager, rule).await.into_iter().next()?;
        let delivery = execution.actions[0].delivery.clone()?;
        (delivery.status() == status).then_some(execution)
    })
    .await
}

async fn get(fixture: &Fixture, rule: &Automation) -> Automation {
    let message = GetAutomationRequest { id: rule.id.clone() };
    let call = fixture.call(&fixture.team.super_manager, message);
    fixture.rules().get_automation(call).await.unwrap().into_inner().automation.unwrap()
}

#[tokio::test]
async fn receiver_gets_a_signed_message_with_ids_and_the_chosen_fields() {
    let fixture = start(Clock::system()).await;
    let boss = &fixture.team.super_manager;
    let receiver = Receiver::answering(&[204]).await;
    let rule = rule(&fixture, &receiver.url).await;
    let action = Value::Object(to_object(rule.actions[0].clone()));
    assert_eq!(action, json!({"type": "call_webhook", "url": receiver.url, "fields": ["priority", "title"]}));
    let task = fixture.create(boss, "Ship it").await;
    let execution = delivered(&fixture, &rule, DeliveryStatus::Delivered).await;
    let delivery = execution.actions[0].delivery.clone().unwrap();
    assert_eq!(
        (execution.status(), delivery.attempts, delivery.status_code),
        (ExecutionStatus::Succeeded, 1, Some(204))
    );
    let [(head, body)] = &receiver.requests()[..] else { panic!("one request") };
    let data = json!({"account_id": fixture.team.account_id, "automation_id": rule.id, "execution_id": execution.id,
                      "event_id": execution.event_id, "task_id": task.id,
                      "fields": {"priority": "medium", "title": "Ship it"}});
    let verified = verify(SECRET, &headers(head), body);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let message: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!((&message["type"], &message["data"]), (&json!("task.created"), &data));
    assert_eq!(header(head, "webhook-id"), delivery.id);
    // Nothing of what was sent is left, and the secret is nowhere in clear.
    let left: i64 = sqlx::query_scalar(
        "select count(*) from automation.webhook_deliveries where url is not null or payload is not null",
    )
    .fetch_one(&fixture.context.admin())
    .await
    .unwrap();
    let clear: i64 =
        sqlx::query_scalar("select count(*) from automation.rules where actions::text like '%' || $1 || '%'")
            .bind(SECRET)
            .fetch_one(&fixture.context.admin())
            .await
            .unwrap();
    assert_eq!((left, clear), (0, 0));
}

#[tokio::test]
async fn five_attempts_are_made_in_eight_hours_and_then_the_action_has_failed_and_can_be_repeated() {
    let fixture = start(Clock::fixed(Clock::system().now())).await;
    let boss = &fixture.team.super_manager;
    // A redirect is no acceptance, and is not followed.
    let receiver = Receiver::answering(&[500, 302, 429, 404, 500, 200]).await;
    let rule = rule(&fixture, &receiver.url).await;
    fixture.create(boss, "Ship it").await;
    let made = async |attempts: usize| {
        eventually(|| async { (receiver.requests().len() == attempts).then_some(()) }).await;
        fixture.settle().await;
    };
    made(1).await;
    for (attempts, later) in [(2, 60), (3, 600), (4, 3_600), (5, 24_540)] {
        fixture.clock.advance(TimeDelta::seconds(later - 1));
        fixture.settle().await;
        assert_eq!(receiver.requests().len(), attempts - 1, "not yet");
        fixture.clock.advance(TimeDelta::seconds(1));
        made(attempts).await;
    }
    let execution = delivered(&fixture, &rule, DeliveryStatus::Failed).await;
    assert_eq!((execution.status(), execution.reason.as_deref()), (ExecutionStatus::Failed, Some("WEBHOOK_FAILED")));
    let ids: Vec<String> = receiver.requests().iter().map(|(head, _)| header(head, "webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    fixture.clock.advance(TimeDelta::days(1));
    fixture.settle().await;
    assert_eq!(receiver.requests().len(), 5);
    // By hand once more: another message.
    let message = RetryExecutionRequest { automation_id: rule.id.clone(), execution_id: execution.id.clone() };
    fixture.executions().retry_execution(fixture.call(boss, message)).await.unwrap();
    let execution = delivered(&fixture, &rule, DeliveryStatus::Delivered).await;
    assert_eq!(execution.status(), ExecutionStatus::Succeeded);
    assert_ne!(header(&receiver.requests()[5].0, "webhook-id"), ids[0]);
}

fn header(head: &str, name: &str) -> String {
    head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap().to_owned()
}

#[tokio::test]
async fn receiver_that_is_gone_disables_the_rule() {
    let fixture = start(Clock::system()).await;
    let receiver = Receiver::answering(&[410]).await;
    let rule = rule(&fixture, &receiver.url).await;
    fixture.create(&fixture.team.super_manager, "Ship it").await;
    let execution = delivered(&fixture, &rule, DeliveryStatus::Failed).await;
    assert_eq!(execution.actions[0].delivery.as_ref().unwrap().reason.as_deref(), Some("gone"));
    let rule = get(&fixture, &rule).await;
    assert_eq!((rule.enabled, rule.paused_reason()), (false, PausedReason::WebhookGone));
}

#[tokio::test]
async fn only_super_managers_let_rules_call_urls_and_only_public_ones() {
    let fixture = Fixture::start().await;
    let (ada, boss) = (&fixture.team.manager_a, &fixture.team.super_manager);
    let try_call = async |person, action: Value| {
        fixture.try_rule(person, new_rule(TriggerType::TaskCreated, json!({}), &[action])).await
    };
    let refused = try_call(ada, call("https://example.com/")).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::WebhookNotAllowed));
    for (member, value) in [
        ("url", json!("http://example.com/")),
        ("url", json!("https://127.0.0.1/")),
        ("url", json!("https://169.254.169.254/latest/meta-data")),
        ("url", json!("https://[::ffff:10.0.0.1]/")),
        ("secret", json!("secret")),
        ("secret", Value::Null),
        ("sealed_secret", json!("AAAA")),
        ("fields", json!(["colour"])),
    ] {
        let mut action = call("https://example.com/");
        action[member] = value;
        let refused = try_call(boss, action.clone()).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::ValidationFailed), "{action}");
        assert!(format!("{refused:?}").contains(&format!("actions[0].{member}")), "{action}: {refused:?}");
    }
    // An action that is saved again keeps its secret; one with another URL needs one.
    let rule = try_call(boss, call("https://example.com/")).await.unwrap();
    let update = async |url: &str| {
        let mut action = to_object(rule.actions[0].clone());
        action.insert("url".to_owned(), json!(url));
        action.insert("fields".to_owned(), json!(["status"]));
        let change = AutomationChange { actions: vec![baton_proto::convert::to_struct(action)], ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["actions".to_owned()] });
        let message = UpdateAutomationRequest { id: rule.id.clone(), automation: Some(change), update_mask };
        fixture.rules().update_automation(fixture.call(boss, message)).await
    };
    update("https://example.com/").await.unwrap();
    assert_eq!(reason(&update("https://example.org/").await.unwrap_err()), Some(Reason::ValidationFailed));
}

#[tokio::test]
async fn disabled_rule_and_demoted_creator_send_nothing_more() {
    let fixture = start(Clock::fixed(Clock::system().now())).await;
    let boss = &fixture.team.super_manager;
    let receiver = Receiver::answering(&[500]).await;
    let rule = rule(&fixture, &receiver.url).await;
    fixture.create(boss, "Ship it").await;
    eventually(|| async { (receiver.requests().len() == 1).then_some(()) }).await;
    fixture.settle().await;
    fixture.toggle(boss, &rule, false).await.unwrap();
    delivered(&fixture, &rule, DeliveryStatus::Canceled).await;
    fixture.toggle(boss, &rule, true).await.unwrap();
    fixture.clock.advance(TimeDelta::hours(9));
    fixture.settle().await;
    assert_eq!(receiver.requests().len(), 1);
    fixture.create(boss, "Another").await;
    eventually(|| async { (receiver.requests().len() == 2).then_some(()) }).await;
    fixture.settle().await;
    sqlx::query("update tenancy.memberships set role = 'manager' where user_id = $1")
        .bind(boss.user_id)
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    fixture.clock.advance(TimeDelta::hours(9));
    eventually(|| async {
        let mut tx = fixture.context.admin().begin().await.unwrap();
        let reasons: Vec<Option<String>> =
            sqlx::query_scalar("select reason from automation.webhook_deliveries where status = 'failed'")
                .fetch_all(&mut *tx)
                .await
                .unwrap();
        (reasons == [Some("WEBHOOK_NOT_ALLOWED".to_owned())]).then_some(())
    })
    .await;
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test]
async fn receiver_that_refuses_delays_no_other() {
    let fixture = start(Clock::fixed(Clock::system().now())).await;
    let boss = &fixture.team.super_manager;
    let (refuses, accepts) = (Receiver::answering(&[500]).await, Receiver::answering(&[200]).await);
    rule(&fixture, &refuses.url).await;
    fixture.create(boss, "First").await;
    eventually(|| async { (refuses.requests().len() == 1).then_some(()) }).await;
    // The second attempt waits for a minute, which never comes.
    let accepted = rule(&fixture, &accepts.url).await;
    fixture.create(boss, "Second").await;
    delivered(&fixture, &accepted, DeliveryStatus::Delivered).await;
}

#[tokio::test]
async fn loop_through_a_receiver_ends() {
    let fixture = start(Clock::system()).await;
    let boss = &fixture.team.super_manager;
    let receiver = Receiver::answering(&[200]).await;
    let rule = fixture.rule(boss, TriggerType::TaskUpdated, json!({"fields": ["title"]}), &[call(&receiver.url)]).await;
    let task = fixture.create(boss, "Ship it").await;
    fixture.touch(boss, &task.id, "Title 0").await;
    // The receiver changes the task by hand, or with an API key: a new chain of causes each time.
    for nth in 1..=10 {
        eventually(|| async { (receiver.requests().len() == nth).then_some(()) }).await;
        fixture.touch(boss, &task.id, &format!("Title {nth}")).await;
    }
    fixture.settle().await;
    assert_eq!(receiver.requests().len(), 10);
    let last = fixture.history(boss, &rule).await.remove(0);
    assert_eq!((last.status(), last.reason.as_deref()), (ExecutionStatus::Skipped, Some("TASK_RATE_LIMIT")));
}
