//! How many open tasks a member may make.

use baton_errors::Reason;
use baton_proto::baton::{events::v1::Envelope, tenancy::v1::UsageChanged};
use baton_task::upkeep::usage;
use baton_testkit::{eventually, reason};
use futures_util::future::join_all;
use prost::Message;
use sqlx::{Postgres, Transaction};
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::desk::{Desk, new, refused};

async fn allow(desk: &Desk, limit: i32) {
    sqlx::query("update tenancy.accounts set max_open_tasks_per_user = $1")
        .bind(limit)
        .execute(&desk.world.admin())
        .await
        .unwrap();
}

/// What the counter says once everything is added to it.
async fn counted(desk: &Desk, user_id: Uuid) -> i32 {
    let admin = desk.world.admin();
    let admin = &admin;
    eventually(|| async move {
        sqlx::query_scalar(
            "select coalesce(sum(open_tasks), 0)::integer from task.usage
             where user_id = $1 having not exists (select from task.usage_changes)",
        )
        .bind(user_id)
        .fetch_optional(admin)
        .await
        .unwrap()
    })
    .await
}

/// What was published of a member's use, in its order.
async fn published(desk: &Desk, user_id: Uuid) -> Vec<i32> {
    let envelopes: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from task.outbox order by position")
        .fetch_all(&desk.world.admin())
        .await
        .unwrap();
    let envelopes = envelopes.iter().map(|envelope| Envelope::decode(envelope.as_slice()).unwrap());
    envelopes
        .filter(|envelope| envelope.r#type == "usage.changed" && envelope.subject_id == user_id.to_string())
        .map(|envelope| envelope.payload.unwrap().to_msg::<UsageChanged>().unwrap().used)
        .collect()
}

/// Somebody holds their counter until this ends.
async fn hold(desk: &Desk, user_id: Uuid) -> Transaction<'static, Postgres> {
    let mut slow = desk.world.admin().begin().await.unwrap();
    let lock = "select from task.usage where user_id = $1 for update";
    sqlx::query(lock).bind(user_id).execute(&mut *slow).await.unwrap();
    slow
}

/// The accounts have a tier that has no limit.
async fn allow_all(desk: &Desk) {
    let unlimited = "update tenancy.accounts set subscription_tier = 'enterprise'";
    sqlx::query(unlimited).execute(&desk.world.admin()).await.unwrap();
}

#[tokio::test]
async fn of_a_hundred_who_make_the_last_task_one_does() {
    let desk = Desk::open().await;
    let user = desk.team.user_a1.clone();
    allow(&desk, 3).await;
    let mut told = Vec::new();
    for n in 1..=2 {
        desk.create(&user, new("Sweep")).await.unwrap();
        assert_eq!(counted(&desk, user.user_id).await, n);
        told.push(n);
    }
    for _ in 0..5 {
        let answers = join_all((0..100).map(|_| desk.create(&user, new("Mop")))).await;
        let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        let [made] = made.try_into().unwrap();
        for refused in refused.into_iter().filter_map(Result::err) {
            assert_eq!((reason(&refused), refused.code()), (Some(Reason::QuotaExceeded), Code::FailedPrecondition));
            let told = refused.get_details_error_info().unwrap().metadata;
            assert_eq!(["quota", "limit", "used"].map(|name| told[name].as_str()), ["open_tasks_per_user", "3", "3"]);
        }
        told.push(3);
        assert_eq!((counted(&desk, user.user_id).await, published(&desk, user.user_id).await), (3, told.clone()));
        desk.delete(&user, &made.unwrap().id).await.unwrap();
        assert_eq!(counted(&desk, user.user_id).await, 2);
        told.push(2);
    }
    // Others have their own.
    desk.create(&desk.team.user_a2, new("Dust")).await.unwrap();
}

#[tokio::test]
async fn what_is_completed_or_deleted_makes_room_once() {
    let desk = Desk::open().await;
    let user = desk.team.user_a1.clone();
    allow(&desk, 2).await;
    let done = desk.create(&user, new("A")).await.unwrap();
    // Each is told of by itself when it is added to the counter before the next.
    assert_eq!(counted(&desk, user.user_id).await, 1);
    let gone = desk.create(&user, new("B")).await.unwrap();
    assert_eq!(counted(&desk, user.user_id).await, 2);
    assert_eq!(refused(desk.create(&user, new("C")).await), Reason::QuotaExceeded);
    desk.start(&user, &done.id).await.unwrap();
    desk.complete(&user, &done.id).await.unwrap();
    desk.complete(&user, &done.id).await.unwrap_err();
    assert_eq!(counted(&desk, user.user_id).await, 1);
    desk.delete(&user, &gone.id).await.unwrap();
    // It was closed before.
    desk.delete(&user, &done.id).await.unwrap();
    assert_eq!((counted(&desk, user.user_id).await, published(&desk, user.user_id).await), (0, vec![1, 2, 1, 0]));
    desk.create(&user, new("C")).await.unwrap();
}

#[tokio::test]
async fn where_there_is_no_limit_nobody_waits_for_a_counter() {
    let desk = Desk::open().await;
    let user = desk.team.user_a1.clone();
    allow_all(&desk).await;
    let first = desk.create(&user, new("First")).await.unwrap().id;
    assert_eq!(counted(&desk, user.user_id).await, 1);
    let slow = hold(&desk, user.user_id).await;
    desk.create(&user, new("Sweep")).await.unwrap();
    desk.start(&user, &first).await.unwrap();
    desk.complete(&user, &first).await.unwrap();
    slow.rollback().await.unwrap();
    assert_eq!(counted(&desk, user.user_id).await, 1);
}

#[tokio::test]
async fn many_instances_add_every_task_to_the_counters_once() {
    let desk = Desk::open().await;
    desk.start_another().await;
    let [user, other] = [desk.team.user_a1.clone(), desk.team.user_a2.clone()];
    let made = join_all((0..60).map(|n| desk.create(if n % 3 == 0 { &other } else { &user }, new("Sweep")))).await;
    let other_id = other.user_id.to_string();
    let gone = made.iter().flatten().filter(|task| task.created_by == other_id);
    for answer in join_all(gone.map(|gone| desk.delete(&other, &gone.id))).await {
        answer.unwrap();
    }
    assert_eq!((counted(&desk, user.user_id).await, counted(&desk, other.user_id).await), (40, 0));
    assert_eq!(published(&desk, user.user_id).await.last(), Some(&40));
    assert_eq!(published(&desk, other.user_id).await.last(), Some(&0));
    assert_eq!(usage::rebuild(&desk.world.db("task"), true).await.unwrap(), []);
}

#[tokio::test]
async fn a_downgrade_keeps_what_is_there_and_stops_growth() {
    let desk = Desk::open().await;
    let user = desk.team.user_a1.clone();
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(desk.create(&user, new("A")).await.unwrap().id);
    }
    allow(&desk, 1).await;
    // For a second the service goes by what it knew.
    eventually(|| async {
        let Ok(made) = desk.create(&user, new("B")).await else { return Some(()) };
        desk.delete(&user, &made.id).await.unwrap();
        None
    })
    .await;
    assert_eq!(refused(desk.create(&user, new("B")).await), Reason::QuotaExceeded);
    desk.get(&user, &tasks[2]).await.unwrap();
    desk.delete(&user, &tasks[0]).await.unwrap();
    assert_eq!(refused(desk.create(&user, new("B")).await), Reason::QuotaExceeded);
}

#[tokio::test]
async fn counters_that_are_wrong_are_found_and_made_right() {
    let desk = Desk::open().await;
    let [user, other] = [desk.team.user_a1.clone(), desk.team.user_a2.clone()];
    for who in [&user, &user, &other] {
        desk.create(who, new("A")).await.unwrap();
    }
    let db = desk.world.db("task");
    assert_eq!(usage::rebuild(&db, true).await.unwrap(), []);
    assert_eq!((counted(&desk, user.user_id).await, counted(&desk, other.user_id).await), (2, 1));
    let admin = desk.world.admin();
    sqlx::query("update task.usage set open_tasks = 7 where user_id = $1")
        .bind(user.user_id)
        .execute(&admin)
        .await
        .unwrap();
    sqlx::query("delete from task.usage where user_id = $1").bind(other.user_id).execute(&admin).await.unwrap();
    let mut found = usage::rebuild(&db, true).await.unwrap();
    found.sort_by_key(|counter| counter.actual);
    let found: Vec<_> = found.iter().map(|wrong| (wrong.user_id, wrong.counted, wrong.actual)).collect();
    assert_eq!(found, [(other.user_id, 0, 1), (user.user_id, 7, 2)]);
    assert_eq!(counted(&desk, user.user_id).await, 7, "a check changes nothing");
    assert_eq!(usage::rebuild(&db, false).await.unwrap().len(), 2);
    assert_eq!(usage::rebuild(&db, true).await.unwrap(), []);
    assert_eq!((counted(&desk, user.user_id).await, counted(&desk, other.user_id).await), (2, 1));
    assert_eq!(published(&desk, user.user_id).await.last(), Some(&2));
}

#[tokio::test]
async fn a_counter_that_somebody_holds_keeps_no_other_from_being_told() {
    let desk = Desk::open().await;
    let [held, other] = [desk.team.user_a1.clone(), desk.team.user_a2.clone()];
    allow_all(&desk).await;
    desk.create(&held, new("First")).await.unwrap();
    assert_eq!(counted(&desk, held.user_id).await, 1);
    let slow = hold(&desk, held.user_id).await;
    desk.create(&held, new("Second")).await.unwrap();
    desk.create(&other, new("Theirs")).await.unwrap();
    eventually(|| async { (published(&desk, other.user_id).await == [1]).then_some(()) }).await;
    // Another account is as little concerned.
    let elsewhere = desk.elsewhere().await;
    let stranger = elsewhere.team.owner.clone();
    elsewhere.create(&stranger, new("Elsewhere")).await.unwrap();
    eventually(|| async { (published(&desk, stranger.user_id).await == [1]).then_some(()) }).await;
    assert_eq!(published(&desk, held.user_id).await, [1]);
    slow.rollback().await.unwrap();
    eventually(|| async { (published(&desk, held.user_id).await.last() == Some(&2)).then_some(()) }).await;
}

#[tokio::test]
async fn two_who_correct_at_once_correct_once() {
    let desk = Desk::open().await;
    let user = desk.team.user_a1.clone();
    for _ in 0..3 {
        desk.create(&user, new("A")).await.unwrap();
    }
    assert_eq!(counted(&desk, user.user_id).await, 3);
    let db = desk.world.db("task");
    for wrong in [0, 9, 1, 7, 2, 8] {
        sqlx::query("update task.usage set open_tasks = $1").bind(wrong).execute(&desk.world.admin()).await.unwrap();
        for found in join_all((0..4).map(|_| usage::rebuild(&db, false))).await {
            found.unwrap();
        }
        assert_eq!(counted(&desk, user.user_id).await, 3);
    }
}
