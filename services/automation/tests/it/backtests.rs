//! Backtests: what a rule would have done is what it does.

use std::collections::HashSet;

use baton_errors::Reason;
use baton_proto::{
    baton::{
        automation::v1::{
            BacktestAutomationRequest, BacktestAutomationResponse, CreateAutomationRequest, TestAutomationRequest,
            TriggerType,
        },
        task::v1::{CreateTaskRequest, ResumeTaskRequest, Task, TaskPriority},
    },
    convert::{datetime, timestamp},
};
use baton_runtime::Clock;
use baton_testkit::{Person, reason};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::fixture::{Fixture, new_rule};

/// Rules of the week that run at once.
const AT_ONCE: usize = 5;

async fn backtest(
    fixture: &Fixture,
    person: &Person,
    rule: &CreateAutomationRequest,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<BacktestAutomationResponse, tonic::Status> {
    let message = BacktestAutomationRequest {
        automation: Some(rule.clone()),
        automation_id: None,
        from: Some(timestamp(from)),
        to: Some(timestamp(to)),
    };
    Ok(fixture.rules().backtest_automation(fixture.call(person, message)).await?.into_inner())
}

/// The tasks and types of the events since `seen` on which tests of these rules say that they would run.
async fn tested(
    fixture: &Fixture,
    person: &Person,
    rules: &[CreateAutomationRequest],
    tasks: &[Task],
    seen: &mut HashSet<String>,
) -> Vec<(usize, String, String)> {
    let mut matching = Vec::new();
    for task in tasks {
        for entry in fixture.timeline(person, &task.id).await {
            if !seen.insert(entry.id.clone()) {
                continue;
            }
            for (nth, rule) in rules.iter().enumerate() {
                let message = TestAutomationRequest {
                    automation: Some(rule.clone()),
                    event_id: Some(entry.id.clone()),
                    ..Default::default()
                };
                let tested = fixture.rules().test_automation(fixture.call(person, message)).await.unwrap().into_inner();
                if tested.matches {
                    let kind = format!("task.{}", entry.kind().as_str_name().trim_start_matches("TASK_EVENT_KIND_"));
                    matching.push((nth, task.id.clone(), kind.to_lowercase()));
                }
            }
        }
    }
    matching
}

/// Rows of the service's tables.
async fn rows(fixture: &Fixture) -> i64 {
    let counts: Vec<i64> = fixture
        .all(
            "select (select count(*) from automation.rules) + (select count(*) from automation.executions)
                    + (select count(*) from automation.timers) + (select count(*) from automation.jobs)",
        )
        .await;
    counts[0]
}

/// A week of work on some tasks, with several rules, replayed afterwards.
#[tokio::test]
async fn backtest_finds_the_executions_of_a_week() {
    let fixture = Fixture::start_at(Clock::fixed(Clock::system().now())).await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let comment = json!({"type": "add_comment", "message": "Noted"});
    let rules: Vec<CreateAutomationRequest> = [
        (TriggerType::TaskPaused, json!({})),
        (TriggerType::TaskPaused, json!({"priority": "high"})),
        (TriggerType::TaskStatusChanged, json!({"to": "in_progress"})),
        (
            TriggerType::TaskUpdated,
            json!({"fields": ["priority"], "field": "assignee", "op": "is_empty", "value": true}),
        ),
        (TriggerType::TaskUpdated, json!({"fields": ["tags"]})),
        (TriggerType::TaskPaused, json!({"for_seconds": 7_200})),
        (TriggerType::TaskPaused, json!({"for_seconds": 7_200, "title": "Task 1"})),
        (TriggerType::TaskDueSoon, json!({"before_seconds": 86_400})),
    ]
    .into_iter()
    .map(|(trigger, conditions): (_, Value)| new_rule(trigger, conditions, std::slice::from_ref(&comment)))
    .collect();
    let mut saved = Vec::new();
    for rule in &rules {
        saved.push(fixture.try_rule(ada, rule.clone()).await.unwrap());
    }
    let from = fixture.clock.now();
    let later = async |hours: i64| {
        fixture.settle().await;
        fixture.clock.advance(TimeDelta::hours(hours));
        fixture.settle().await;
    };
    // Those that run at once can be tested on each event, too.
    let at_once = &rules[..AT_ONCE];
    let (mut seen, mut predicted) = (HashSet::new(), Vec::new());
    let mut tasks = Vec::new();
    for n in 0..3 {
        let due_at = Some(timestamp(fixture.clock.now() + TimeDelta::hours(40 + n)));
        let new = CreateTaskRequest { title: format!("Task {n}"), due_at, ..Default::default() };
        tasks.push(fixture.create_with(ada, new).await);
    }
    // Others' tasks are neither seen then nor now.
    let theirs = fixture.create(bob, "Theirs").await;
    fixture.pause(bob, &theirs.id).await;
    let resume = async |id: &str| {
        fixture.tasks().resume_task(fixture.call(ada, ResumeTaskRequest { id: id.to_owned() })).await.unwrap();
    };
    for day in 0..7 {
        let (one, other) = (&tasks[day % 3].id, &tasks[(day + 1) % 3].id);
        if day < 3 {
            fixture.pause(ada, one).await;
        } else {
            resume(one).await;
            fixture.pause_again(ada, one).await;
        }
        later(1).await;
        let priority = if day % 2 == 0 { TaskPriority::High } else { TaskPriority::Low };
        fixture.set_priority(ada, other, priority).await;
        if day == 4 {
            resume(one).await;
            later(1).await;
            fixture.pause_again(ada, one).await;
        }
        predicted.extend(tested(&fixture, ada, at_once, &tasks, &mut seen).await);
        later(23).await;
    }
    fixture.set_priority_and_tag(ada, &tasks[0].id).await;
    fixture.settle().await;
    predicted.extend(tested(&fixture, ada, at_once, &tasks, &mut seen).await);
    // The end itself is left out.
    fixture.clock.advance(TimeDelta::seconds(1));
    let to = fixture.clock.now();
    let before = rows(&fixture).await;
    for (nth, (rule, saved)) in rules.iter().zip(&saved).enumerate() {
        let found = backtest(&fixture, ada, rule, (from, to)).await.unwrap();
        let replayed = found.first.iter().map(|found| (found.task_id.clone(), found.event_type.clone()));
        let mut replayed: Vec<(String, String)> = replayed.collect();
        let real = fixture.history(ada, saved).await.into_iter();
        let mut real: Vec<_> = real.map(|execution| (execution.task_id.unwrap(), execution.event_type)).collect();
        replayed.sort();
        real.sort();
        assert!(!real.is_empty(), "{}", found.sentence);
        assert_eq!(replayed, real, "{}", found.sentence);
        if nth < AT_ONCE {
            let mut predicted: Vec<_> =
                predicted.iter().filter(|it| it.0 == nth).map(|(_, task, kind)| (task.clone(), kind.clone())).collect();
            predicted.sort();
            assert_eq!(predicted, real, "{}", found.sentence);
        }
        assert_eq!(found.days.iter().map(|day| day.matches).sum::<i32>(), found.matches);
        let times: Vec<_> = found.first.iter().map(|found| found.at.as_ref().and_then(datetime).unwrap()).collect();
        assert!(times.is_sorted() && times.iter().all(|time| (from..=to).contains(time)));
    }
    assert_eq!(rows(&fixture).await, before, "nothing is written");
    // For somebody else, it is their tasks.
    let found = backtest(&fixture, bob, &rules[0], (from, to)).await.unwrap();
    assert_eq!(found.first.iter().map(|found| &found.task_id).collect::<Vec<_>>(), [&theirs.id]);
}

#[tokio::test]
async fn backtest_has_bounds() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let now = fixture.clock.now();
    let archive = json!({"type": "archive"});
    let rule = new_rule(TriggerType::TaskPaused, json!({}), std::slice::from_ref(&archive));
    for (from, to) in [
        (now - TimeDelta::days(31), now - TimeDelta::seconds(1)),
        (now - TimeDelta::days(1), now + TimeDelta::days(1)),
        (now - TimeDelta::days(1), now - TimeDelta::days(1)),
    ] {
        let refused = backtest(&fixture, ada, &rule, (from, to)).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::ValidationFailed), "{from} {to}");
    }
    let commented = new_rule(TriggerType::TaskCommented, json!({}), &[archive]);
    let refused = backtest(&fixture, ada, &commented, (now - TimeDelta::days(1), now)).await.unwrap_err();
    assert!(format!("{refused:?}").contains("automation.trigger_type"), "{refused:?}");
    assert_eq!(backtest(&fixture, ada, &rule, (now - TimeDelta::days(30), now)).await.unwrap().matches, 0);
}

/// Gives a task so many changes of its priority in the past.
async fn change_often(fixture: &Fixture, task: &Task, changes: i32) {
    sqlx::query(
        "insert into task.task_events (id, account_id, task_id, version, kind, actor_id, occurred_at, changes)
         select gen_random_uuid(), $1, $2, 1 + nth, 'updated', $3, now() - interval '1 hour',
                jsonb_build_object('priority', case when nth % 2 = 0 then 'low' else 'high' end)
         from generate_series(1, $4) nth",
    )
    .bind(fixture.team.account_id)
    .bind(task.id.parse::<uuid::Uuid>().unwrap())
    .bind(fixture.team.user_a1.user_id)
    .bind(changes)
    .execute(&fixture.context.admin())
    .await
    .unwrap();
}

#[tokio::test]
async fn account_runs_one_backtest_at_a_time_and_none_that_is_too_large() {
    let fixture = Fixture::start().await;
    let (ada, boss) = (&fixture.team.user_a1, &fixture.team.super_manager);
    let now = fixture.clock.now();
    let past = (now - TimeDelta::days(1), now);
    let archive = json!({"type": "archive"});
    let conditions = json!({"fields": ["priority"], "priority": "high"});
    let rule = new_rule(TriggerType::TaskUpdated, conditions, &[archive]);
    let task = fixture.create(ada, "Changed often").await;
    change_often(&fixture, &task, 20_000).await;
    // Of two at once, the one that comes second is refused.
    let (one, other) = tokio::join!(backtest(&fixture, ada, &rule, past), backtest(&fixture, boss, &rule, past));
    let (found, refused): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
    let [Ok(found)] = &found[..] else { panic!("one is found: {refused:?}") };
    let [Err(refused)] = &refused[..] else { panic!("one is refused") };
    assert_eq!((found.events, reason(refused)), (20_000, Some(Reason::Busy)));
    assert_eq!(found.matches, 10, "ten times an hour on one task");
    backtest(&fixture, boss, &rule, past).await.unwrap();

    let task = fixture.create(ada, "Changed even more often").await;
    change_often(&fixture, &task, 80_001).await;
    let refused = backtest(&fixture, ada, &rule, past).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::BacktestTooLarge));
    let details = format!("{:?}", tonic_types::StatusExt::get_error_details(&refused));
    assert!(details.contains("100001") && details.contains("100000"), "{details}");
}
