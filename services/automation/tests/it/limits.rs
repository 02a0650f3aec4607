//! Limits that stop loops.

use baton_proto::baton::automation::v1::{
    DeleteAutomationRequest, ExecutionStatus, GetAutomationRequest, PausedReason, TriggerType,
};
use baton_testkit::eventually;
use serde_json::json;

use crate::fixture::Fixture;

#[tokio::test]
async fn rule_does_not_run_on_what_it_caused_and_a_pair_that_undoes_each_other_ends() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let on = |field: &str| json!({"fields": [field]});
    let set = |priority: &str| json!({"type": "set_field", "field": "priority", "value": priority});
    let own =
        fixture.rule(ada, TriggerType::TaskUpdated, on("tags"), &[json!({"type": "add_tag", "tag": "seen"})]).await;
    let up = fixture
        .rule(ada, TriggerType::TaskUpdated, json!({"fields": ["priority"], "priority": "low"}), &[set("high")])
        .await;
    let down = fixture
        .rule(ada, TriggerType::TaskUpdated, json!({"fields": ["priority"], "priority": "high"}), &[set("low")])
        .await;
    let task = fixture.create(ada, "Ship it").await;
    // By hand once; the rest is theirs.
    fixture.set_priority_and_tag(ada, &task.id).await;
    fixture.settle().await;
    let depths = async |rule| {
        let mut depths: Vec<_> = fixture.history(ada, rule).await.iter().map(|it| (it.depth, it.status())).collect();
        depths.sort_unstable();
        depths
    };
    use ExecutionStatus::{Skipped, Succeeded};
    assert_eq!(depths(&own).await, [(1, Succeeded)], "its own tag runs it no more");
    assert_eq!(depths(&down).await, [(1, Succeeded), (3, Succeeded), (5, Succeeded)]);
    assert_eq!(depths(&up).await, [(2, Succeeded), (4, Succeeded), (6, Skipped)]);
}

#[tokio::test]
async fn rule_runs_ten_times_an_hour_on_one_task() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let comment = json!({"type": "add_comment", "message": "Again"});
    let rule = fixture.rule(ada, TriggerType::TaskUpdated, json!({"fields": ["title"]}), &[comment]).await;
    let (busy, other) = (fixture.create(ada, "Busy").await, fixture.create(ada, "Other").await);
    for n in 0..12 {
        fixture.touch(ada, &busy.id, &format!("Title {n}")).await;
    }
    fixture.touch(ada, &other.id, "Another title").await;
    fixture.settle().await;
    let executions = fixture.history(ada, &rule).await;
    let of = |id: &str, status| {
        executions.iter().filter(|it| it.task_id.as_deref() == Some(id) && it.status() == status).count()
    };
    assert_eq!(of(&busy.id, ExecutionStatus::Succeeded), 10);
    assert_eq!(of(&busy.id, ExecutionStatus::Skipped), 1, "one line a minute");
    assert_eq!(of(&other.id, ExecutionStatus::Succeeded), 1);
    let skipped = executions.iter().find(|it| it.status() == ExecutionStatus::Skipped).unwrap();
    assert_eq!(skipped.reason.as_deref(), Some("TASK_RATE_LIMIT"));
}

#[tokio::test]
async fn rule_runs_on_no_event_from_before_it_was_enabled() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let comment = json!({"type": "add_comment", "message": "Seen"});
    let rule = fixture.rule(ada, TriggerType::TaskUpdated, json!({"fields": ["title"]}), &[comment]).await;
    let task = fixture.create(ada, "Ship it").await;
    fixture.toggle(ada, &rule, false).await.unwrap();
    fixture.touch(ada, &task.id, "While it is disabled").await;
    fixture.settle().await;
    fixture.toggle(ada, &rule, true).await.unwrap();
    fixture.touch(ada, &task.id, "While it is enabled").await;
    fixture.settle().await;
    assert_eq!(fixture.ended(ada, &rule, 1).await.len(), 1);
    // One that comes late, after the rule was enabled.
    sqlx::query("update automation.rules set enabled_at = now() + interval '1 minute'")
        .execute(&fixture.context.admin())
        .await
        .unwrap();
    fixture.touch(ada, &task.id, "Before it was enabled").await;
    fixture.settle().await;
    assert_eq!(fixture.history(ada, &rule).await.len(), 1);
}

#[tokio::test]
async fn rule_that_keeps_running_into_its_limits_is_paused() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let comment = json!({"type": "add_comment", "message": "Again"});
    let rule = fixture.rule(ada, TriggerType::TaskUpdated, json!({"fields": ["title"]}), &[comment]).await;
    let task = fixture.create(ada, "Busy").await;
    for n in 0..11 {
        fixture.touch(ada, &task.id, &format!("Title {n}")).await;
    }
    fixture.settle().await;
    for minutes in [2, 1] {
        assert!(fixture.history(ada, &rule).await.iter().any(|it| it.status() == ExecutionStatus::Skipped));
        // As if that had been some minutes ago.
        sqlx::query("update automation.executions set started_at = started_at - make_interval(mins => $1) where status = 'skipped'")
            .bind(minutes)
            .execute(&fixture.context.admin())
            .await
            .unwrap();
        fixture.touch(ada, &task.id, &format!("{minutes} minutes later")).await;
        fixture.settle().await;
    }
    let request = fixture.call(ada, GetAutomationRequest { id: rule.id.clone() });
    let paused = fixture.rules().get_automation(request).await.unwrap().into_inner().automation.unwrap();
    assert_eq!((paused.enabled, paused.paused_reason()), (false, PausedReason::LoopSuspected));
    let message = eventually(|| async { fixture.messages(ada).await.into_iter().next() }).await;
    assert!(message.text.unwrap().contains("loop"));
}

#[tokio::test]
async fn rings_of_rules_end() {
    let fixture = Fixture::start().await;
    let person = &fixture.team.user_a1;
    for length in 1..=6 {
        let task = fixture.create(person, &format!("Ring {length} step 0")).await;
        let mut rules = Vec::new();
        for step in 0..length {
            let title = |step: usize| format!("Ring {length} step {}", step % length);
            let next = json!({"type": "set_field", "field": "title", "value": title(step + 1)});
            let conditions = json!({"fields": ["title"], "title": title(step)});
            rules.push(fixture.rule(person, TriggerType::TaskUpdated, conditions, &[next]).await);
        }
        // Into the ring from outside of it.
        fixture.touch(person, &task.id, "Elsewhere").await;
        fixture.settle().await;
        fixture.touch(person, &task.id, &format!("Ring {length} step 0")).await;
        fixture.settle().await;
        for rule in &rules {
            let executions = fixture.history(person, rule).await;
            let (over, within): (Vec<_>, Vec<_>) = executions.iter().partition(|execution| execution.depth > 5);
            assert!(within.len() <= 10, "a ring of {length}: {executions:?}");
            assert!(within.iter().all(|execution| execution.status() == ExecutionStatus::Succeeded));
            assert!(over.iter().all(|execution| execution.reason.as_deref() == Some("DEPTH_LIMIT")), "{over:?}");
            let delete = DeleteAutomationRequest { id: rule.id.clone() };
            fixture.rules().delete_automation(fixture.call(person, delete)).await.unwrap();
        }
    }
}
