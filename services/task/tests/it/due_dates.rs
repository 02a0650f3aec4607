//! Due dates and reminders: each timer fires once, across downtime and several instances.

use std::time::Duration;

use baton_errors::Reason;
use baton_proto::baton::{
    events::v1::Envelope,
    task::v1::{
        CreateReminderRequest, CreateTaskRequest, DeleteReminderRequest, ListRemindersRequest, Reminder, ReminderEvent,
        Task, TaskChange, TaskEvent, TaskVisibility, reminder_service_client::ReminderServiceClient,
    },
};
use baton_runtime::{Clock, Shutdown};
use baton_task::{Config, SPEC, start};
use baton_testkit::{Person, TestContext, eventually};
use chrono::{DateTime, TimeDelta, Utc};
use prost::{Message, Name};
use prost_types::Timestamp;
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::transport::Channel;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task, new_task_for, with_header};

pub(crate) fn time(at: DateTime<Utc>) -> Option<Timestamp> {
    Some(Timestamp { seconds: at.timestamp(), nanos: 0 })
}

/// A request for a task that is due after this time.
pub(crate) fn due_in(fixture: &Fixture, title: &str, after: TimeDelta) -> CreateTaskRequest {
    CreateTaskRequest { due_at: time(fixture.clock.now() + after), ..new_task(title) }
}

/// All events of a type, in publication order.
pub(crate) async fn events<M: Name + Default>(context: &TestContext, kind: &str) -> Vec<M> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from task.outbox order by position")
        .fetch_all(&context.admin())
        .await
        .unwrap();
    let envelopes = rows.iter().map(|row| Envelope::decode(row.as_slice()).unwrap());
    envelopes.filter(|event| event.r#type == kind).map(|event| event.payload.unwrap().to_msg().unwrap()).collect()
}

/// Waits for `many` events about a task and returns the `late` flag of each.
async fn due_events(fixture: &Fixture, kind: &str, task: &str, many: usize) -> Vec<bool> {
    eventually(|| async {
        let published: Vec<TaskEvent> = events(&fixture.context, kind).await;
        let late: Vec<_> = published.iter().filter(|event| event.task_id == task).map(|event| event.late).collect();
        (late.len() >= many).then_some(late)
    })
    .await
}

/// Waits until every due timer has been processed.
pub(crate) async fn rest(context: &TestContext, clock: &Clock) {
    let now = clock.now();
    eventually(|| async {
        let waiting: i64 =
            sqlx::query_scalar("select count(*) from task.timers where fired_at is null and try_at <= $1")
                .bind(now)
                .fetch_one(&context.admin())
                .await
                .unwrap();
        (waiting == 0).then_some(())
    })
    .await;
}

/// Another instance of the service that can be killed at any point: it runs in a runtime of its own.
pub(crate) fn instance(context: &TestContext, clock: &Clock) -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (config, clock) = (Config::from_env(&SPEC, &context.env()).unwrap(), clock.clone());
    runtime.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        start(config, clock, listener, Shutdown::new()).await.unwrap();
    });
    runtime
}

fn reminders(fixture: &Fixture) -> ReminderServiceClient<Channel> {
    ReminderServiceClient::new(fixture.channel())
}

async fn remind(fixture: &Fixture, actor: &Person, request: CreateReminderRequest) -> RpcResult<Reminder> {
    Ok(reminders(fixture).create_reminder(fixture.call(actor, request)).await?.into_inner().reminder.unwrap())
}

fn before(task: &Task, seconds: i32) -> CreateReminderRequest {
    CreateReminderRequest { task_id: task.id.clone(), at: None, before_seconds: Some(seconds) }
}

fn at(task: &Task, at: DateTime<Utc>) -> CreateReminderRequest {
    CreateReminderRequest { task_id: task.id.clone(), at: time(at), before_seconds: None }
}

async fn list(fixture: &Fixture, actor: &Person, task: &Task) -> RpcResult<Vec<Reminder>> {
    let request = fixture.call(actor, ListRemindersRequest { task_id: task.id.clone() });
    Ok(reminders(fixture).list_reminders(request).await?.into_inner().reminders)
}

async fn forget(fixture: &Fixture, actor: &Person, reminder: &Reminder) -> RpcResult<()> {
    let request = fixture.call(actor, DeleteReminderRequest { reminder_id: reminder.id.clone() });
    reminders(fixture).delete_reminder(request).await?;
    Ok(())
}

/// Waits for `many` fired reminders and returns their events.
async fn reminded(fixture: &Fixture, many: usize) -> Vec<ReminderEvent> {
    eventually(|| async {
        let fired: Vec<ReminderEvent> = events(&fixture.context, "reminder.fired").await;
        (fired.len() >= many).then_some(fired)
    })
    .await
}

#[tokio::test]
async fn task_is_announced_a_day_before_due_and_when_overdue() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let due = CreateTaskRequest {
        due_at: time(fixture.clock.now() + TimeDelta::days(3)),
        ..new_task_for("Sweep", &team.user_a1)
    };
    let task = fixture.create(&team.manager_a, due).await.unwrap();
    fixture.clock.advance(TimeDelta::days(2));
    assert_eq!(due_events(&fixture, "task.due_soon", &task.id, 1).await, [false]);
    assert!(!fixture.get(&team.user_a1, &task.id).await.unwrap().overdue);
    assert!(events::<TaskEvent>(&fixture.context, "task.overdue").await.is_empty());

    fixture.clock.advance(TimeDelta::days(1));
    assert_eq!(due_events(&fixture, "task.overdue", &task.id, 1).await, [false]);
    let event = events::<TaskEvent>(&fixture.context, "task.overdue").await.remove(0);
    let people = [&team.manager_a, &team.user_a1, &team.manager_a].map(|person| person.user_id.to_string());
    assert_eq!([event.created_by, event.assigned_to, event.assigned_by], people);
    fixture.clock.advance(TimeDelta::days(30));
    rest(&fixture.context, &fixture.clock).await;
    assert_eq!(due_events(&fixture, "task.overdue", &task.id, 1).await.len(), 1, "once");
    assert_eq!(fixture.get(&team.user_a1, &task.id).await.unwrap().version, 1, "timers do not change the task");
}

#[tokio::test]
async fn changed_due_date_reschedules_its_timers() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let moved = fixture.create(me, due_in(&fixture, "Moved", TimeDelta::days(2))).await.unwrap();
    let cleared = fixture.create(me, due_in(&fixture, "Cleared", TimeDelta::days(2))).await.unwrap();
    let marker = fixture.create(me, due_in(&fixture, "Stays", TimeDelta::days(2))).await.unwrap();
    let later = TaskChange { due_at: time(fixture.clock.now() + TimeDelta::days(4)), ..TaskChange::default() };
    fixture.update(me, &moved.id, &["due_at"], later).await.unwrap();
    fixture.update(me, &cleared.id, &["due_at"], TaskChange::default()).await.unwrap();

    fixture.clock.advance(TimeDelta::days(2));
    due_events(&fixture, "task.overdue", &marker.id, 1).await;
    rest(&fixture.context, &fixture.clock).await;
    let overdue: Vec<TaskEvent> = events(&fixture.context, "task.overdue").await;
    assert_eq!(overdue.iter().map(|event| &event.task_id).collect::<Vec<_>>(), [&marker.id]);
    fixture.clock.advance(TimeDelta::days(2));
    assert_eq!(due_events(&fixture, "task.overdue", &moved.id, 1).await, [false]);
    rest(&fixture.context, &fixture.clock).await;
    assert_eq!(events::<TaskEvent>(&fixture.context, "task.overdue").await.len(), 2);

    // Moved away and back to the same past time: already announced.
    let back = |at: &Task| TaskChange { due_at: at.due_at, ..TaskChange::default() };
    let now = fixture.get(me, &moved.id).await.unwrap();
    fixture.update(me, &moved.id, &["due_at"], TaskChange::default()).await.unwrap();
    fixture.update(me, &moved.id, &["due_at"], back(&now)).await.unwrap();
    // Moved to another past time: overdue at once, and not marked late.
    let past = TaskChange { due_at: time(fixture.clock.now() - TimeDelta::days(9)), ..TaskChange::default() };
    fixture.update(me, &cleared.id, &["due_at"], past).await.unwrap();
    assert_eq!(due_events(&fixture, "task.overdue", &cleared.id, 1).await, [false]);
    rest(&fixture.context, &fixture.clock).await;
    assert_eq!(due_events(&fixture, "task.overdue", &moved.id, 1).await.len(), 1);
}

#[tokio::test]
async fn closed_task_sends_no_due_event_until_reopened() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let done = fixture.create(me, due_in(&fixture, "Done", TimeDelta::days(2))).await.unwrap();
    fixture.start(me, &done.id).await.unwrap();
    fixture.complete(me, &done.id).await.unwrap();
    let thrown_away = fixture.create(me, due_in(&fixture, "In the trash", TimeDelta::days(2))).await.unwrap();
    fixture.delete(me, &thrown_away.id).await.unwrap();
    let marker = fixture.create(me, due_in(&fixture, "Open", TimeDelta::days(2))).await.unwrap();
    fixture.clock.advance(TimeDelta::days(2));
    due_events(&fixture, "task.overdue", &marker.id, 1).await;
    rest(&fixture.context, &fixture.clock).await;
    assert_eq!(events::<TaskEvent>(&fixture.context, "task.overdue").await.len(), 1);
    assert_eq!(
        events::<TaskEvent>(&fixture.context, "task.due_soon").await.len(),
        0,
        "the clock jumped past the lead time"
    );

    fixture.reopen(me, &done.id, None).await.unwrap();
    assert_eq!(due_events(&fixture, "task.overdue", &done.id, 1).await, [false], "it is overdue from now on");
    fixture.restore(me, &thrown_away.id).await.unwrap();
    assert_eq!(due_events(&fixture, "task.overdue", &thrown_away.id, 1).await, [false]);
}

#[tokio::test]
async fn timers_missed_during_downtime_fire_once_and_are_marked_late() {
    let context = TestContext::start(&[baton_task::SPEC.schema()]).await;
    let clock = Clock::fixed(Clock::system().now());
    let (account_id, user) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let due_at = clock.now() + TimeDelta::days(3);
    // Stored while the service was running; now it is stopped.
    let tasks: Vec<uuid::Uuid> = (0..20).map(|_| uuid::Uuid::now_v7()).collect();
    sqlx::query(
        "insert into task.tasks (id, account_id, title, description, status, priority, visibility, due_at, tags,
                                 custom_fields, created_by, actual_seconds, version, created_at, updated_at)
         select id, $2, 'Sweep', '', 'pending', 2, 'private', $3, '{}', '{}', $4, 0, 1, now(), now()
         from unnest($1::uuid[]) as ids (id)",
    )
    .bind(&tasks)
    .bind(account_id)
    .bind(due_at)
    .bind(user)
    .execute(&context.admin())
    .await
    .unwrap();
    sqlx::query(
        "insert into task.timers (account_id, task_id, kind, due_at, fires_at, try_at)
         select account_id, id, kind, due_at, due_at - before, due_at - before from task.tasks
         cross join (values ('overdue', interval '0'), ('due_soon', interval '1 day')) as kinds (kind, before)",
    )
    .execute(&context.admin())
    .await
    .unwrap();

    clock.advance(TimeDelta::days(4));
    let instances = [instance(&context, &clock), instance(&context, &clock), instance(&context, &clock)];
    rest(&context, &clock).await;
    let overdue: Vec<TaskEvent> = events(&context, "task.overdue").await;
    assert_eq!(overdue.len(), tasks.len(), "each exactly once");
    assert!(overdue.iter().all(|event| event.late));
    assert_eq!(events::<TaskEvent>(&context, "task.due_soon").await.len(), 0, "an overdue task is not due soon");
    for instance in instances {
        instance.shutdown_background();
    }
}

#[tokio::test]
async fn three_instances_fire_each_timer_once_even_if_one_dies() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let others = [instance(&fixture.context, &fixture.clock), instance(&fixture.context, &fixture.clock)];
    let mut tasks = Vec::new();
    for nth in 0..60 {
        // Three batches, so that all instances are working when one dies.
        let after = TimeDelta::days(2) + TimeDelta::seconds(nth % 3);
        tasks.push(fixture.create(me, due_in(&fixture, "Sweep", after)).await.unwrap().id);
    }
    let [dying, other] = others;
    fixture.clock.advance(TimeDelta::days(2));
    due_events(&fixture, "task.overdue", &tasks[0], 1).await;
    fixture.clock.advance(TimeDelta::seconds(1));
    dying.shutdown_background();
    fixture.clock.advance(TimeDelta::seconds(1));
    rest(&fixture.context, &fixture.clock).await;
    let overdue: Vec<TaskEvent> = events(&fixture.context, "task.overdue").await;
    let mut ids: Vec<String> = overdue.into_iter().map(|event| event.task_id).collect();
    ids.sort();
    tasks.sort();
    assert_eq!(ids, tasks);
    other.shutdown_background();
}

#[tokio::test]
async fn reminder_is_private_and_fires_at_a_time_or_before_the_due_date() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let request =
        CreateTaskRequest { visibility: TaskVisibility::Team.into(), ..due_in(&fixture, "Sweep", TimeDelta::days(2)) };
    let task = fixture.create(&team.user_a1, request).await.unwrap();
    let now = fixture.clock.now();
    let mine = remind(&fixture, &team.user_a1, before(&task, 3_600)).await.unwrap();
    assert_eq!(mine.fires_at, time(now + TimeDelta::days(2) - TimeDelta::hours(1)));
    let theirs = remind(&fixture, &team.user_a2, at(&task, now + TimeDelta::hours(5))).await.unwrap();
    assert_eq!((theirs.at, theirs.before_seconds), (time(now + TimeDelta::hours(5)), None));
    assert_eq!(list(&fixture, &team.user_a1, &task).await.unwrap(), std::slice::from_ref(&mine));
    assert_eq!(list(&fixture, &team.owner, &task).await.unwrap(), [], "the owner does not see reminders of others");
    assert_eq!(error_reason(forget(&fixture, &team.owner, &mine).await), Reason::ReminderNotFound);
    assert_eq!(error_reason(list(&fixture, &team.user_b1, &task).await), Reason::TaskNotFound);
    assert_eq!(error_reason(remind(&fixture, &team.user_b1, before(&task, 60)).await), Reason::TaskNotFound);

    fixture.clock.advance(TimeDelta::hours(5));
    let fired = reminded(&fixture, 1).await;
    assert_eq!((fired[0].user_id.clone(), fired[0].late), (team.user_a2.user_id.to_string(), false));
    assert_eq!(list(&fixture, &team.user_a2, &task).await.unwrap()[0].fires_at, None, "it has fired");

    // A changed due date moves the reminder.
    let later = TaskChange { due_at: time(now + TimeDelta::days(6)), ..TaskChange::default() };
    fixture.update(&team.user_a1, &task.id, &["due_at"], later).await.unwrap();
    let moved = list(&fixture, &team.user_a1, &task).await.unwrap();
    assert_eq!(moved[0].fires_at, time(now + TimeDelta::days(6) - TimeDelta::hours(1)));
    fixture.clock.advance(TimeDelta::days(3));
    rest(&fixture.context, &fixture.clock).await;
    assert_eq!(reminded(&fixture, 1).await.len(), 1);
    fixture.clock.advance(TimeDelta::days(3));
    assert_eq!(reminded(&fixture, 2).await[1].reminder_id, mine.id);
}

#[tokio::test]
async fn deleted_reminder_or_one_on_a_hidden_or_canceled_task_does_not_fire() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let soon = fixture.clock.now() + TimeDelta::hours(1);
    let request = CreateTaskRequest { visibility: TaskVisibility::Account.into(), ..new_task("Sweep") };
    let task = fixture.create(&team.user_a1, request.clone()).await.unwrap();
    remind(&fixture, &team.user_b1, at(&task, soon)).await.unwrap();
    let unwanted = remind(&fixture, &team.user_a1, at(&task, soon)).await.unwrap();
    forget(&fixture, &team.user_a1, &unwanted).await.unwrap();
    assert_eq!(error_reason(forget(&fixture, &team.user_a1, &unwanted).await), Reason::ReminderNotFound);
    let wanted = remind(&fixture, &team.manager_a, at(&task, soon)).await.unwrap();
    let canceled = fixture.create(&team.user_a1, request).await.unwrap();
    remind(&fixture, &team.user_a1, at(&canceled, soon)).await.unwrap();
    fixture.cancel(&team.user_a1, &canceled.id, None).await.unwrap();
    // Private from now on: only superiors still see it. One of them leaves.
    let hidden = TaskChange { visibility: TaskVisibility::Private.into(), ..TaskChange::default() };
    remind(&fixture, &team.super_manager, at(&task, soon)).await.unwrap();
    fixture.update(&team.user_a1, &task.id, &["visibility"], hidden).await.unwrap();
    let leave = "update tenancy.memberships set status = 'removed' where user_id = $1";
    sqlx::query(leave).bind(team.super_manager.user_id).execute(&fixture.context.admin()).await.unwrap();

    fixture.clock.advance(TimeDelta::hours(2));
    reminded(&fixture, 1).await;
    rest(&fixture.context, &fixture.clock).await;
    let fired = reminded(&fixture, 1).await;
    let ids: Vec<_> = fired.iter().map(|event| (event.reminder_id.clone(), event.late)).collect();
    assert_eq!(ids, [(wanted.id, true)], "an hour after its time");
}

#[tokio::test]
async fn invalid_or_excess_reminders_are_refused() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let task = fixture.create(me, due_in(&fixture, "Sweep", TimeDelta::days(2))).await.unwrap();
    let now = fixture.clock.now();
    let both = CreateReminderRequest { before_seconds: Some(60), ..at(&task, now + TimeDelta::hours(1)) };
    assert_eq!(invalid_field(remind(&fixture, me, both).await), "at");
    let neither = CreateReminderRequest { before_seconds: None, ..before(&task, 0) };
    assert_eq!(invalid_field(remind(&fixture, me, neither).await), "at");
    assert_eq!(invalid_field(remind(&fixture, me, at(&task, now - TimeDelta::seconds(1))).await), "at");
    assert_eq!(invalid_field(remind(&fixture, me, before(&task, 3 * 86_400)).await), "before_seconds");
    let whenever = fixture.create(me, new_task("Whenever")).await.unwrap();
    assert_eq!(
        remind(&fixture, me, before(&whenever, 60)).await.unwrap().fires_at,
        None,
        "until the task has a due date"
    );

    // Of concurrent creates, the twentieth is the last that succeeds.
    let calls = (0..25).map(|_| remind(&fixture, me, before(&task, 60)));
    let responses = futures_util::future::join_all(calls).await;
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 20);
    assert!(
        responses.into_iter().filter(Result::is_err).all(|response| error_reason(response) == Reason::ReminderLimit)
    );

    let keyed = || with_header(fixture.call(me, before(&whenever, 5)), "idempotency-key", "remind-1");
    let first = reminders(&fixture).create_reminder(keyed()).await.unwrap().into_inner();
    assert_eq!(reminders(&fixture).create_reminder(keyed()).await.unwrap().into_inner(), first);
    assert_eq!(list(&fixture, me, &whenever).await.unwrap().len(), 2);
    tokio::time::timeout(Duration::from_secs(5), rest(&fixture.context, &fixture.clock)).await.unwrap();
}
