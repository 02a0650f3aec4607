//! The quota of open tasks per member.

use baton_errors::Reason;
use baton_proto::baton::{events::v1::Envelope, tenancy::v1::UsageChanged};
use baton_task::maintenance::quota_counters;
use baton_testkit::{eventually, reason};
use futures_util::future::join_all;
use prost::Message;
use sqlx::{Postgres, Transaction};
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::fixture::{Fixture, error_reason, new_task};

async fn set_limit(fixture: &Fixture, limit: i32) {
    sqlx::query("update tenancy.accounts set max_open_tasks_per_user = $1")
        .bind(limit)
        .execute(&fixture.context.admin())
        .await
        .unwrap();
}

/// The counter's value after all pending changes are added.
async fn counted(fixture: &Fixture, user_id: Uuid) -> i32 {
    let admin = fixture.context.admin();
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

/// Published usage values of a member, in order.
async fn published(fixture: &Fixture, user_id: Uuid) -> Vec<i32> {
    let envelopes: Vec<Vec<u8>> = sqlx::query_scalar("select envelope from task.outbox order by position")
        .fetch_all(&fixture.context.admin())
        .await
        .unwrap();
    let envelopes = envelopes.iter().map(|envelope| Envelope::decode(envelope.as_slice()).unwrap());
    envelopes
        .filter(|envelope| envelope.r#type == "usage.changed" && envelope.subject_id == user_id.to_string())
        .map(|envelope| envelope.payload.unwrap().to_msg::<UsageChanged>().unwrap().used)
        .collect()
}

/// Locks a counter row until the transaction is dropped.
async fn lock_counter(fixture: &Fixture, user_id: Uuid) -> Transaction<'static, Postgres> {
    let mut slow = fixture.context.admin().begin().await.unwrap();
    let lock = "select from task.usage where user_id = $1 for update";
    sqlx::query(lock).bind(user_id).execute(&mut *slow).await.unwrap();
    slow
}

/// Moves all accounts to a tier without a limit.
async fn remove_limits(fixture: &Fixture) {
    let unlimited = "update tenancy.accounts set subscription_tier = 'enterprise'";
    sqlx::query(unlimited).execute(&fixture.context.admin()).await.unwrap();
}

#[tokio::test]
async fn one_of_a_hundred_concurrent_creates_takes_the_last_slot() {
    let fixture = Fixture::new().await;
    let user = fixture.team.user_a1.clone();
    set_limit(&fixture, 3).await;
    let mut counts = Vec::new();
    for n in 1..=2 {
        fixture.create(&user, new_task("Sweep")).await.unwrap();
        assert_eq!(counted(&fixture, user.user_id).await, n);
        counts.push(n);
    }
    for _ in 0..5 {
        let responses = join_all((0..100).map(|_| fixture.create(&user, new_task("Mop")))).await;
        let (made, refused): (Vec<_>, Vec<_>) = responses.into_iter().partition(Result::is_ok);
        let [made] = made.try_into().unwrap();
        for refused in refused.into_iter().filter_map(Result::err) {
            assert_eq!((reason(&refused), refused.code()), (Some(Reason::QuotaExceeded), Code::FailedPrecondition));
            let details = refused.get_details_error_info().unwrap().metadata;
            assert_eq!(
                ["quota", "limit", "used"].map(|name| details[name].as_str()),
                ["open_tasks_per_user", "3", "3"]
            );
        }
        counts.push(3);
        assert_eq!(
            (counted(&fixture, user.user_id).await, published(&fixture, user.user_id).await),
            (3, counts.clone())
        );
        fixture.delete(&user, &made.unwrap().id).await.unwrap();
        assert_eq!(counted(&fixture, user.user_id).await, 2);
        counts.push(2);
    }
    // Each member has their own quota.
    fixture.create(&fixture.team.user_a2, new_task("Dust")).await.unwrap();
}

#[tokio::test]
async fn completed_or_deleted_task_frees_its_slot_once() {
    let fixture = Fixture::new().await;
    let user = fixture.team.user_a1.clone();
    set_limit(&fixture, 2).await;
    let done = fixture.create(&user, new_task("A")).await.unwrap();
    // Each change is published separately if it is counted before the next.
    assert_eq!(counted(&fixture, user.user_id).await, 1);
    let gone = fixture.create(&user, new_task("B")).await.unwrap();
    assert_eq!(counted(&fixture, user.user_id).await, 2);
    assert_eq!(error_reason(fixture.create(&user, new_task("C")).await), Reason::QuotaExceeded);
    fixture.start(&user, &done.id).await.unwrap();
    fixture.complete(&user, &done.id).await.unwrap();
    fixture.complete(&user, &done.id).await.unwrap_err();
    assert_eq!(counted(&fixture, user.user_id).await, 1);
    fixture.delete(&user, &gone.id).await.unwrap();
    // It was already closed.
    fixture.delete(&user, &done.id).await.unwrap();
    assert_eq!((counted(&fixture, user.user_id).await, published(&fixture, user.user_id).await), (0, vec![1, 2, 1, 0]));
    fixture.create(&user, new_task("C")).await.unwrap();
}

#[tokio::test]
async fn unlimited_account_takes_no_counter_lock() {
    let fixture = Fixture::new().await;
    let user = fixture.team.user_a1.clone();
    remove_limits(&fixture).await;
    let first = fixture.create(&user, new_task("First")).await.unwrap().id;
    assert_eq!(counted(&fixture, user.user_id).await, 1);
    let slow = lock_counter(&fixture, user.user_id).await;
    fixture.create(&user, new_task("Sweep")).await.unwrap();
    fixture.start(&user, &first).await.unwrap();
    fixture.complete(&user, &first).await.unwrap();
    slow.rollback().await.unwrap();
    assert_eq!(counted(&fixture, user.user_id).await, 1);
}

#[tokio::test]
async fn concurrent_instances_count_every_task_once() {
    let fixture = Fixture::new().await;
    fixture.start_instance().await;
    let [user, other] = [fixture.team.user_a1.clone(), fixture.team.user_a2.clone()];
    let made =
        join_all((0..60).map(|n| fixture.create(if n % 3 == 0 { &other } else { &user }, new_task("Sweep")))).await;
    let other_id = other.user_id.to_string();
    let gone = made.iter().flatten().filter(|task| task.created_by == other_id);
    for response in join_all(gone.map(|gone| fixture.delete(&other, &gone.id))).await {
        response.unwrap();
    }
    assert_eq!((counted(&fixture, user.user_id).await, counted(&fixture, other.user_id).await), (40, 0));
    assert_eq!(published(&fixture, user.user_id).await.last(), Some(&40));
    assert_eq!(published(&fixture, other.user_id).await.last(), Some(&0));
    assert_eq!(quota_counters::rebuild(&fixture.context.db("task"), true).await.unwrap(), []);
}

#[tokio::test]
async fn downgrade_keeps_existing_tasks_and_blocks_new_ones() {
    let fixture = Fixture::new().await;
    let user = fixture.team.user_a1.clone();
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(fixture.create(&user, new_task("A")).await.unwrap().id);
    }
    set_limit(&fixture, 1).await;
    // The service caches the limit for a second.
    eventually(|| async {
        let Ok(made) = fixture.create(&user, new_task("B")).await else { return Some(()) };
        fixture.delete(&user, &made.id).await.unwrap();
        None
    })
    .await;
    assert_eq!(error_reason(fixture.create(&user, new_task("B")).await), Reason::QuotaExceeded);
    fixture.get(&user, &tasks[2]).await.unwrap();
    fixture.delete(&user, &tasks[0]).await.unwrap();
    assert_eq!(error_reason(fixture.create(&user, new_task("B")).await), Reason::QuotaExceeded);
}

#[tokio::test]
async fn wrong_counters_are_detected_and_corrected() {
    let fixture = Fixture::new().await;
    let [user, other] = [fixture.team.user_a1.clone(), fixture.team.user_a2.clone()];
    for actor in [&user, &user, &other] {
        fixture.create(actor, new_task("A")).await.unwrap();
    }
    let db = fixture.context.db("task");
    assert_eq!(quota_counters::rebuild(&db, true).await.unwrap(), []);
    assert_eq!((counted(&fixture, user.user_id).await, counted(&fixture, other.user_id).await), (2, 1));
    let admin = fixture.context.admin();
    sqlx::query("update task.usage set open_tasks = 7 where user_id = $1")
        .bind(user.user_id)
        .execute(&admin)
        .await
        .unwrap();
    sqlx::query("delete from task.usage where user_id = $1").bind(other.user_id).execute(&admin).await.unwrap();
    let mut found = quota_counters::rebuild(&db, true).await.unwrap();
    found.sort_by_key(|counter| counter.actual);
    let found: Vec<_> = found.iter().map(|wrong| (wrong.user_id, wrong.counted, wrong.actual)).collect();
    assert_eq!(found, [(other.user_id, 0, 1), (user.user_id, 7, 2)]);
    assert_eq!(counted(&fixture, user.user_id).await, 7, "a check changes nothing");
    assert_eq!(quota_counters::rebuild(&db, false).await.unwrap().len(), 2);
    assert_eq!(quota_counters::rebuild(&db, true).await.unwrap(), []);
    assert_eq!((counted(&fixture, user.user_id).await, counted(&fixture, other.user_id).await), (2, 1));
    assert_eq!(published(&fixture, user.user_id).await.last(), Some(&2));
}

#[tokio::test]
async fn locked_counter_delays_no_other_counter() {
    let fixture = Fixture::new().await;
    let [held, other] = [fixture.team.user_a1.clone(), fixture.team.user_a2.clone()];
    remove_limits(&fixture).await;
    fixture.create(&held, new_task("First")).await.unwrap();
    assert_eq!(counted(&fixture, held.user_id).await, 1);
    let slow = lock_counter(&fixture, held.user_id).await;
    fixture.create(&held, new_task("Second")).await.unwrap();
    fixture.create(&other, new_task("Theirs")).await.unwrap();
    eventually(|| async { (published(&fixture, other.user_id).await == [1]).then_some(()) }).await;
    // Another account is not affected either.
    let other_account = fixture.other_account().await;
    let stranger = other_account.team.owner.clone();
    other_account.create(&stranger, new_task("Elsewhere")).await.unwrap();
    eventually(|| async { (published(&fixture, stranger.user_id).await == [1]).then_some(()) }).await;
    assert_eq!(published(&fixture, held.user_id).await, [1]);
    slow.rollback().await.unwrap();
    eventually(|| async { (published(&fixture, held.user_id).await.last() == Some(&2)).then_some(()) }).await;
}

#[tokio::test]
async fn concurrent_corrections_apply_once() {
    let fixture = Fixture::new().await;
    let user = fixture.team.user_a1.clone();
    for _ in 0..3 {
        fixture.create(&user, new_task("A")).await.unwrap();
    }
    assert_eq!(counted(&fixture, user.user_id).await, 3);
    let db = fixture.context.db("task");
    for wrong in [0, 9, 1, 7, 2, 8] {
        sqlx::query("update task.usage set open_tasks = $1")
            .bind(wrong)
            .execute(&fixture.context.admin())
            .await
            .unwrap();
        for found in join_all((0..4).map(|_| quota_counters::rebuild(&db, false))).await {
            found.unwrap();
        }
        assert_eq!(counted(&fixture, user.user_id).await, 3);
    }
}
