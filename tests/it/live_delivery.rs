//! Delivery while everything breaks: sockets and a gateway are killed at random, and each subscriber still receives every
//! message once and in order.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use baton_tests::{Platform, Services, eventually};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use uuid::Uuid;

const SUBSCRIBERS: usize = 500;
const CHANGES: usize = 200;
/// A subscriber drops its socket after a message with this probability.
const DROPPED: f64 = 0.01;
const LIMITS: [(&str, &str); 5] = [
    ("BATON_GATEWAY_MAX_STREAMS_PER_PERSON", "100000"),
    ("BATON_GATEWAY_MAX_STREAMS_PER_ACCOUNT", "100000"),
    ("BATON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", "100000"),
    ("BATON_GATEWAY_MAX_CONNECTIONS", "100000"),
    ("BATON_TENANCY_TIER_LIMITS", "free.api_requests_per_hour=unlimited"),
];

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// What a subscriber has received.
#[derive(Default)]
struct Received {
    versions: Vec<i64>,
    /// The stream, and the position in it.
    position: Option<(String, Value)>,
    reconnects: usize,
}

struct Subscriber {
    gateways: [SocketAddr; 2],
    query: String,
    identifier: String,
    last: i64,
    confirmed: Arc<AtomicUsize>,
    drops: Arc<AtomicBool>,
}

impl Subscriber {
    /// Receives until the last version has arrived.
    async fn run(self) -> Received {
        let mut received = Received::default();
        let mut is_first = true;
        while received.versions.last() != Some(&self.last) {
            let Some(mut socket) = self.connect(&received).await else {
                sleep(Duration::from_millis(rand::random_range(20..200))).await;
                continue;
            };
            received.reconnects += usize::from(!is_first);
            self.follow(&mut socket, &mut received, &mut is_first).await;
        }
        received
    }

    /// Connects to one of the gateways, and subscribes from the last position.
    async fn connect(&self, received: &Received) -> Option<Socket> {
        let gateway = self.gateways[rand::random_range(0..2)];
        let mut request = format!("ws://{gateway}/cable?{}", self.query).into_client_request().ok()?;
        request.headers_mut().insert("sec-websocket-protocol", "actioncable-v1-ext-json".parse().ok()?);
        let (mut socket, _) = timeout(Duration::from_secs(10), connect_async(request)).await.ok()?.ok()?;
        let mut subscribe = json!({"command": "subscribe", "identifier": self.identifier});
        if let Some((stream, position)) = &received.position {
            subscribe["history"] = json!({"streams": {stream: position}});
        }
        socket.send(Message::text(subscribe.to_string())).await.ok()?;
        Some(socket)
    }

    /// Reads messages until the socket ends, is dropped, or the last version has arrived.
    async fn follow(&self, socket: &mut Socket, received: &mut Received, is_first: &mut bool) {
        while let Ok(Some(Ok(message))) = timeout(Duration::from_secs(20), socket.next()).await {
            let message: Value =
                message.to_text().ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            assert_ne!(message["type"], "reject_history", "a position was lost");
            if message["message"].is_null() {
                continue;
            }
            let Some(stream) = message["stream_id"].as_str() else { continue };
            let position = json!({"epoch": message["epoch"], "offset": message["offset"]});
            received.position = Some((stream.to_owned(), position));
            if message["message"]["event"] == "resync" {
                assert!(std::mem::replace(is_first, false), "told to read the state again: {message}");
                self.confirmed.fetch_add(1, Ordering::SeqCst);
            }
            if let Some(version) = message["message"]["version"].as_i64() {
                received.versions.push(version);
                if version == self.last || self.drops.load(Ordering::SeqCst) && rand::random_bool(DROPPED) {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_arrives_once_and_in_order_while_sockets_and_a_gateway_are_killed() {
    let mut platform = Platform::start_with(&LIMITS).await;
    let owner = platform.person("owner").await;
    let account_id = owner.create_account("Followed by many").await;
    let owner = owner.at(account_id);
    let task = owner.create_task("Version 1").await;
    platform.sigterm();
    platform.wait_for_exit().await;
    let mut services = Services::start(&platform, &LIMITS).await;
    let second = services.start_gateway("gateway-2").await;
    let (confirmed, drops) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| {
            let subscriber = Subscriber {
                gateways: [platform.address(), second],
                query: format!("token={}&account_id={account_id}", owner.token),
                identifier: json!({"channel": "TaskChannel", "task_id": task}).to_string(),
                last: CHANGES as i64 + 1,
                confirmed: Arc::clone(&confirmed),
                drops: Arc::clone(&drops),
            };
            tokio::spawn(subscriber.run())
        })
        .collect();
    eventually("everybody follows the task", || async {
        (confirmed.load(Ordering::SeqCst) == SUBSCRIBERS).then_some(())
    })
    .await;
    for change in 0..CHANGES {
        owner.patch(&format!("/v1/tasks/{task}"), &json!({"title": Uuid::new_v4()})).ok().await;
        match change {
            50 | 130 => services.kill_9("gateway-2"),
            90 | 160 => services.restart_gateway("gateway-2", second),
            _ => {}
        }
    }
    drops.store(false, Ordering::SeqCst);
    let expected: Vec<i64> = (2..=CHANGES as i64 + 1).collect();
    let mut reconnects = 0;
    for subscriber in subscribers {
        let received = timeout(Duration::from_secs(120), subscriber).await.expect("all arrive").unwrap();
        assert_eq!(received.versions, expected, "each message once, in order");
        reconnects += received.reconnects;
    }
    println!("{} messages, {reconnects} reconnects", CHANGES * SUBSCRIBERS);
    assert!(reconnects > SUBSCRIBERS, "only {reconnects} sockets were killed");
}
