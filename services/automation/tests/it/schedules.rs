//! Rules that run at times: schedules, recurring reminders, and before due times.

use baton_errors::Reason;
use baton_proto::{
    baton::{
        automation::v1::{
            Automation, CreateRecurringReminderRequest, ExecutionStatus, GetAutomationRequest, ReminderFrequency,
            TriggerType,
        },
        task::v1::{CompleteTaskRequest, CreateTaskRequest, StartTaskRequest, TaskChange, UpdateTaskRequest},
    },
    convert::{datetime, timestamp},
};
use baton_runtime::Clock;
use baton_testkit::{Person, eventually, reason};
use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::fixture::{Fixture, new_rule};

async fn start() -> Fixture {
    Fixture::start_at(Clock::fixed(Clock::system().now())).await
}

/// Moves the clock to a time, and waits until all work is done.
async fn until(fixture: &Fixture, time: DateTime<Utc>) {
    fixture.settle().await;
    fixture.clock.advance(time - fixture.clock.now());
    fixture.settle().await;
}

/// The next time after now with this hour, in UTC.
fn next_hour(fixture: &Fixture, hour: u32) -> DateTime<Utc> {
    let now = fixture.clock.now();
    let today = now.date_naive().and_hms_opt(hour, 0, 0).unwrap().and_utc();
    if today > now { today } else { today + TimeDelta::days(1) }
}

async fn remind(
    fixture: &Fixture,
    person: &Person,
    task_id: &str,
    frequency: ReminderFrequency,
) -> Result<Automation, tonic::Status> {
    let message = CreateRecurringReminderRequest {
        task_id: task_id.to_owned(),
        frequency: frequency.into(),
        message: None,
        around_the_clock: false,
    };
    let response = fixture.rules().create_recurring_reminder(fixture.call(person, message)).await?;
    Ok(response.into_inner().automation.unwrap())
}

async fn is_gone(fixture: &Fixture, person: &Person, rule: &Automation) -> bool {
    let message = GetAutomationRequest { id: rule.id.clone() };
    fixture.rules().get_automation(fixture.call(person, message)).await.is_err()
}

#[tokio::test]
async fn schedule_runs_once_at_each_time_and_catches_up_with_one_of_those_that_were_missed() {
    let fixture = start().await;
    let ada = &fixture.team.user_a1;
    let conditions = json!({"rrule": "FREQ=DAILY", "time": "09:00"});
    let create = json!({"type": "create_task", "title": "Plan the day"});
    let rule = fixture.rule(ada, TriggerType::Schedule, conditions, &[create]).await;
    assert_eq!(rule.sentence, "Every day at 09:00: create the task “Plan the day”.");
    let first = next_hour(&fixture, 9);
    until(&fixture, first - TimeDelta::minutes(1)).await;
    assert!(fixture.history(ada, &rule).await.is_empty());
    until(&fixture, first + TimeDelta::seconds(1)).await;
    let [execution] = &fixture.ended(ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!((execution.status(), &*execution.event_type), (ExecutionStatus::Succeeded, "schedule"));
    assert_eq!(execution.occurred_at.as_ref().and_then(datetime), Some(first));
    assert_eq!((execution.late, execution.depth), (false, 1));
    // Nobody has looked for three days: one of the times is made up for.
    until(&fixture, first + TimeDelta::days(3) + TimeDelta::hours(1)).await;
    let executions = fixture.ended(ada, &rule, 2).await;
    assert_eq!((executions.len(), executions[0].late), (2, true));
    until(&fixture, first + TimeDelta::days(4) + TimeDelta::seconds(1)).await;
    assert_eq!(fixture.ended(ada, &rule, 3).await.len(), 3);
    // Disabled, it has no times; enabled again, the next one.
    fixture.toggle(ada, &rule, false).await.unwrap();
    until(&fixture, first + TimeDelta::days(6)).await;
    fixture.toggle(ada, &rule, true).await.unwrap();
    fixture.settle().await;
    assert_eq!(fixture.history(ada, &rule).await.len(), 3);
    until(&fixture, first + TimeDelta::days(7) + TimeDelta::seconds(1)).await;
    assert_eq!(fixture.ended(ada, &rule, 4).await.len(), 4);
}

#[tokio::test]
async fn schedule_with_a_filter_runs_for_each_task_that_its_creator_sees() {
    let fixture = start().await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let (mine, other, theirs) =
        (fixture.create(ada, "Mine").await, fixture.create(ada, "Other").await, fixture.create(bob, "Theirs").await);
    for (person, task) in [(ada, &mine), (bob, &theirs)] {
        fixture.pause(person, &task.id).await;
    }
    let high = fixture.create(ada, "High").await;
    fixture.pause(ada, &high.id).await;
    fixture.set_priority(ada, &high.id, baton_proto::baton::task::v1::TaskPriority::High).await;
    let conditions = json!({"rrule": "FREQ=DAILY", "time": "09:00", "filter": {"status": ["paused"]},
                            "priority": "medium"});
    let tag = json!({"type": "add_tag", "tag": "waits"});
    let rule = fixture.rule(ada, TriggerType::Schedule, conditions, &[tag]).await;
    assert_eq!(
        rule.sentence,
        "Every day at 09:00, for each task (status paused) and the priority is medium: add the tag “waits”."
    );
    until(&fixture, next_hour(&fixture, 9) + TimeDelta::seconds(1)).await;
    let [execution] = &fixture.ended(ada, &rule, 1).await[..] else { panic!("one execution") };
    assert_eq!(execution.task_id.as_deref(), Some(&*mine.id));
    for (person, task, tags) in [(ada, &mine, 1), (ada, &other, 0), (bob, &theirs, 0), (ada, &high, 0)] {
        assert_eq!(fixture.get(person, &task.id).await.tags.len(), tags, "{}", task.title);
    }
}

#[tokio::test]
async fn reminder_comes_until_its_task_is_closed() {
    let fixture = start().await;
    let (ada, bob) = (&fixture.team.user_a1, &fixture.team.user_b1);
    let task = fixture.create(ada, "Ship it").await;
    let refused = remind(&fixture, bob, &task.id, ReminderFrequency::Daily).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TaskNotFound));
    let rule = remind(&fixture, ada, &task.id, ReminderFrequency::Daily).await.unwrap();
    assert_eq!(rule.created_by, ada.user_id.to_string());
    let first = next_hour(&fixture, 9);
    for day in 0..2 {
        until(&fixture, first + TimeDelta::days(day) + TimeDelta::seconds(1)).await;
        let count = usize::try_from(day).unwrap() + 1;
        assert_eq!(fixture.ended(ada, &rule, count).await.len(), count);
        let messages =
            eventually(|| async { Some(fixture.messages(ada).await).filter(|messages| messages.len() == count) });
        assert_eq!(messages.await[0].text.as_deref(), Some("Ship it"));
    }
    fixture.tasks().start_task(fixture.call(ada, StartTaskRequest { id: task.id.clone() })).await.unwrap();
    let done = CompleteTaskRequest { id: task.id.clone() };
    fixture.tasks().complete_task(fixture.call(ada, done)).await.unwrap();
    fixture.settle().await;
    assert!(is_gone(&fixture, ada, &rule).await);
    let refused = remind(&fixture, ada, &task.id, ReminderFrequency::Daily).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::TaskWrongState));
    until(&fixture, first + TimeDelta::days(3)).await;
    assert_eq!(fixture.messages(ada).await.len(), 2);
}

#[tokio::test]
async fn hourly_reminders_come_within_working_hours() {
    // Half past eight on a weekday to come.
    let mut time = Clock::system().now().date_naive().and_hms_opt(8, 30, 0).unwrap().and_utc() + TimeDelta::days(1);
    while time.weekday().num_days_from_monday() > 4 {
        time += TimeDelta::days(1);
    }
    let fixture = Fixture::start_at(Clock::fixed(time)).await;
    let ada = &fixture.team.user_a1;
    let task = fixture.create(ada, "Ship it").await;
    let rule = remind(&fixture, ada, &task.id, ReminderFrequency::Hourly).await.unwrap();
    for (minutes, expected) in [(31, 1), (60, 2), (60, 3)] {
        until(&fixture, fixture.clock.now() + TimeDelta::minutes(minutes)).await;
        assert_eq!(fixture.ended(ada, &rule, expected).await.len(), expected);
    }
    // Nobody looks until half past four. The time that was missed first is made up for, five is too late.
    until(&fixture, time + TimeDelta::hours(8)).await;
    until(&fixture, time + TimeDelta::minutes(8 * 60 + 31)).await;
    until(&fixture, time + TimeDelta::minutes(9 * 60 + 31)).await;
    assert_eq!(fixture.ended(ada, &rule, 4).await.len(), 4);
}

#[tokio::test]
async fn task_is_announced_some_time_before_it_is_due() {
    let fixture = start().await;
    let ada = &fixture.team.user_a1;
    let due_in = |hours: i64| Some(timestamp(fixture.clock.now() + TimeDelta::hours(hours)));
    let create = async |title: &str, hours: i64| {
        let new = CreateTaskRequest { title: title.to_owned(), due_at: due_in(hours), ..Default::default() };
        fixture.create_with(ada, new).await
    };
    let before = create("There before the rule", 3).await;
    let near_before = create("Nearer already", 1).await;
    let tag = json!({"type": "add_tag", "tag": "soon"});
    let conditions = json!({"before_seconds": 7_200});
    let rule = fixture.rule(ada, TriggerType::TaskDueSoon, conditions, &[tag]).await;
    assert_eq!(rule.sentence, "When a task is due within 2 hours: add the tag “soon”.");
    let (new, near, moved, done) =
        (create("New", 3).await, create("Near", 1).await, create("Moved", 3).await, create("Done", 3).await);
    fixture.settle().await;
    fixture.clock.advance(TimeDelta::seconds(1));
    let change = TaskChange { due_at: due_in(5), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["due_at".to_owned()] });
    let message = UpdateTaskRequest { id: moved.id.clone(), task: Some(change), update_mask };
    fixture.tasks().update_task(fixture.call(ada, message)).await.unwrap();
    fixture.tasks().start_task(fixture.call(ada, StartTaskRequest { id: done.id.clone() })).await.unwrap();
    let complete = CompleteTaskRequest { id: done.id.clone() };
    fixture.tasks().complete_task(fixture.call(ada, complete)).await.unwrap();
    let tags = async || {
        let mut tagged = Vec::new();
        for task in [&before, &near_before, &new, &near, &moved, &done] {
            if !fixture.get(ada, &task.id).await.tags.is_empty() {
                tagged.push(task.title.clone());
            }
        }
        tagged
    };
    let began = fixture.clock.now();
    fixture.settle().await;
    let waiting: Vec<i64> = fixture.all("select count(*) from automation.timers where fired_at is null").await;
    assert_eq!(waiting, [3], "two were canceled, and one of them has another time");
    until(&fixture, began + TimeDelta::minutes(59)).await;
    assert!(tags().await.is_empty());
    until(&fixture, began + TimeDelta::minutes(61)).await;
    assert_eq!(fixture.ended(ada, &rule, 2).await.len(), 2);
    assert_eq!(tags().await, ["There before the rule", "New"]);
    until(&fixture, began + TimeDelta::minutes(181)).await;
    let executions = fixture.ended(ada, &rule, 3).await;
    assert_eq!((executions.len(), &*executions[0].event_type), (3, "task.due_soon"));
    assert_eq!(tags().await, ["There before the rule", "New", "Moved"]);
}

#[tokio::test]
async fn schedule_that_would_never_run_is_refused() {
    let fixture = Fixture::start().await;
    let ada = &fixture.team.user_a1;
    let create = json!({"type": "create_task", "title": "Plan"});
    let past = "2026-01-01T00:00:00Z";
    for (conditions, field) in [
        (json!({"rrule": "FREQ=DAILY;COUNT=1", "time": "09:00", "starts_at": past}), "trigger_conditions.rrule"),
        (json!({"rrule": "FREQ=DAILY", "time": "09:00", "starts_at": "2020-01-01T00:00:00Z"}), "starts_at"),
        (json!({"rrule": "FREQ=MINUTELY", "time": "09:00"}), "trigger_conditions.rrule"),
        (json!({"time": "09:00"}), "trigger_conditions.rrule"),
    ] {
        let refused = fixture
            .try_rule(ada, new_rule(TriggerType::Schedule, conditions.clone(), std::slice::from_ref(&create)))
            .await;
        let refused = refused.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::ValidationFailed), "{conditions}");
        assert!(format!("{refused:?}").contains(field), "{conditions}: {refused:?}");
    }
    // An action on a task needs one.
    let archive: Value = json!({"type": "archive"});
    let conditions = json!({"rrule": "FREQ=DAILY", "time": "09:00"});
    let refused = fixture.try_rule(ada, new_rule(TriggerType::Schedule, conditions, &[archive])).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ValidationFailed));
}
