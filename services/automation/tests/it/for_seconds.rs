//! Rules that wait for a state to last.

use baton_proto::{
    baton::{
        automation::v1::{ExecutionStatus, TriggerType},
        task::v1::{CreateTaskRequest, ResumeTaskRequest, TaskChange, TaskPriority, UpdateTaskRequest},
    },
    convert::timestamp,
};
use baton_runtime::Clock;
use baton_testkit::eventually;
use chrono::TimeDelta;
use serde_json::json;

use crate::fixture::Fixture;

const TWO_HOURS: i64 = 7_200;

/// Waits until the events so far were taken in, and moves the clock.
async fn later(fixture: &Fixture, seconds: i64) {
    fixture.settle().await;
    fixture.clock.advance(TimeDelta::seconds(seconds));
    fixture.settle().await;
}

#[tokio::test]
async fn task_paused_for_two_hours_notifies_the_manager_of_its_assignee() {
    let fixture = Fixture::start_at(Clock::fixed(Clock::system().now())).await;
    let (ada, boss) = (&fixture.team.user_a1, &fixture.team.manager_a);
    let conditions = json!({"priority": "high", "for_seconds": TWO_HOURS});
    let notify = json!({"type": "notify", "to": "manager", "message": "{{title}} is paused"});
    let rule = fixture.rule(ada, TriggerType::TaskPaused, conditions, &[notify]).await;
    assert_eq!(
        rule.sentence,
        "When a task is paused, and stays so for 2 hours and the priority is high: notify the assignee's manager \
         “{{title}} is paused”."
    );
    let create = async |title: &str| {
        let new = CreateTaskRequest {
            title: title.to_owned(),
            priority: TaskPriority::High.into(),
            assigned_to: Some(ada.user_id.to_string()),
            ..Default::default()
        };
        fixture.create_with(ada, new).await
    };
    let (waits, resumed, low) = (create("Waits").await, create("Resumed").await, create("Low").await);
    for task in [&waits, &resumed, &low] {
        fixture.pause(ada, &task.id).await;
    }
    later(&fixture, TWO_HOURS - 60).await;
    fixture.tasks().resume_task(fixture.call(ada, ResumeTaskRequest { id: resumed.id.clone() })).await.unwrap();
    // The conditions are those of the time when it has lasted.
    fixture.set_priority(ada, &low.id, TaskPriority::Low).await;
    assert!(fixture.history(ada, &rule).await.is_empty());
    later(&fixture, 61).await;
    let [execution] = &fixture.ended(ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!((execution.task_id.as_deref(), execution.status()), (Some(&*waits.id), ExecutionStatus::Succeeded));
    let message = eventually(|| async { fixture.messages(boss).await.into_iter().next() }).await;
    assert_eq!(message.text.as_deref(), Some("Waits is paused"));
    // Paused again, it counts again; and once only.
    fixture.pause_again(ada, &resumed.id).await;
    later(&fixture, TWO_HOURS + 1).await;
    assert_eq!(fixture.ended(ada, &rule, 2).await[0].task_id.as_deref(), Some(&*resumed.id));
    later(&fixture, 10 * TWO_HOURS).await;
    assert_eq!(fixture.history(ada, &rule).await.len(), 2);
}

#[tokio::test]
async fn task_that_is_paused_already_waits_from_the_moment_when_the_rule_is_enabled() {
    let fixture = Fixture::start_at(Clock::fixed(Clock::system().now())).await;
    let ada = &fixture.team.user_a1;
    let task = fixture.create(ada, "Ship it").await;
    fixture.pause(ada, &task.id).await;
    later(&fixture, TWO_HOURS - 60).await;
    let tag = json!({"type": "add_tag", "tag": "late"});
    let rule = fixture.rule(ada, TriggerType::TaskPaused, json!({"for_seconds": TWO_HOURS}), &[tag]).await;
    later(&fixture, TWO_HOURS - 60).await;
    assert!(fixture.history(ada, &rule).await.is_empty());
    // Disabled and enabled again, it begins anew.
    fixture.toggle(ada, &rule, false).await.unwrap();
    fixture.toggle(ada, &rule, true).await.unwrap();
    later(&fixture, TWO_HOURS - 60).await;
    assert!(fixture.history(ada, &rule).await.is_empty());
    later(&fixture, 61).await;
    assert_eq!(fixture.ended(ada, &rule, 1).await[0].status(), ExecutionStatus::Succeeded);
    assert_eq!(fixture.get(ada, &task.id).await.tags, ["late"]);
}

#[tokio::test]
async fn time_before_the_rule_counts_if_it_says_so() {
    let fixture = Fixture::start_at(Clock::fixed(Clock::system().now())).await;
    let boss = &fixture.team.super_manager;
    let (long, short, assigned) = (
        fixture.create(boss, "Paused for long").await,
        fixture.create(boss, "Paused for an hour").await,
        fixture.create(boss, "Assigned").await,
    );
    fixture.pause(boss, &long.id).await;
    fixture.assign(boss, &assigned.id, &fixture.team.user_a1, false).await;
    later(&fixture, TWO_HOURS / 2).await;
    fixture.pause(boss, &short.id).await;
    // The last change of the task is not that of its status.
    fixture.touch(boss, &long.id, "Still paused").await;
    later(&fixture, TWO_HOURS / 2).await;
    let conditions = json!({"for_seconds": TWO_HOURS, "existing": true});
    let tag = json!({"type": "add_tag", "tag": "late"});
    let rule = fixture.rule(boss, TriggerType::TaskPaused, conditions.clone(), std::slice::from_ref(&tag)).await;
    let of_assignee = fixture.rule(boss, TriggerType::TaskAssigned, conditions, std::slice::from_ref(&tag)).await;
    let from_now = fixture.rule(boss, TriggerType::TaskAssigned, json!({"for_seconds": TWO_HOURS}), &[tag]).await;
    // Of those that were so for long enough, one is. It is not late: it could not have been earlier.
    let [execution] = &fixture.ended(boss, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!((execution.task_id.as_ref(), execution.late), (Some(&long.id), false));
    assert_eq!(fixture.ended(boss, &of_assignee, 1).await[0].task_id.as_ref(), Some(&assigned.id));
    // What it has run for does not count when it is enabled again.
    fixture.toggle(boss, &rule, false).await.unwrap();
    fixture.toggle(boss, &rule, true).await.unwrap();
    later(&fixture, TWO_HOURS / 2 + 1).await;
    let executions = fixture.ended(boss, &rule, 2).await;
    assert_eq!((executions.len(), executions[0].task_id.as_ref()), (2, Some(&short.id)));
    assert!(fixture.history(boss, &from_now).await.is_empty());
    later(&fixture, TWO_HOURS / 2).await;
    assert_eq!(fixture.ended(boss, &from_now, 1).await[0].task_id.as_ref(), Some(&assigned.id));
    assert_eq!(fixture.history(boss, &rule).await.len(), 2);
}

#[tokio::test]
async fn state_that_was_left_after_its_time_runs_the_rule_late() {
    let mut fixture = Fixture::start_without_notification(Clock::fixed(Clock::system().now())).await;
    fixture.start_notification(crate::fixture::listener().await).await;
    fixture.start_instance().await;
    let ada = fixture.team.user_a1.clone();
    let tag = json!({"type": "add_tag", "tag": "late"});
    let rule = fixture.rule(&ada, TriggerType::TaskPaused, json!({"for_seconds": TWO_HOURS}), &[tag]).await;
    let task = fixture.create(&ada, "Ship it").await;
    fixture.pause(&ada, &task.id).await;
    fixture.settle().await;
    // As if nobody had looked at timers meanwhile.
    sqlx::query("update automation.timers set try_at = 'infinity'").execute(&fixture.context.admin()).await.unwrap();
    later(&fixture, 2 * TWO_HOURS).await;
    fixture.tasks().resume_task(fixture.call(&ada, ResumeTaskRequest { id: task.id.clone() })).await.unwrap();
    fixture.settle().await;
    sqlx::query("update automation.timers set try_at = fires_at").execute(&fixture.context.admin()).await.unwrap();
    let [execution] = &fixture.ended(&ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!((execution.late, execution.status()), (true, ExecutionStatus::Succeeded));
}

#[tokio::test]
async fn assignee_who_keeps_a_task_for_a_day_is_reminded_and_the_one_before_is_not() {
    let fixture = Fixture::start_at(Clock::fixed(Clock::system().now())).await;
    let (boss, ada, bob) = (&fixture.team.super_manager, &fixture.team.user_a1, &fixture.team.user_a2);
    let create = json!({"type": "create_task", "title": "Ask about {{title}}", "due_in_seconds": 3600});
    let conditions = json!({"for_seconds": 86_400});
    let notify = json!({"type": "notify", "to": "assignee", "message": "{{title}} is {{priority}}"});
    let rule = fixture.rule(boss, TriggerType::TaskAssigned, conditions.clone(), &[notify.clone(), create]).await;
    let again = fixture.rule(boss, TriggerType::TaskReassigned, conditions, &[notify]).await;
    let task = fixture.create(boss, "Ship it").await;
    fixture.assign(boss, &task.id, ada, false).await;
    later(&fixture, 80_000).await;
    fixture.assign(boss, &task.id, bob, true).await;
    fixture.set_priority(boss, &task.id, TaskPriority::Urgent).await;
    later(&fixture, 80_000).await;
    assert!(fixture.history(boss, &rule).await.is_empty() && fixture.messages(ada).await.is_empty());
    // A change of what it does does not begin the wait anew.
    fixture.rename(boss, &again, "Remind them").await;
    later(&fixture, 6_401).await;
    assert_eq!(fixture.ended(boss, &again, 1).await[0].status(), ExecutionStatus::Succeeded);
    let message = eventually(|| async { fixture.messages(bob).await.into_iter().next() }).await;
    assert_eq!(message.text.as_deref(), Some("Ship it is urgent"), "as it is when the time is over");
    // It counts for the rule of the first assignment, too, from the beginning.
    let other = fixture.create(boss, "Another").await;
    fixture.assign(boss, &other.id, ada, false).await;
    later(&fixture, 86_401).await;
    let execution = fixture.ended(boss, &rule, 1).await.remove(0);
    let created = fixture.get(boss, execution.actions[1].task_id.as_ref().unwrap()).await;
    let due = created.due_at.unwrap().seconds - fixture.clock.now().timestamp();
    assert!((3_500..=3_600).contains(&due), "due in {due} seconds, from the time when the rule ran");
}

#[tokio::test]
async fn task_that_is_overdue_for_two_days_runs_the_rule_unless_its_due_time_moves() {
    let fixture = Fixture::start_at(Clock::fixed(Clock::system().now())).await;
    let ada = &fixture.team.user_a1;
    let due_at = |hours| Some(timestamp(fixture.clock.now() + TimeDelta::hours(hours)));
    let create = async |title: &str, hours| {
        fixture
            .create_with(
                ada,
                CreateTaskRequest { title: title.to_owned(), due_at: due_at(hours), ..Default::default() },
            )
            .await
    };
    let before = create("Overdue before the rule", 1).await;
    later(&fixture, 3 * 3_600).await;
    let tag = json!({"type": "add_tag", "tag": "late"});
    let conditions = json!({"for_seconds": 172_800});
    let rule = fixture.rule(ada, TriggerType::TaskOverdue, conditions, &[tag]).await;
    assert!(rule.sentence.starts_with("When a task is overdue, and stays so for 2 days"), "{}", rule.sentence);
    let (left, moved) = (create("Left", 1).await, create("Moved", 1).await);
    later(&fixture, 2 * 3_600).await;
    later(&fixture, 86_400).await;
    let task = TaskChange { due_at: due_at(240), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["due_at".to_owned()] });
    let message = UpdateTaskRequest { id: moved.id.clone(), task: Some(task), update_mask };
    fixture.tasks().update_task(fixture.call(ada, message)).await.unwrap();
    later(&fixture, 70_000).await;
    assert!(fixture.history(ada, &rule).await.is_empty());
    later(&fixture, 20_000).await;
    let executions = fixture.ended(ada, &rule, 2).await;
    let mut found: Vec<&str> = executions.iter().filter_map(|it| it.task_id.as_deref()).collect();
    let mut expected = [before.id.as_str(), left.id.as_str()];
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "not {}", moved.id);
}
