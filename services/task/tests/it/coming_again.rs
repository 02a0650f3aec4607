//! Tasks come again: when one is completed or canceled, the next one is made, once.

use baton_errors::Reason;
use baton_proto::baton::task::v1::{
    CreateReminderRequest, CreateTaskRequest, ListRemindersRequest, ReminderEvent, Task, TaskChange, TaskFilter,
    TaskPriority, TaskStatus, reminder_service_client::ReminderServiceClient,
};
use baton_testkit::{Person, eventually};
use chrono::{DateTime, TimeDelta, Utc};
use prost_types::Timestamp;

use crate::{
    desk::{Answer, Desk, new, refused, with, wrong_field},
    due_dates::{due_in, events, instance, rest, time},
};

fn recurring(desk: &Desk, title: &str, rule: &str) -> CreateTaskRequest {
    CreateTaskRequest { recurrence_rule: Some(rule.to_owned()), ..due_in(desk, title, TimeDelta::hours(2)) }
}

fn in_zone(request: CreateTaskRequest, zone: &str) -> CreateTaskRequest {
    CreateTaskRequest { recurrence_timezone: Some(zone.to_owned()), ..request }
}

fn instant(time: Option<Timestamp>) -> DateTime<Utc> {
    let time = time.unwrap();
    DateTime::from_timestamp(time.seconds, 0).unwrap()
}

async fn complete(desk: &Desk, who: &Person, task: &Task) {
    desk.start(who, &task.id).await.unwrap();
    desk.complete(who, &task.id).await.unwrap();
}

/// The open instances of a series that this person sees.
async fn open(desk: &Desk, who: &Person, series: &Option<String>) -> Vec<Task> {
    let filter = TaskFilter { status: vec![TaskStatus::Pending.into()], ..TaskFilter::default() };
    let mut found = Vec::new();
    for id in desk.list(who, filter).await.unwrap() {
        let task = desk.get(who, &id).await.unwrap();
        if task.series_id == *series {
            found.push(task);
        }
    }
    found
}

/// The one open instance of a series, once there is one.
async fn next(desk: &Desk, who: &Person, series: &Option<String>) -> Task {
    let found = eventually(|| async {
        let found = open(desk, who, series).await;
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(found.len(), 1, "one open instance at a time");
    found.into_iter().next().unwrap()
}

async fn change(desk: &Desk, who: &Person, id: &str, mask: &[&str], rule: Option<&str>, zone: Option<&str>) -> Answer {
    let own = |text: Option<&str>| text.map(str::to_owned);
    let change = TaskChange { recurrence_rule: own(rule), recurrence_timezone: own(zone), ..TaskChange::default() };
    desk.update(who, id, mask, change).await
}

#[tokio::test]
async fn the_next_instance_is_the_same_work_at_the_same_time_on_the_holders_wall() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let lives = "update auth.users set timezone = 'America/New_York' where id = $1";
    sqlx::query(lives).bind(team.user_a1.user_id).execute(&desk.world.admin()).await.unwrap();
    let parent = desk.create(&team.manager_a, new("Spring cleaning")).await.unwrap();
    let request = CreateTaskRequest {
        description: "All of it".to_owned(),
        priority: TaskPriority::High.into(),
        tags: vec!["floor".to_owned()],
        estimated_seconds: Some(600),
        assigned_to: Some(team.user_a1.user_id.to_string()),
        parent_task_id: Some(parent.id),
        ..recurring(&desk, "Sweep", " freq=daily;interval=2 ")
    };
    let first = desk.create(&team.manager_a, request).await.unwrap();
    assert_eq!(first.recurrence_rule.as_deref(), Some("FREQ=DAILY;INTERVAL=2"));
    assert_eq!(first.recurrence_timezone.as_deref(), Some("America/New_York"), "the holder's, not the caller's");
    let mut reminders = ReminderServiceClient::new(desk.channel());
    let remind = CreateReminderRequest { task_id: first.id.clone(), at: None, before_seconds: Some(60) };
    reminders.create_reminder(desk.call(&team.user_a1, remind)).await.unwrap();
    complete(&desk, &team.user_a1, &first).await;

    // Read by who sees what it is a part of.
    let second = next(&desk, &team.manager_a, &first.series_id).await;
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
    assert_eq!(second.accepted_at, None, "they are asked anew");
    let published: Vec<_> = desk.events(&second.id).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(published[..2], ["task.created", "task.assigned"]);
    let line = desk.timeline(&team.manager_a, &second.id).await.unwrap().remove(0);
    assert_eq!(line.actor_id, team.manager_a.user_id.to_string(), "the series is its creator's");
    let list = ListRemindersRequest { task_id: second.id.clone() };
    let kept = reminders.list_reminders(desk.call(&team.user_a1, list)).await.unwrap().into_inner().reminders;
    assert_eq!(kept.len(), 1, "a reminder that goes by the due time comes along");
    assert_eq!(instant(kept[0].fires_at), instant(second.due_at) - TimeDelta::seconds(60));

    // What was missed is left out.
    desk.clock.advance(TimeDelta::days(9));
    desk.cancel(&team.manager_a, &second.id, None).await.unwrap();
    let third = next(&desk, &team.user_a1, &first.series_id).await;
    let after = instant(third.due_at) - desk.clock.now();
    assert!(TimeDelta::zero() < after && after <= TimeDelta::days(2), "{after}");
    assert_eq!((wall(&third) - wall(&first)).num_days() % 2, 0, "and the rule goes on as it began");
}

#[tokio::test]
async fn clocks_change_and_the_time_on_the_wall_stays() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    // Eight in Berlin on the last Friday before the clocks go forward.
    let due: DateTime<Utc> = "2027-03-26T07:00:00Z".parse().unwrap();
    let request = CreateTaskRequest { due_at: time(due), ..recurring(&desk, "Sweep", "FREQ=WEEKLY;BYDAY=FR") };
    let first = desk.create(me, in_zone(request, "Europe/Berlin")).await.unwrap();
    complete(&desk, me, &first).await;
    let second = next(&desk, me, &first.series_id).await;
    assert_eq!(instant(second.due_at), "2027-04-02T06:00:00Z".parse::<DateTime<Utc>>().unwrap());
    // One instance is moved; those after it are not.
    let moved = TaskChange { due_at: time(due + TimeDelta::days(8)), ..TaskChange::default() };
    let second = desk.update(me, &second.id, &["due_at"], moved).await.unwrap();
    complete(&desk, me, &second).await;
    let third = next(&desk, me, &first.series_id).await;
    assert_eq!(instant(third.due_at), "2027-04-09T06:00:00Z".parse::<DateTime<Utc>>().unwrap());
    // Another rule begins where the task is due.
    let third = change(&desk, me, &third.id, &["recurrence_rule"], Some("FREQ=MONTHLY"), None).await.unwrap();
    assert_eq!((third.recurrence_timezone.as_deref(), &third.series_id), (Some("Europe/Berlin"), &first.series_id));
    complete(&desk, me, &third).await;
    let fourth = next(&desk, me, &first.series_id).await;
    assert_eq!(instant(fourth.due_at), "2027-05-09T06:00:00Z".parse::<DateTime<Utc>>().unwrap());
}

#[tokio::test]
async fn of_three_instances_of_the_service_one_makes_the_next_task() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let others = [instance(&desk.world, &desk.clock), instance(&desk.world, &desk.clock)];
    let mut series = Vec::new();
    for _ in 0..20 {
        series.push(desk.create(me, recurring(&desk, "Sweep", "FREQ=DAILY")).await.unwrap());
    }
    futures_util::future::join_all(series.iter().map(|task| complete(&desk, me, task))).await;
    let [dying, other] = others;
    dying.shutdown_background();
    rest(&desk.world, &desk.clock).await;
    let again = || async {
        let ids: Vec<(Option<uuid::Uuid>, i64)> =
            sqlx::query_as("select series_id, count(*) from task.tasks where status = 'pending' group by series_id")
                .fetch_all(&desk.world.admin())
                .await
                .unwrap();
        ids
    };
    let made = again().await;
    assert_eq!(made.len(), 20);
    assert!(made.iter().all(|(_, count)| *count == 1), "{made:?}");

    // Done twice, once more to come: the first time made it.
    for task in &series {
        desk.reopen(me, &task.id, None).await.unwrap();
        complete(&desk, me, task).await;
    }
    rest(&desk.world, &desk.clock).await;
    assert_eq!(again().await.len(), 20);
    assert!(again().await.iter().all(|(_, count)| *count == 1));
    let left = "select count(*) from task.timers where kind = 'next_instance' and fired_at is null";
    let left: i64 = sqlx::query_scalar(left).fetch_one(&desk.world.admin()).await.unwrap();
    assert_eq!(left, 0, "what another has made is not tried for ever");
    other.shutdown_background();
}

#[tokio::test]
async fn a_series_ends_by_its_rule_by_its_people_and_in_the_trash() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let twice = desk.create(me, recurring(&desk, "Twice", "FREQ=DAILY;COUNT=2")).await.unwrap();
    complete(&desk, me, &twice).await;
    let last = next(&desk, me, &twice.series_id).await;
    complete(&desk, me, &last).await;
    let ended = desk.create(me, recurring(&desk, "Ended", "FREQ=DAILY")).await.unwrap();
    let mask = ["recurrence_rule"];
    let once = change(&desk, me, &ended.id, &mask, None, None).await.unwrap();
    assert_eq!((once.recurrence_rule.clone(), once.recurrence_timezone.clone()), (None, None));
    complete(&desk, me, &once).await;
    let thrown_away = desk.create(me, recurring(&desk, "Thrown away", "FREQ=DAILY")).await.unwrap();
    desk.delete(me, &thrown_away.id).await.unwrap();
    rest(&desk.world, &desk.clock).await;
    assert_eq!(desk.list(me, TaskFilter { status: vec![1], ..TaskFilter::default() }).await.unwrap().len(), 0);

    // What comes out of the trash goes on.
    desk.restore(me, &thrown_away.id).await.unwrap();
    desk.cancel(me, &thrown_away.id, None).await.unwrap();
    next(&desk, me, &thrown_away.series_id).await;
}

#[tokio::test]
async fn a_series_waits_for_a_place_in_the_quota_and_its_creator_is_told_once() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let other = desk.create(me, new("Another")).await.unwrap();
    let task = desk.create(me, recurring(&desk, "Sweep", "FREQ=DAILY")).await.unwrap();
    desk.start(me, &task.id).await.unwrap();
    let limit = "update tenancy.accounts set max_open_tasks_per_user = 1";
    sqlx::query(limit).execute(&desk.world.admin()).await.unwrap();
    desk.complete(me, &task.id).await.unwrap();
    let paused = || events::<ReminderEvent>(&desk.world, "series.paused");
    let told = eventually(|| async { paused().await.pop() }).await;
    assert_eq!((told.user_id, told.task_id), (me.user_id.to_string(), task.id.clone()));
    desk.clock.advance(TimeDelta::hours(2));
    rest(&desk.world, &desk.clock).await;
    assert_eq!(paused().await.len(), 1);
    assert!(open(&desk, me, &task.series_id).await.is_empty());

    desk.delete(me, &other.id).await.unwrap();
    desk.clock.advance(TimeDelta::hours(2));
    next(&desk, me, &task.series_id).await;
    assert_eq!(refused(desk.create(me, new("One too many")).await), Reason::QuotaExceeded, "it counts");
}

#[tokio::test]
async fn who_has_left_gets_no_more_of_it() {
    let desk = Desk::open().await;
    let team = &desk.team;
    let request = recurring(&desk, "Sweep", "FREQ=DAILY");
    let task = CreateTaskRequest { assigned_to: Some(team.user_a1.user_id.to_string()), ..request };
    let task = desk.create(&team.manager_a, task).await.unwrap();
    desk.start(&team.user_a1, &task.id).await.unwrap();
    let leave = "update tenancy.memberships set status = 'removed' where user_id = $1";
    sqlx::query(leave).bind(team.user_a1.user_id).execute(&desk.world.admin()).await.unwrap();
    desk.cancel(&team.manager_a, &task.id, None).await.unwrap();
    let next = next(&desk, &team.manager_a, &task.series_id).await;
    assert_eq!((next.assigned_to, next.assigned_by), (None, None), "it is its creator's to hand out");
}

#[tokio::test]
async fn what_cannot_come_again_is_refused_and_nothing_is_kept() {
    let desk = Desk::open().await;
    let me = &desk.team.user_a1;
    let create = |request| desk.create(me, request);
    assert_eq!(wrong_field(create(recurring(&desk, "Sweep", "every day")).await), "recurrence_rule");
    assert_eq!(wrong_field(create(recurring(&desk, "Sweep", "FREQ=MINUTELY")).await), "recurrence_rule");
    let nowhere = in_zone(recurring(&desk, "Sweep", "FREQ=DAILY"), "Europe/Atlantis");
    assert_eq!(wrong_field(create(nowhere).await), "recurrence_timezone");
    let never_due = CreateTaskRequest { due_at: None, ..recurring(&desk, "Sweep", "FREQ=DAILY") };
    assert_eq!(wrong_field(create(never_due).await), "due_at");
    assert_eq!(wrong_field(create(in_zone(new("Sweep"), "Europe/Berlin")).await), "recurrence_timezone");
    assert_eq!(desk.list(me, TaskFilter::default()).await.unwrap().len(), 0);

    let once = desk.create(me, new("Sweep")).await.unwrap();
    let mask = ["recurrence_rule"];
    assert_eq!(wrong_field(change(&desk, me, &once.id, &mask, Some("FREQ=DAILY"), None).await), "task.due_at");
    let task = desk.create(me, recurring(&desk, "Sweep", "FREQ=DAILY")).await.unwrap();
    assert_eq!(wrong_field(desk.update(me, &task.id, &["due_at"], TaskChange::default()).await), "task.due_at");
    assert_eq!(refused(change(&desk, &desk.team.user_b1, &task.id, &mask, None, None).await), Reason::TaskNotFound);
    let zone = change(&desk, me, &task.id, &["recurrence_timezone"], None, Some("Asia/Tokyo")).await.unwrap();
    assert_eq!(zone.recurrence_timezone.as_deref(), Some("Asia/Tokyo"));

    // The same request makes one series, and so one next instance.
    let keyed = || with(desk.call(me, recurring(&desk, "Keyed", "FREQ=DAILY")), "idempotency-key", "series-1");
    let first = desk.tasks().create_task(keyed()).await.unwrap().into_inner();
    assert_eq!(desk.tasks().create_task(keyed()).await.unwrap().into_inner(), first);
}
