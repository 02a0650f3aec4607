//! People are told of due dates and of what they wanted to be reminded of: once, whatever happens meanwhile.

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
use baton_task::{Config, start};
use baton_testkit::{Person, TestContext, eventually};
use chrono::{DateTime, TimeDelta, Utc};
use prost::{Message, Name};
use prost_types::Timestamp;
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::transport::Channel;

use crate::desk::{Answer, Desk, new, new_for, refused, with, wrong_field};

pub(crate) fn time(at: DateTime<Utc>) -> Option<Timestamp> {
    Some(Timestamp { seconds: at.timestamp(), nanos: 0 })
}

/// A task that is due so long from now.
pub(crate) fn due_in(desk: &Desk, title: &str, after: TimeDelta) -> CreateTaskRequest {
    CreateTaskRequest { due_at: time(desk.clock.now() + after), ..new(title) }
}

/// All events of a type, in the order that they were published.
pub(crate) async fn events<M: Name + Default>(world: &TestContext, kind: &str) -> Vec<M> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from task.outbox order by position")
        .fetch_all(&world.admin())
        .await
        .unwrap();
    let envelopes = rows.iter().map(|row| Envelope::decode(row.as_slice()).unwrap());
    envelopes.filter(|event| event.r#type == kind).map(|event| event.payload.unwrap().to_msg().unwrap()).collect()
}

/// What was told of a task, once it is `many` times: whether each came late.
async fn told(desk: &Desk, kind: &str, task: &str, many: usize) -> Vec<bool> {
    eventually(|| async {
        let told: Vec<TaskEvent> = events(&desk.world, kind).await;
        let late: Vec<_> = told.iter().filter(|event| event.task_id == task).map(|event| event.late).collect();
        (late.len() >= many).then_some(late)
    })
    .await
}

/// Waits until every timer whose time has come has been looked at.
pub(crate) async fn rest(world: &TestContext, clock: &Clock) {
    let now = clock.now();
    eventually(|| async {
        let waiting: i64 =
            sqlx::query_scalar("select count(*) from task.timers where fired_at is null and try_at <= $1")
                .bind(now)
                .fetch_one(&world.admin())
                .await
                .unwrap();
        (waiting == 0).then_some(())
    })
    .await;
}

/// One more instance of the service, that can be killed: everything of it stops where it is.
pub(crate) fn instance(world: &TestContext, clock: &Clock) -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (config, clock) = (Config::from_env(&world.env()).unwrap(), clock.clone());
    runtime.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        start(config, clock, listener, Shutdown::new()).await.unwrap();
    });
    runtime
}

fn reminders(desk: &Desk) -> ReminderServiceClient<Channel> {
    ReminderServiceClient::new(desk.channel())
}

async fn remind(desk: &Desk, who: &Person, request: CreateReminderRequest) -> Answer<Reminder> {
    Ok(reminders(desk).create_reminder(desk.call(who, request)).await?.into_inner().reminder.unwrap())
}

fn before(task: &Task, seconds: i32) -> CreateReminderRequest {
    CreateReminderRequest { task_id: task.id.clone(), at: None, before_seconds: Some(seconds) }
}

fn at(task: &Task, at: DateTime<Utc>) -> CreateReminderRequest {
    CreateReminderRequest { task_id: task.id.clone(), at: time(at), before_seconds: None }
}

async fn list(desk: &Desk, who: &Person, task: &Task) -> Answer<Vec<Reminder>> {
    let request = desk.call(who, ListRemindersRequest { task_id: task.id.clone() });
    Ok(reminders(desk).list_reminders(request).await?.into_inner().reminders)
}

async fn forget(desk: &Desk, who: &Person, reminder: &Reminder) -> Answer<()> {
    let request = desk.call(who, DeleteReminderRequest { reminder_id: reminder.id.clone() });
    reminders(desk).delete_reminder(request).await?;
    Ok(())
}

/// Ids of the reminders that have fired, once they are `many`.
async fn reminded(desk: &Desk, many: usize) -> Vec<ReminderEvent> {
    eventually(|| async {
        let fired: Vec<ReminderEvent> = events(&desk.world, "reminder.fired").await;
        (fired.len() >= many).then_some(fired)
    })
    .await
}

#[tokio::test]
async fn a_task_is_told_of_a_day_before_and_when_it_is_overdue() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let due =
        CreateTaskRequest { due_at: time(desk.clock.now() + TimeDelta::days(3)), ..new_for("Sweep", &team.user_a1) };
    let task = desk.create(&team.manager_a, due).await.unwrap();
    desk.clock.advance(TimeDelta::days(2));
    assert_eq!(told(&desk, "task.due_soon", &task.id, 1).await, [false]);
    assert!(!desk.get(&team.user_a1, &task.id).await.unwrap().overdue);
    assert!(events::<TaskEvent>(&desk.world, "task.overdue").await.is_empty());

    desk.clock.advance(TimeDelta::days(1));
    assert_eq!(told(&desk, "task.overdue", &task.id, 1).await, [false]);
    let event = events::<TaskEvent>(&desk.world, "task.overdue").await.remove(0);
    let people = [&team.manager_a, &team.user_a1, &team.manager_a].map(|person| person.user_id.to_string());
    assert_eq!([event.created_by, event.assigned_to, event.assigned_by], people);
    desk.clock.advance(TimeDelta::days(30));
    rest(&desk.world, &desk.clock).await;
    assert_eq!(told(&desk, "task.overdue", &task.id, 1).await.len(), 1, "once");
    assert_eq!(desk.get(&team.user_a1, &task.id).await.unwrap().version, 1, "it did not change by that");
}

#[tokio::test]
async fn a_due_date_that_moves_takes_its_times_with_it() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let moved = desk.create(me, due_in(&desk, "Moved", TimeDelta::days(2))).await.unwrap();
    let cleared = desk.create(me, due_in(&desk, "Cleared", TimeDelta::days(2))).await.unwrap();
    let marker = desk.create(me, due_in(&desk, "Stays", TimeDelta::days(2))).await.unwrap();
    let later = TaskChange { due_at: time(desk.clock.now() + TimeDelta::days(4)), ..TaskChange::default() };
    desk.update(me, &moved.id, &["due_at"], later).await.unwrap();
    desk.update(me, &cleared.id, &["due_at"], TaskChange::default()).await.unwrap();

    desk.clock.advance(TimeDelta::days(2));
    told(&desk, "task.overdue", &marker.id, 1).await;
    rest(&desk.world, &desk.clock).await;
    let overdue: Vec<TaskEvent> = events(&desk.world, "task.overdue").await;
    assert_eq!(overdue.iter().map(|event| &event.task_id).collect::<Vec<_>>(), [&marker.id]);
    desk.clock.advance(TimeDelta::days(2));
    assert_eq!(told(&desk, "task.overdue", &moved.id, 1).await, [false]);
    rest(&desk.world, &desk.clock).await;
    assert_eq!(events::<TaskEvent>(&desk.world, "task.overdue").await.len(), 2);

    // To the same past and back again: it has been said.
    let back = |at: &Task| TaskChange { due_at: at.due_at, ..TaskChange::default() };
    let now = desk.get(me, &moved.id).await.unwrap();
    desk.update(me, &moved.id, &["due_at"], TaskChange::default()).await.unwrap();
    desk.update(me, &moved.id, &["due_at"], back(&now)).await.unwrap();
    // Into another past: overdue at once, and not late, for it was not so before.
    let past = TaskChange { due_at: time(desk.clock.now() - TimeDelta::days(9)), ..TaskChange::default() };
    desk.update(me, &cleared.id, &["due_at"], past).await.unwrap();
    assert_eq!(told(&desk, "task.overdue", &cleared.id, 1).await, [false]);
    rest(&desk.world, &desk.clock).await;
    assert_eq!(told(&desk, "task.overdue", &moved.id, 1).await.len(), 1);
}

#[tokio::test]
async fn nobody_is_told_of_what_is_closed_and_everybody_again_when_it_is_open() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let done = desk.create(me, due_in(&desk, "Done", TimeDelta::days(2))).await.unwrap();
    desk.start(me, &done.id).await.unwrap();
    desk.complete(me, &done.id).await.unwrap();
    let thrown_away = desk.create(me, due_in(&desk, "In the trash", TimeDelta::days(2))).await.unwrap();
    desk.delete(me, &thrown_away.id).await.unwrap();
    let marker = desk.create(me, due_in(&desk, "Open", TimeDelta::days(2))).await.unwrap();
    desk.clock.advance(TimeDelta::days(2));
    told(&desk, "task.overdue", &marker.id, 1).await;
    rest(&desk.world, &desk.clock).await;
    assert_eq!(events::<TaskEvent>(&desk.world, "task.overdue").await.len(), 1);
    assert_eq!(events::<TaskEvent>(&desk.world, "task.due_soon").await.len(), 0, "a day before, nobody looked");

    desk.reopen(me, &done.id, None).await.unwrap();
    assert_eq!(told(&desk, "task.overdue", &done.id, 1).await, [false], "it is overdue only now");
    desk.restore(me, &thrown_away.id).await.unwrap();
    assert_eq!(told(&desk, "task.overdue", &thrown_away.id, 1).await, [false]);
}

#[tokio::test]
async fn after_a_downtime_what_was_missed_comes_once_and_says_that_it_is_late() {
    let world = TestContext::start(&[(baton_task::SCHEMA, &baton_task::MIGRATIONS)]).await;
    let clock = Clock::fixed(Clock::system().now());
    let (account_id, user) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let due_at = clock.now() + TimeDelta::days(3);
    // Kept while the service was up, which it no longer is.
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
    .execute(&world.admin())
    .await
    .unwrap();
    sqlx::query(
        "insert into task.timers (account_id, task_id, kind, due_at, fires_at, try_at)
         select account_id, id, kind, due_at, due_at - before, due_at - before from task.tasks
         cross join (values ('overdue', interval '0'), ('due_soon', interval '1 day')) as kinds (kind, before)",
    )
    .execute(&world.admin())
    .await
    .unwrap();

    clock.advance(TimeDelta::days(4));
    let instances = [instance(&world, &clock), instance(&world, &clock), instance(&world, &clock)];
    rest(&world, &clock).await;
    let overdue: Vec<TaskEvent> = events(&world, "task.overdue").await;
    assert_eq!(overdue.len(), tasks.len(), "each once");
    assert!(overdue.iter().all(|event| event.late));
    assert_eq!(events::<TaskEvent>(&world, "task.due_soon").await.len(), 0, "what is overdue is not due soon");
    for instance in instances {
        instance.shutdown_background();
    }
}

#[tokio::test]
async fn of_three_instances_one_tells_and_the_death_of_one_neither_loses_nor_doubles() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let others = [instance(&desk.world, &desk.clock), instance(&desk.world, &desk.clock)];
    let mut tasks = Vec::new();
    for nth in 0..60 {
        // Three batches in time, so that all are at it while one dies.
        let after = TimeDelta::days(2) + TimeDelta::seconds(nth % 3);
        tasks.push(desk.create(me, due_in(&desk, "Sweep", after)).await.unwrap().id);
    }
    let [dying, other] = others;
    desk.clock.advance(TimeDelta::days(2));
    told(&desk, "task.overdue", &tasks[0], 1).await;
    desk.clock.advance(TimeDelta::seconds(1));
    dying.shutdown_background();
    desk.clock.advance(TimeDelta::seconds(1));
    rest(&desk.world, &desk.clock).await;
    let overdue: Vec<TaskEvent> = events(&desk.world, "task.overdue").await;
    let mut told: Vec<String> = overdue.into_iter().map(|event| event.task_id).collect();
    told.sort();
    tasks.sort();
    assert_eq!(told, tasks);
    other.shutdown_background();
}

#[tokio::test]
async fn a_reminder_is_its_makers_own_and_goes_by_time_or_by_due_date() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let request =
        CreateTaskRequest { visibility: TaskVisibility::Team.into(), ..due_in(&desk, "Sweep", TimeDelta::days(2)) };
    let task = desk.create(&team.user_a1, request).await.unwrap();
    let now = desk.clock.now();
    let mine = remind(&desk, &team.user_a1, before(&task, 3_600)).await.unwrap();
    assert_eq!(mine.fires_at, time(now + TimeDelta::days(2) - TimeDelta::hours(1)));
    let theirs = remind(&desk, &team.user_a2, at(&task, now + TimeDelta::hours(5))).await.unwrap();
    assert_eq!((theirs.at, theirs.before_seconds), (time(now + TimeDelta::hours(5)), None));
    assert_eq!(list(&desk, &team.user_a1, &task).await.unwrap(), std::slice::from_ref(&mine));
    assert_eq!(list(&desk, &team.owner, &task).await.unwrap(), [], "nor does the owner see others'");
    assert_eq!(refused(forget(&desk, &team.owner, &mine).await), Reason::ReminderNotFound);
    assert_eq!(refused(list(&desk, &team.user_b1, &task).await), Reason::TaskNotFound);
    assert_eq!(refused(remind(&desk, &team.user_b1, before(&task, 60)).await), Reason::TaskNotFound);

    desk.clock.advance(TimeDelta::hours(5));
    let fired = reminded(&desk, 1).await;
    assert_eq!((fired[0].user_id.clone(), fired[0].late), (team.user_a2.user_id.to_string(), false));
    assert_eq!(list(&desk, &team.user_a2, &task).await.unwrap()[0].fires_at, None, "it has done its work");

    // The due date moves, and the reminder with it.
    let later = TaskChange { due_at: time(now + TimeDelta::days(6)), ..TaskChange::default() };
    desk.update(&team.user_a1, &task.id, &["due_at"], later).await.unwrap();
    let moved = list(&desk, &team.user_a1, &task).await.unwrap();
    assert_eq!(moved[0].fires_at, time(now + TimeDelta::days(6) - TimeDelta::hours(1)));
    desk.clock.advance(TimeDelta::days(3));
    rest(&desk.world, &desk.clock).await;
    assert_eq!(reminded(&desk, 1).await.len(), 1);
    desk.clock.advance(TimeDelta::days(3));
    assert_eq!(reminded(&desk, 2).await[1].reminder_id, mine.id);
}

#[tokio::test]
async fn a_reminder_says_nothing_of_what_its_maker_no_longer_sees_or_wants() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let soon = desk.clock.now() + TimeDelta::hours(1);
    let request = CreateTaskRequest { visibility: TaskVisibility::Account.into(), ..new("Sweep") };
    let task = desk.create(&team.user_a1, request.clone()).await.unwrap();
    remind(&desk, &team.user_b1, at(&task, soon)).await.unwrap();
    let unwanted = remind(&desk, &team.user_a1, at(&task, soon)).await.unwrap();
    forget(&desk, &team.user_a1, &unwanted).await.unwrap();
    assert_eq!(refused(forget(&desk, &team.user_a1, &unwanted).await), Reason::ReminderNotFound);
    let wanted = remind(&desk, &team.manager_a, at(&task, soon)).await.unwrap();
    let canceled = desk.create(&team.user_a1, request).await.unwrap();
    remind(&desk, &team.user_a1, at(&canceled, soon)).await.unwrap();
    desk.cancel(&team.user_a1, &canceled.id, None).await.unwrap();
    // Private from now on: only those above still see it. And one of those leaves.
    let hidden = TaskChange { visibility: TaskVisibility::Private.into(), ..TaskChange::default() };
    remind(&desk, &team.super_manager, at(&task, soon)).await.unwrap();
    desk.update(&team.user_a1, &task.id, &["visibility"], hidden).await.unwrap();
    let leave = "update tenancy.memberships set status = 'removed' where user_id = $1";
    sqlx::query(leave).bind(team.super_manager.user_id).execute(&desk.world.admin()).await.unwrap();

    desk.clock.advance(TimeDelta::hours(2));
    reminded(&desk, 1).await;
    rest(&desk.world, &desk.clock).await;
    let fired = reminded(&desk, 1).await;
    let ids: Vec<_> = fired.iter().map(|event| (event.reminder_id.clone(), event.late)).collect();
    assert_eq!(ids, [(wanted.id, true)], "an hour after its time");
}

#[tokio::test]
async fn reminders_that_make_no_sense_or_are_too_many_are_refused() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let task = desk.create(me, due_in(&desk, "Sweep", TimeDelta::days(2))).await.unwrap();
    let now = desk.clock.now();
    let both = CreateReminderRequest { before_seconds: Some(60), ..at(&task, now + TimeDelta::hours(1)) };
    assert_eq!(wrong_field(remind(&desk, me, both).await), "at");
    let neither = CreateReminderRequest { before_seconds: None, ..before(&task, 0) };
    assert_eq!(wrong_field(remind(&desk, me, neither).await), "at");
    assert_eq!(wrong_field(remind(&desk, me, at(&task, now - TimeDelta::seconds(1))).await), "at");
    assert_eq!(wrong_field(remind(&desk, me, before(&task, 3 * 86_400)).await), "before_seconds");
    let whenever = desk.create(me, new("Whenever")).await.unwrap();
    assert_eq!(remind(&desk, me, before(&whenever, 60)).await.unwrap().fires_at, None, "until it is due at a time");

    // Of many at once, the twentieth is the last.
    let calls = (0..25).map(|_| remind(&desk, me, before(&task, 60)));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 20);
    assert!(answers.into_iter().filter(Result::is_err).all(|answer| refused(answer) == Reason::ReminderLimit));

    let keyed = || with(desk.call(me, before(&whenever, 5)), "idempotency-key", "remind-1");
    let first = reminders(&desk).create_reminder(keyed()).await.unwrap().into_inner();
    assert_eq!(reminders(&desk).create_reminder(keyed()).await.unwrap().into_inner(), first);
    assert_eq!(list(&desk, me, &whenever).await.unwrap().len(), 2);
    tokio::time::timeout(Duration::from_secs(5), rest(&desk.world, &desk.clock)).await.unwrap();
}
