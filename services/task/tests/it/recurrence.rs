//! Recurrence: completing or canceling a task creates the next occurrence, once.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{
    CreateReminderRequest, CreateTaskRequest, ListRemindersRequest, ReminderEvent, Task, TaskChange, TaskFilter,
    TaskPriority, TaskStatus, reminder_service_client::ReminderServiceClient,
};
use baton_testkit::{Person, eventually};
use chrono::{DateTime, TimeDelta, Utc};
use prost_types::Timestamp;

use crate::{
    due_dates::{due_in, events, instance, rest, time},
    fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task, with_header},
};

pub(crate) fn recurring(fixture: &Fixture, title: &str, rule: &str) -> CreateTaskRequest {
    CreateTaskRequest { recurrence_rule: Some(rule.to_owned()), ..due_in(fixture, title, TimeDelta::hours(2)) }
}

pub(crate) fn in_zone(request: CreateTaskRequest, zone: &str) -> CreateTaskRequest {
    CreateTaskRequest { recurrence_timezone: Some(zone.to_owned()), ..request }
}

pub(crate) fn instant(time: Option<Timestamp>) -> DateTime<Utc> {
    let time = time.unwrap();
    DateTime::from_timestamp(time.seconds, 0).unwrap()
}

pub(crate) async fn complete(fixture: &Fixture, actor: &Person, task: &Task) {
    fixture.start(actor, &task.id).await.unwrap();
    fixture.complete(actor, &task.id).await.unwrap();
}

/// The open tasks of a series that this user sees.
pub(crate) async fn open(fixture: &Fixture, actor: &Person, series: &Option<String>) -> Vec<Task> {
    let filter = TaskFilter { status: vec![TaskStatus::Pending.into()], ..TaskFilter::default() };
    let mut found = Vec::new();
    for id in fixture.list(actor, filter).await.unwrap() {
        let task = fixture.get(actor, &id).await.unwrap();
        if task.series_id == *series {
            found.push(task);
        }
    }
    found
}

/// Waits for the one open task of a series.
pub(crate) async fn next(fixture: &Fixture, actor: &Person, series: &Option<String>) -> Task {
    let found = eventually(|| async {
        let found = open(fixture, actor, series).await;
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(found.len(), 1, "one open task at a time");
    found.into_iter().next().unwrap()
}

async fn change(
    fixture: &Fixture,
    actor: &Person,
    id: &str,
    mask: &[&str],
    rule: Option<&str>,
    zone: Option<&str>,
) -> RpcResult {
    let own = |text: Option<&str>| text.map(str::to_owned);
    let change = TaskChange { recurrence_rule: own(rule), recurrence_timezone: own(zone), ..TaskChange::default() };
    fixture.update(actor, id, mask, change).await
}

#[tokio::test]
async fn next_occurrence_copies_the_task_at_the_same_local_time() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let lives = "update auth.users set timezone = 'America/New_York' where id = $1";
    sqlx::query(lives).bind(team.user_a1.user_id).execute(&fixture.context.admin()).await.unwrap();
    let parent = fixture.create(&team.manager_a, new_task("Spring cleaning")).await.unwrap();
    let request = CreateTaskRequest {
        description: "All of it".to_owned(),
        priority: TaskPriority::High.into(),
        tags: vec!["floor".to_owned()],
        estimated_seconds: Some(600),
        assigned_to: Some(team.user_a1.user_id.to_string()),
        parent_task_id: Some(parent.id),
        ..recurring(&fixture, "Sweep", " freq=daily;interval=2 ")
    };
    let first = fixture.create(&team.manager_a, request).await.unwrap();
    assert_eq!(first.recurrence_rule.as_deref(), Some("FREQ=DAILY;INTERVAL=2"));
    assert_eq!(first.recurrence_timezone.as_deref(), Some("America/New_York"), "the assignee's, not the caller's");
    let mut reminders = ReminderServiceClient::new(fixture.channel());
    let remind = CreateReminderRequest { task_id: first.id.clone(), at: None, before_seconds: Some(60) };
    reminders.create_reminder(fixture.call(&team.user_a1, remind)).await.unwrap();
    complete(&fixture, &team.user_a1, &first).await;

    // Read by a user who sees the parent.
    let second = next(&fixture, &team.manager_a, &first.series_id).await;
    let zone = chrono_tz::America::New_York;
    let wall = |task: &Task| instant(task.due_at).with_timezone(&zone).naive_local();
    assert_eq!(wall(&second) - wall(&first), TimeDelta::days(2));
    let kept = |task: &Task| {
        (
            (task.title.clone(), task.description.clone(), task.priority, task.tags.clone(), task.estimated_seconds),
            (task.created_by.clone(), task.assigned_to.clone(), task.assigned_by.clone(), task.parent_task_id.clone()),
            (task.recurrence_rule.clone(), task.recurrence_timezone.clone(), task.visibility),
        )
    };
    assert_eq!(kept(&second), kept(&first));
    assert_eq!((second.status(), second.actual_seconds, second.version), (TaskStatus::Pending, 0, 1));
    assert_eq!(second.accepted_at, None, "the assignee must accept again");
    let published: Vec<_> = fixture.events(&second.id).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(published[..2], ["task.created", "task.assigned"]);
    let line = fixture.timeline(&team.manager_a, &second.id).await.unwrap().remove(0);
    assert_eq!(line.actor_id, team.manager_a.user_id.to_string(), "the actor is the creator of the series");
    let list = ListRemindersRequest { task_id: second.id.clone() };
    let kept = reminders.list_reminders(fixture.call(&team.user_a1, list)).await.unwrap().into_inner().reminders;
    assert_eq!(kept.len(), 1, "a relative reminder is copied");
    assert_eq!(instant(kept[0].fires_at), instant(second.due_at) - TimeDelta::seconds(60));

    // Missed occurrences are omitted.
    fixture.clock.advance(TimeDelta::days(9));
    fixture.cancel(&team.manager_a, &second.id, None).await.unwrap();
    let third = next(&fixture, &team.user_a1, &first.series_id).await;
    let after = instant(third.due_at) - fixture.clock.now();
    assert!(TimeDelta::zero() < after && after <= TimeDelta::days(2), "{after}");
    assert_eq!((wall(&third) - wall(&first)).num_days() % 2, 0, "the interval keeps its phase");
}

#[tokio::test]
async fn local_time_is_kept_across_daylight_saving_changes() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    // Eight o'clock in Berlin on the last Friday before daylight saving time begins.
    let due: DateTime<Utc> = "2027-03-26T07:00:00Z".parse().unwrap();
    let request = CreateTaskRequest { due_at: time(due), ..recurring(&fixture, "Sweep", "FREQ=WEEKLY;BYDAY=FR") };
    let first = fixture.create(me, in_zone(request, "Europe/Berlin")).await.unwrap();
    complete(&fixture, me, &first).await;
    let second = next(&fixture, me, &first.series_id).await;
    assert_eq!(instant(second.due_at), "2027-04-02T06:00:00Z".parse::<DateTime<Utc>>().unwrap());
    // Moving one occurrence does not move later ones.
    let moved = TaskChange { due_at: time(due + TimeDelta::days(8)), ..TaskChange::default() };
    let second = fixture.update(me, &second.id, &["due_at"], moved).await.unwrap();
    complete(&fixture, me, &second).await;
    let third = next(&fixture, me, &first.series_id).await;
    assert_eq!(instant(third.due_at), "2027-04-09T06:00:00Z".parse::<DateTime<Utc>>().unwrap());
    // A changed rule starts at the task's due date.
    let third = change(&fixture, me, &third.id, &["recurrence_rule"], Some("FREQ=MONTHLY"), None).await.unwrap();
    assert_eq!((third.recurrence_timezone.as_deref(), &third.series_id), (Some("Europe/Berlin"), &first.series_id));
    complete(&fixture, me, &third).await;
    let fourth = next(&fixture, me, &first.series_id).await;
    assert_eq!(instant(fourth.due_at), "2027-05-09T06:00:00Z".parse::<DateTime<Utc>>().unwrap());
}

#[tokio::test]
async fn three_service_instances_create_one_next_task() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let others = [instance(&fixture.context, &fixture.clock), instance(&fixture.context, &fixture.clock)];
    let mut series = Vec::new();
    for _ in 0..20 {
        series.push(fixture.create(me, recurring(&fixture, "Sweep", "FREQ=DAILY")).await.unwrap());
    }
    futures_util::future::join_all(series.iter().map(|task| complete(&fixture, me, task))).await;
    let [dying, other] = others;
    dying.shutdown_background();
    rest(&fixture.context, &fixture.clock).await;
    let again = || async {
        let ids: Vec<(Option<uuid::Uuid>, i64)> =
            sqlx::query_as("select series_id, count(*) from task.tasks where status = 'pending' group by series_id")
                .fetch_all(&fixture.context.admin())
                .await
                .unwrap();
        ids
    };
    let made = again().await;
    assert_eq!(made.len(), 20);
    assert!(made.iter().all(|(_, count)| *count == 1), "{made:?}");

    // The job runs again: the first run already created the task.
    for task in &series {
        fixture.reopen(me, &task.id, None).await.unwrap();
        complete(&fixture, me, task).await;
    }
    rest(&fixture.context, &fixture.clock).await;
    assert_eq!(again().await.len(), 20);
    assert!(again().await.iter().all(|(_, count)| *count == 1));
    let left = "select count(*) from task.timers where kind = 'next_instance' and fired_at is null";
    let left: i64 = sqlx::query_scalar(left).fetch_one(&fixture.context.admin()).await.unwrap();
    assert_eq!(left, 0, "a task created by another instance is not retried for ever");
    other.shutdown_background();
}

#[tokio::test]
async fn series_ends_by_its_rule_by_update_or_by_deletion() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let twice = fixture.create(me, recurring(&fixture, "Twice", "FREQ=DAILY;COUNT=2")).await.unwrap();
    complete(&fixture, me, &twice).await;
    let last = next(&fixture, me, &twice.series_id).await;
    complete(&fixture, me, &last).await;
    let ended = fixture.create(me, recurring(&fixture, "Ended", "FREQ=DAILY")).await.unwrap();
    let mask = ["recurrence_rule"];
    let once = change(&fixture, me, &ended.id, &mask, None, None).await.unwrap();
    assert_eq!((once.recurrence_rule.clone(), once.recurrence_timezone.clone()), (None, None));
    complete(&fixture, me, &once).await;
    let thrown_away = fixture.create(me, recurring(&fixture, "Thrown away", "FREQ=DAILY")).await.unwrap();
    fixture.delete(me, &thrown_away.id).await.unwrap();
    rest(&fixture.context, &fixture.clock).await;
    assert_eq!(fixture.list(me, TaskFilter { status: vec![1], ..TaskFilter::default() }).await.unwrap().len(), 0);

    // A restored task continues its series.
    fixture.restore(me, &thrown_away.id).await.unwrap();
    fixture.cancel(me, &thrown_away.id, None).await.unwrap();
    next(&fixture, me, &thrown_away.series_id).await;
}

#[tokio::test]
async fn series_waits_for_quota_and_notifies_its_creator_once() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let other = fixture.create(me, new_task("Another")).await.unwrap();
    let task = fixture.create(me, recurring(&fixture, "Sweep", "FREQ=DAILY")).await.unwrap();
    fixture.start(me, &task.id).await.unwrap();
    let limit = "update tenancy.accounts set max_open_tasks_per_user = 1";
    sqlx::query(limit).execute(&fixture.context.admin()).await.unwrap();
    fixture.complete(me, &task.id).await.unwrap();
    let paused = || events::<ReminderEvent>(&fixture.context, "series.paused");
    let event = eventually(|| async { paused().await.pop() }).await;
    assert_eq!((event.user_id, event.task_id), (me.user_id.to_string(), task.id.clone()));
    fixture.clock.advance(TimeDelta::hours(2));
    rest(&fixture.context, &fixture.clock).await;
    assert_eq!(paused().await.len(), 1);
    assert!(open(&fixture, me, &task.series_id).await.is_empty());

    fixture.delete(me, &other.id).await.unwrap();
    fixture.clock.advance(TimeDelta::hours(2));
    next(&fixture, me, &task.series_id).await;
    assert_eq!(
        error_reason(fixture.create(me, new_task("One too many")).await),
        Reason::QuotaExceeded,
        "the new occurrence uses quota"
    );
}

#[tokio::test]
async fn former_member_receives_no_further_occurrences() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let request = recurring(&fixture, "Sweep", "FREQ=DAILY");
    let task = CreateTaskRequest { assigned_to: Some(team.user_a1.user_id.to_string()), ..request };
    let task = fixture.create(&team.manager_a, task).await.unwrap();
    fixture.start(&team.user_a1, &task.id).await.unwrap();
    let leave = "update tenancy.memberships set status = 'removed' where user_id = $1";
    sqlx::query(leave).bind(team.user_a1.user_id).execute(&fixture.context.admin()).await.unwrap();
    fixture.cancel(&team.manager_a, &task.id, None).await.unwrap();
    let next = next(&fixture, &team.manager_a, &task.series_id).await;
    assert_eq!((next.assigned_to, next.assigned_by), (None, None), "the creator assigns it");
}

#[tokio::test]
async fn invalid_recurrence_is_refused_and_nothing_is_stored() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let create = |request| fixture.create(me, request);
    assert_eq!(invalid_field(create(recurring(&fixture, "Sweep", "every day")).await), "recurrence_rule");
    assert_eq!(invalid_field(create(recurring(&fixture, "Sweep", "FREQ=MINUTELY")).await), "recurrence_rule");
    let nowhere = in_zone(recurring(&fixture, "Sweep", "FREQ=DAILY"), "Europe/Atlantis");
    assert_eq!(invalid_field(create(nowhere).await), "recurrence_timezone");
    let never_due = CreateTaskRequest { due_at: None, ..recurring(&fixture, "Sweep", "FREQ=DAILY") };
    assert_eq!(invalid_field(create(never_due).await), "due_at");
    assert_eq!(invalid_field(create(in_zone(new_task("Sweep"), "Europe/Berlin")).await), "recurrence_timezone");
    assert_eq!(fixture.list(me, TaskFilter::default()).await.unwrap().len(), 0);

    let once = fixture.create(me, new_task("Sweep")).await.unwrap();
    let mask = ["recurrence_rule"];
    assert_eq!(invalid_field(change(&fixture, me, &once.id, &mask, Some("FREQ=DAILY"), None).await), "task.due_at");
    let task = fixture.create(me, recurring(&fixture, "Sweep", "FREQ=DAILY")).await.unwrap();
    assert_eq!(invalid_field(fixture.update(me, &task.id, &["due_at"], TaskChange::default()).await), "task.due_at");
    assert_eq!(
        error_reason(change(&fixture, &fixture.team.user_b1, &task.id, &mask, None, None).await),
        Reason::TaskNotFound
    );
    let zone = change(&fixture, me, &task.id, &["recurrence_timezone"], None, Some("Asia/Tokyo")).await.unwrap();
    assert_eq!(zone.recurrence_timezone.as_deref(), Some("Asia/Tokyo"));

    // A repeated request creates one series, and so one next task.
    let keyed =
        || with_header(fixture.call(me, recurring(&fixture, "Keyed", "FREQ=DAILY")), "idempotency-key", "series-1");
    let first = fixture.tasks().create_task(keyed()).await.unwrap().into_inner();
    assert_eq!(fixture.tasks().create_task(keyed()).await.unwrap().into_inner(), first);
}
