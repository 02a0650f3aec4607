//! Power cuts and lost streams in the middle of work: nothing is lost, nothing happens twice.

use std::collections::BTreeMap;

use baton_tests::{Person, Platform, eventually};
use futures_util::{StreamExt, stream};
use serde_json::json;
use uuid::Uuid;

const BURST: usize = 500;
const AT_ONCE: usize = 16;

/// Tasks of the owner's, which nobody holds.
async fn tasks(owner: &Person) -> Vec<Uuid> {
    stream::iter(0..BURST)
        .map(|n| async move { owner.create_task(&format!("Task {n}")).await })
        .buffered(AT_ONCE)
        .collect()
        .await
}

/// Hands all tasks to someone; answers those for which no answer came.
async fn assign(owner: &Person, user: Uuid, tasks: &[Uuid]) -> Vec<Uuid> {
    stream::iter(tasks.to_vec())
        .map(|task| async move {
            let call = owner.post(&format!("/v1/tasks/{task}/assign"), &json!({"assigned_to": user}));
            // The key makes repeating safe, as a careful client would.
            let answer = call.header("idempotency-key", &format!("assign-{task}")).try_send().await;
            let answered = answer.is_ok_and(|answer| answer.status == 200);
            (!answered).then_some(task)
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|unanswered| async move { unanswered })
        .collect()
        .await
}

/// How many notifications each task led to.
async fn told(user: &Person) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for page in 1.. {
        let answer = user.get(&format!("/v1/notifications?per_page=100&page={page}")).ok().await;
        let notifications = answer["notifications"].as_array().expect("notifications");
        if notifications.is_empty() {
            break;
        }
        for notification in notifications {
            *told.entry(notification["task_id"].as_str().expect("a task").to_owned()).or_default() += 1;
        }
    }
    told
}

/// Waits until the user was told of every task, and then checks that it was once each.
async fn each_was_told_once(user: &Person, tasks: &[Uuid]) {
    eventually("every assignment is told", || async {
        let answer = user.get("/v1/notifications?per_page=1").ok().await;
        (answer["meta"]["total_count"].as_u64()? >= tasks.len() as u64).then_some(())
    })
    .await;
    let told = told(user).await;
    let expected: BTreeMap<String, usize> = tasks.iter().map(|task| (task.to_string(), 1)).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn kill_during_a_burst_of_assignments_loses_and_duplicates_nothing() {
    let mut platform = Platform::start().await;
    let team = platform.team().await;
    let tasks = tasks(&team.owner).await;

    let (owner, user) = (team.owner.clone(), team.user.id);
    let all = tasks.clone();
    let burst = tokio::spawn(async move { assign(&owner, user, &all).await });
    // In the middle: some are told already, most are not assigned yet.
    eventually("the first are told", || async {
        let answer = team.user.get("/v1/notifications?per_page=1").ok().await;
        (answer["meta"]["total_count"].as_u64()? >= 20).then_some(())
    })
    .await;
    platform.kill_9();
    let unanswered = burst.await.expect("it ran");
    assert!(!unanswered.is_empty(), "the power cut came too late to test anything");

    platform.restart().await;
    let still = assign(&team.owner, team.user.id, &unanswered).await;
    assert!(still.is_empty(), "{} calls failed after the restart", still.len());
    each_was_told_once(&team.user, &tasks).await;
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
        eventually("some are told", || async {
            let answer = team.user.get("/v1/notifications?per_page=1").ok().await;
            (answer["meta"]["total_count"].as_u64()? >= count).then_some(())
        })
        .await;
        platform.flush_redis().await;
    }
    let unanswered = burst.await.expect("it ran");
    assert!(unanswered.is_empty(), "{} calls failed though only the streams were lost", unanswered.len());
    each_was_told_once(&team.user, &tasks).await;
}
