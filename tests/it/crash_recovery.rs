//! Recovery from SIGKILL and from lost Redis streams: no notification is lost or duplicated.

use std::collections::BTreeMap;

use baton_tests::{Person, Platform, eventually};
use futures_util::{StreamExt, stream};
use serde_json::json;
use uuid::Uuid;

const BURST: usize = 500;
const CONCURRENCY: usize = 16;

/// Creates unassigned tasks of the owner.
async fn tasks(owner: &Person) -> Vec<Uuid> {
    stream::iter(0..BURST)
        .map(|n| async move { owner.create_task(&format!("Task {n}")).await })
        .buffered(CONCURRENCY)
        .collect()
        .await
}

/// Assigns all tasks to a user and returns the tasks whose call got no response.
async fn assign(owner: &Person, user: Uuid, tasks: &[Uuid]) -> Vec<Uuid> {
    stream::iter(tasks.to_vec())
        .map(|task| async move {
            let call = owner.post(&format!("/v1/tasks/{task}/assign"), &json!({"assigned_to": user}));
            // The idempotency key makes a retry safe.
            let response = call.header("idempotency-key", &format!("assign-{task}")).try_send().await;
            let answered = response.is_ok_and(|response| response.status == 200);
            (!answered).then_some(task)
        })
        .buffer_unordered(CONCURRENCY)
        .filter_map(|unanswered| async move { unanswered })
        .collect()
        .await
}

/// Number of notifications per task.
async fn notification_counts(user: &Person) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for page in 1.. {
        let response = user.get(&format!("/v1/notifications?per_page=100&page={page}")).ok().await;
        let notifications = response["notifications"].as_array().expect("notifications");
        if notifications.is_empty() {
            break;
        }
        for notification in notifications {
            *counts.entry(notification["task_id"].as_str().expect("a task").to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Waits until the user is notified of every task, then asserts exactly one notification each.
async fn assert_each_notified_once(user: &Person, tasks: &[Uuid]) {
    eventually("every assignment is notified", || async {
        let response = user.get("/v1/notifications?per_page=1").ok().await;
        (response["meta"]["total_count"].as_u64()? >= tasks.len() as u64).then_some(())
    })
    .await;
    let counts = notification_counts(user).await;
    let expected: BTreeMap<String, usize> = tasks.iter().map(|task| (task.to_string(), 1)).collect();
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn kill_during_a_burst_of_assignments_loses_and_duplicates_nothing() {
    let mut platform = Platform::start().await;
    let team = platform.team().await;
    let tasks = tasks(&team.owner).await;

    let (owner, user) = (team.owner.clone(), team.user.id);
    let all = tasks.clone();
    let burst = tokio::spawn(async move { assign(&owner, user, &all).await });
    // Midway: some are notified, most are not assigned yet.
    eventually("the first are notified", || async {
        let response = team.user.get("/v1/notifications?per_page=1").ok().await;
        (response["meta"]["total_count"].as_u64()? >= 20).then_some(())
    })
    .await;
    platform.kill_9();
    let unanswered = burst.await.expect("the burst does not panic");
    assert!(!unanswered.is_empty(), "the kill came too late to test anything");

    platform.restart().await;
    let still = assign(&team.owner, team.user.id, &unanswered).await;
    assert!(still.is_empty(), "{} calls failed after the restart", still.len());
    assert_each_notified_once(&team.user, &tasks).await;
}

#[tokio::test]
async fn lost_redis_streams_are_refilled() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let tasks = tasks(&team.owner).await;

    let (owner, user) = (team.owner.clone(), team.user.id);
    let all = tasks.clone();
    let burst = tokio::spawn(async move { assign(&owner, user, &all).await });
    for count in [20, 200] {
        eventually("some are notified", || async {
            let response = team.user.get("/v1/notifications?per_page=1").ok().await;
            (response["meta"]["total_count"].as_u64()? >= count).then_some(())
        })
        .await;
        platform.flush_redis().await;
    }
    let unanswered = burst.await.expect("the burst does not panic");
    assert!(unanswered.is_empty(), "{} calls failed though only the streams were lost", unanswered.len());
    assert_each_notified_once(&team.user, &tasks).await;
}
