//! Live updates over WebSocket, with the published Action Cable client.

use baton_tests::{Node, Person, Platform};
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn client_without_a_valid_token_is_disconnected_without_reconnect() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    for token in ["", "nonsense", &team.user.token[..team.user.token.len() - 4]] {
        let url = format!("ws://{}/cable?token={token}&account_id={}", platform.address(), team.account_id);
        let mut cable = Node::start("cable.mjs", &json!({"url": url, "subscribe": [notifications()]}));
        let gone = cable.wait_for("the end", |line| line["event"] == "disconnected").await;
        assert_eq!(gone["data"]["willAttemptReconnect"], false, "{gone}");
        assert_eq!(cable.unexpected(), [] as [Value; 0]);
    }
}

#[tokio::test]
async fn hidden_task_cannot_be_subscribed() {
    let platform = Platform::start().await;
    let (team, other) = (platform.team().await, platform.team().await);
    let hidden = team.owner.create_task("hidden").await;
    let foreign = other.owner.create_task("foreign").await;
    let own = team.user.create_task("own").await;
    let mut cable = cable(&platform, &team.user, team.account_id, &[follow(own)]).await;
    for task_id in [hidden, foreign, Uuid::now_v7()] {
        cable.write_line(&json!({"subscribe": follow(task_id)})).await;
        let response = cable.wait_for("an answer", |line| line["identifier"] == follow(task_id)).await;
        assert_eq!((&response["event"], &response["data"]), (&json!("rejected"), &Value::Null), "{response}");
    }
    for (title, task_id) in [("hidden", hidden), ("own", own)] {
        let change = json!({"title": format!("{title}, changed")});
        team.owner.patch(&format!("/v1/tasks/{task_id}"), &change).ok().await;
    }
    // Events keep the order of changes: if the second has arrived, the first was not sent.
    assert_eq!(task_events(&mut cable, own, 1).await, ["task_updated"]);
    assert_eq!(cable.unexpected(), [] as [Value; 0]);
}

#[tokio::test]
async fn removed_member_is_disconnected_at_once() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let task = team.owner.post("/v1/tasks", &json!({"title": "For all", "visibility": "account"})).ok().await;
    let task: Uuid = task["id"].as_str().unwrap().parse().unwrap();
    let mut leaving = cable(&platform, &team.user, team.account_id, &[follow(task), notifications()]).await;
    let mut staying = cable(&platform, &team.manager, team.account_id, &[follow(task)]).await;

    team.owner.delete(&format!("/v1/accounts/{}/members/{}", team.account_id, team.user.id)).ok().await;
    leaving.wait_for("the end", |line| line["event"] == "disconnected" || line["event"] == "rejected").await;
    team.owner.patch(&format!("/v1/tasks/{task}"), &json!({"title": "For those who stay"})).ok().await;
    assert_eq!(task_events(&mut staying, task, 1).await, ["task_updated"]);
    assert!(leaving.unexpected().iter().all(|line| line["event"] != "received"), "{:?}", leaving.unexpected());
}

#[tokio::test]
async fn clients_reconnect_after_a_restart() {
    let mut platform = Platform::start().await;
    let team = platform.team().await;
    let task = team.user.create_task("Survives").await;
    let mut cable = cable(&platform, &team.user, team.account_id, &[follow(task)]).await;
    platform.kill_9();
    platform.restart().await;
    // The client's reconnect delay determines the duration: some seconds.
    let back = cable.wait_for("the reconnection", |line| line["event"] == "connected").await;
    assert_eq!(back["data"]["reconnected"], true, "{back}");
    team.user.post(&format!("/v1/tasks/{task}/start"), &json!({})).ok().await;
    assert_eq!(task_events(&mut cable, task, 1).await, ["task_started"]);
}

/// Starts a client with these subscriptions and waits until all are confirmed.
pub(crate) async fn cable(platform: &Platform, person: &Person, account_id: Uuid, subscribe: &[Value]) -> Node {
    let url = format!("ws://{}/cable?token={}&account_id={account_id}", platform.address(), person.token);
    let mut node = Node::start("cable.mjs", &json!({"url": url, "subscribe": subscribe}));
    for identifier in subscribe {
        let response = node.wait_for("the subscription", |line| line["identifier"] == *identifier).await;
        assert_eq!(response["event"], "connected", "{response}");
        // Without a position, it is told to read the state.
        node.wait_for("the resync", |line| line["event"] == "resync" && line["identifier"] == *identifier).await;
    }
    node
}

pub(crate) fn notifications() -> Value {
    json!({"channel": "NotificationChannel"})
}

fn follow(task_id: Uuid) -> Value {
    json!({"channel": "TaskChannel", "task_id": task_id})
}

/// Waits for a message of a subscription that `wanted` accepts, and returns it.
pub(crate) async fn received(cable: &mut Node, identifier: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
    let message = |line: &Value| line["event"] == "received" && line["identifier"] == *identifier;
    let mut line = cable.wait_for("a message", |line| message(line) && wanted(&line["data"])).await;
    line["data"].take()
}

/// The next `count` events of a task, with ascending versions.
pub(crate) async fn task_events(cable: &mut Node, task_id: Uuid, count: usize) -> Vec<String> {
    let (mut events, mut version) = (Vec::new(), 0);
    while events.len() < count {
        let data = received(cable, &follow(task_id), |_| true).await;
        assert_eq!(data["task_id"], json!(task_id), "{data}");
        let next = data["version"].as_i64().unwrap_or_else(|| panic!("no version: {data}"));
        assert!(next > version, "version {next} came after {version}");
        version = next;
        events.push(data["event"].as_str().unwrap().to_owned());
    }
    events
}
