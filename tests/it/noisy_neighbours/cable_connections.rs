//! Connections to `/cable` and lookups by subscriptions count as requests.

use std::time::Duration;

use baton_tests::{PASSWORD, Platform};
use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};
use uuid::Uuid;

use super::{attacker::Attacker, neighbours::Neighbours};

const TIMEOUT: Duration = Duration::from_secs(20);
/// Hourly request limit of the accounts. The other users need less.
const ACCOUNT_LIMIT: &str = "free.users=1000,free.open_tasks_per_user=100000,free.api_requests_per_hour=2000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthenticated_sockets_count_against_their_address() {
    const SOCKETS: usize = 300;
    const LIMIT: usize = 100;
    // The test sets the client address, as a load balancer does; its users are created from its own address.
    let limit = LIMIT.to_string();
    let variables =
        [("BATON_GATEWAY_REQUESTS_PER_HOUR_ANONYMOUS", &*limit), ("BATON_GATEWAY_TRUSTED_PROXIES", "127.0.0.0/8")];
    let platform = Platform::start_with(&variables).await;
    let neighbours = Neighbours::of(&platform).await;
    let connect = |n: usize, address: &str| {
        let token = if n.is_multiple_of(3) { String::new() } else { format!("bogus-{n}") };
        let url = format!("ws://{}/cable?token={token}", platform.address());
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
        async move {
            match timeout(TIMEOUT, connect_async(request)).await.expect("an answer") {
                Ok(_) => 101,
                Err(tungstenite::Error::Http(refused)) => refused.status().as_u16(),
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let statuses = neighbours.undisturbed_by(join_all((0..SOCKETS).map(|n| connect(n, "198.51.100.7")))).await;
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!((SOCKETS - LIMIT..SOCKETS).contains(&refused), "{refused} of {SOCKETS} sockets were refused");
    // They counted against the address, for all its requests.
    let login = json!({"email": "nobody@example.com", "password": PASSWORD});
    let call = platform.rest().post("/v1/auth/login", &login).header("x-forwarded-for", "198.51.100.7");
    call.refused(429, "RATE_LIMITED").await;
    assert_ne!(connect(1, "198.51.100.8").await, 429, "another address has requests left");
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a socket, or returns the HTTP status of the refusal.
async fn socket(url: &str) -> Result<Socket, u16> {
    match timeout(TIMEOUT, connect_async(url)).await.expect("an answer") {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(refused)) => Err(refused.status().as_u16()),
        Err(error) => panic!("{error:?}"),
    }
}

/// Subscribes to a task and returns the outcome: `confirm_subscription`, `reject_subscription` or `disconnect`.
async fn subscribe(socket: &mut Socket, task_id: Uuid) -> String {
    let identifier = json!({"channel": "TaskChannel", "task_id": task_id}).to_string();
    let subscribe = json!({"command": "subscribe", "identifier": identifier}).to_string();
    if socket.send(Message::text(subscribe)).await.is_err() {
        return "disconnect".to_owned();
    }
    let response = async {
        while let Some(Ok(message)) = socket.next().await {
            let message: Value =
                message.to_text().ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            let kind = message["type"].as_str().unwrap_or_default().to_owned();
            let about_it = message["identifier"] == identifier && kind.ends_with("subscription");
            if about_it || kind == "disconnect" {
                return kind;
            }
        }
        "disconnect".to_owned()
    };
    timeout(TIMEOUT, response).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_at_its_limit_causes_no_further_lookups() {
    const SUBSCRIPTIONS: i64 = 20;
    let platform = Platform::start_with(&[("BATON_TENANCY_TIER_LIMITS", ACCOUNT_LIMIT)]).await;
    let attacker = Attacker::of(&platform).await;
    let task = attacker.person.create_task("Known to the gateway by its event").await;
    let neighbours = Neighbours::of(&platform).await;
    let left = async || -> i64 {
        let response = attacker.person.get("/v1/custom-fields").send().await;
        response.header("x-ratelimit-remaining").parse().unwrap()
    };
    neighbours
        .undisturbed_by(async {
            let before = left().await;
            let mut early = socket(&attacker.cable()).await.expect("there are requests left");
            // About tasks that no event was about, the service is asked.
            for _ in 0..SUBSCRIPTIONS {
                assert_eq!(subscribe(&mut early, Uuid::now_v7()).await, "reject_subscription");
            }
            let used = before - left().await;
            // The connection, each lookup, and the call that reads the usage.
            assert!(used >= SUBSCRIPTIONS + 2, "{used} requests were counted");

            // Bulk calls, which count twenty times, use up the hourly limit.
            let mut status = 200;
            while status == 200 {
                let nothing = json!({"action": "start", "filter": {"status": ["paused"]}});
                status = attacker.person.post("/v1/tasks/bulk", &nothing).send().await.status;
            }
            assert_eq!(status, 429);
            while attacker.person.get("/v1/custom-fields").send().await.status == 200 {}

            // An open socket stays open and may follow what needs no lookup, and no other socket opens.
            assert_eq!(subscribe(&mut early, task).await, "confirm_subscription");
            for _ in 0..20 {
                assert_eq!(socket(&attacker.cable()).await.err(), Some(429), "a socket opened at the limit");
            }
        })
        .await;
}
