//! The published WebSocket clients, unchanged, in Node and in Chromium: they lose the network, come back, and miss nothing.

use baton_tests::{Node, Person, Platform};
use serde_json::{Value, json};
use uuid::Uuid;

const HOUR: i64 = 3_600_000;

/// A client with the network that it can lose.
struct Client(Node);

impl Client {
    /// Starts a client whose clock is ahead by this many milliseconds.
    fn start(
        platform: &Platform,
        person: &Person,
        (client, browser, clock): (&str, bool, i64),
        account_id: Uuid,
        subscribe: &[Value],
    ) -> Self {
        let query = format!("token={}&account_id={account_id}", person.token);
        let argument = json!({
            "client": client, "browser": browser, "clock": clock, "url": platform.url(), "query": query,
            "subscribe": subscribe,
        });
        Self(Node::start("live.mjs", &argument))
    }

    async fn set_network(&mut self, up: bool) {
        self.0.write_line(&json!({"network": up})).await;
        let expected = if up { "connected" } else { "disconnected" };
        self.0.wait_for(expected, |line| line["event"] == expected).await;
    }

    /// The next message; `None` if it only has a position, or tells to read the state.
    async fn next(&mut self, identifier: &Value) -> Option<Value> {
        let is_message = |line: &Value| line["event"] == "received" && line["identifier"] == *identifier;
        let mut line = self.0.wait_for("a message", is_message).await;
        let data = line["data"].take();
        (data["event"] != "resync" && data["event"] != "subscribed").then_some(data)
    }

    /// The versions of the next task events.
    async fn versions(&mut self, identifier: &Value, count: usize) -> Vec<i64> {
        let mut versions = Vec::new();
        for _ in 0..count {
            let message = self.next(identifier).await.expect("a change, and no resync");
            versions.push(message["version"].as_i64().expect("a task event has a version"));
        }
        versions
    }
}

fn follow(task_id: Uuid) -> Value {
    json!({"channel": "TaskChannel", "task_id": task_id})
}

async fn rename(person: &Person, task: Uuid, times: usize) {
    for _ in 0..times {
        person.patch(&format!("/v1/tasks/{task}"), &json!({"title": Uuid::new_v4()})).ok().await;
    }
}

async fn resumes(platform: &Platform, person: &Person, account_id: Uuid, kind: (&str, bool, i64), before: usize) {
    let task = person.create_task("Followed").await;
    let identifier = follow(task);
    let mut client = Client::start(platform, person, kind, account_id, std::slice::from_ref(&identifier));
    client.0.wait_for("the connection", |line| line["event"] == "connected").await;
    // AnyCable asks for what happened since it was loaded, by its clock: the creation of the task, perhaps.
    while client.next(&identifier).await.is_some() {}
    rename(person, task, before).await;
    let mut seen = client.versions(&identifier, before).await;
    client.set_network(false).await;
    rename(person, task, 4).await;
    client.set_network(true).await;
    rename(person, task, 1).await;
    seen.extend(client.versions(&identifier, 5).await);
    let expected: Vec<i64> = (2..7 + before as i64).collect();
    assert_eq!(seen, expected, "{kind:?}: every change once, in order");
}

#[tokio::test]
async fn anycable_resumes_without_a_gap_whatever_its_clock_says() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    for (clock, before) in [(0, 2), (HOUR, 1), (-HOUR, 1), (HOUR, 0)] {
        resumes(&platform, &team.user, team.account_id, ("anycable", false, clock), before).await;
    }
}

#[tokio::test]
async fn anycable_resumes_in_chromium() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    resumes(&platform, &team.user, team.account_id, ("anycable", true, -HOUR), 1).await;
}

#[tokio::test]
async fn rails_client_reads_again_and_continues_from_the_live_position() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    for (browser, clock) in [(false, 0), (false, HOUR), (true, -HOUR)] {
        let task = team.user.create_task("Followed").await;
        let identifier = follow(task);
        let kind = ("rails", browser, clock);
        let mut client = Client::start(&platform, &team.user, kind, team.account_id, std::slice::from_ref(&identifier));
        client.0.wait_for("the connection", |line| line["event"] == "connected").await;
        assert_eq!(client.next(&identifier).await, None, "{kind:?}");
        rename(&team.user, task, 1).await;
        assert_eq!(client.versions(&identifier, 1).await, [2]);
        client.set_network(false).await;
        rename(&team.user, task, 2).await;
        client.set_network(true).await;
        assert_eq!(client.next(&identifier).await, None, "{kind:?}: it is told that it may have missed something");
        // The page reads the state. Changes between that and its subscription are not lost.
        let state = team.user.get(&format!("/v1/tasks/{task}")).send().await;
        let version = state.json()["version"].as_i64().unwrap();
        assert_eq!(version, 4);
        rename(&team.user, task, 2).await;
        let continued = json!({"channel": "TaskChannel", "task_id": task, "since": state.header("live-position")});
        client.0.write_line(&json!({"subscribe": continued})).await;
        rename(&team.user, task, 1).await;
        let mut versions = client.versions(&continued, 3).await;
        // The position is from before the read, so older changes may come again.
        while versions.first().is_some_and(|&first| first <= version) {
            versions.remove(0);
            versions.extend(client.versions(&continued, 1).await);
        }
        assert_eq!(versions, [5, 6, 7], "{kind:?}");
    }
}

#[tokio::test]
async fn both_clients_are_refused_what_they_may_not_see() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let hidden = follow(team.owner.create_task("hidden").await);
    for kind in [("rails", false, 0), ("anycable", false, 0), ("rails", true, 0), ("anycable", true, 0)] {
        let mut client = Client::start(&platform, &team.user, kind, team.account_id, std::slice::from_ref(&hidden));
        let refused = client.0.wait_for("the refusal", |line| line["event"] == "rejected").await;
        assert_eq!(refused["identifier"], hidden, "{kind:?}");
    }
}
