//! Server-streaming RPCs over plain HTTP: the gateway serves them as server-sent events and as WebSockets.

use std::collections::HashSet;

use baton_tests::{Node, Platform};
use serde_json::{Value, json};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, client::IntoClientRequest},
};

const PATH: &str = "/v1/greetings/watch";
const CLIENTS: [&str; 3] = ["EventSource", "WebSocket", "ws"];

/// The next line of this kind from each client.
async fn next_of_each(node: &mut Node, event: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for client in CLIENTS {
        let line = node.wait_for(event, |line| line["client"] == client && line["event"] == event).await;
        found.push(line["data"].clone());
    }
    found
}

#[tokio::test]
async fn browsers_follow_a_stream_until_their_session_is_closed() {
    let platform = Platform::start_example(&[]).await;
    let team = platform.team().await;
    let argument = json!({
        "url": platform.url(), "path": PATH, "token": team.user.token, "account_id": team.account_id,
    });
    let mut node = Node::start("stream.mjs", &argument);
    let opened = node.wait_for("the WebSocket", |line| line["event"] == "open").await;
    assert_eq!(opened["data"], "baton-v1-json");
    let mut greeted = HashSet::new();
    for _ in 0..4 {
        let messages = next_of_each(&mut node, "message").await;
        assert!(messages.iter().all(|message| *message == messages[0]), "{messages:?}");
        greeted.insert(messages[0]["greeting"]["user_id"].to_string());
    }
    assert_eq!(greeted.len(), 4, "each member once");

    let eve = platform.person("eve").await;
    platform.join(team.account_id, &team.owner, &eve, "user", None).await;
    for message in next_of_each(&mut node, "message").await {
        assert_eq!(message["greeting"]["user_id"], json!(eve.id), "{message}");
        assert!(message["greeting"]["created_at"].is_string(), "{message}");
    }

    team.user.post("/v1/auth/logout", &json!({"refresh_token": team.user.refresh_token})).ok().await;
    let closed = json!("1008 SESSION_CLOSED");
    assert_eq!(next_of_each(&mut node, "end").await, [json!("SESSION_CLOSED"), closed.clone(), closed]);
}

#[tokio::test]
async fn streams_are_refused_as_calls_are() {
    let platform = Platform::start_example(&[]).await;
    let (team, other) = (platform.team().await, platform.team().await);
    let rest = platform.rest();
    rest.get(PATH).refused(401, "TOKEN_MISSING").await;
    rest.with_token("e30.e30.e30").get(PATH).refused(401, "TOKEN_INVALID").await;
    rest.with_token(&*other.user.token).in_account(team.account_id).get(PATH).refused(403, "NOT_A_MEMBER").await;
    team.user.get(&format!("{PATH}?after=1")).refused(400, "VALIDATION_FAILED").await;
    team.user.get(&format!("{PATH}?unknown=1")).refused(400, "UNKNOWN_FIELD").await;
    let key = team.user.post("/v1/api-keys", &json!({"name": "key", "scopes": ["notifications:read"]})).ok().await;
    let with_key = rest.with_token(key["key"].as_str().unwrap()).in_account(team.account_id);
    with_key.get(PATH).refused(403, "SCOPE_MISSING").await;

    let request = |origin: Option<&'static str>, token: &str| {
        let url =
            format!("{}{PATH}?token={token}&account_id={}", platform.url().replace("http", "ws"), team.account_id);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().extend(origin.map(|origin| (reqwest::header::ORIGIN, origin.parse().unwrap())));
        request
    };
    let refusal = async |request| match connect_async(request).await {
        Err(tungstenite::Error::Http(response)) => {
            let problem: Value = serde_json::from_slice(response.body().as_ref().unwrap()).unwrap();
            problem["reason"].as_str().unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(request(Some("https://evil.example"), &team.user.token)).await, "ORIGIN_NOT_ALLOWED");
    assert_eq!(refusal(request(None, &other.user.token)).await, "NOT_A_MEMBER");
    connect_async(request(None, &team.user.token)).await.expect("the same request with the right token");
    let contract = rest.get("/openapi.json").ok().await;
    let content = &contract["paths"][PATH]["get"]["responses"]["200"]["content"];
    assert!(content["text/event-stream"]["schema"].is_object(), "{content}");
}
