//! Services that are killed while streams are open: the gateway's streams go on, and no task runs in vain for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use baton_proto::baton::live::v1::{BoardKind, ChannelKind, WatchRequest, WatchResponse};
use baton_tests::{GrpcWeb, Meter, Person, Platform, Services, eventually, grpc_web::Frame};
use futures_util::{SinkExt, StreamExt, stream};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};
use tokio_tungstenite::{connect_async, tungstenite::Message};
use uuid::Uuid;

const WATCH: &str = "/baton.live.v1.LiveService/Watch";
/// Streams that are opened concurrently.
const CONCURRENCY: usize = 16;
/// These tests are not about limits on streams per user or connections per address.
const MANY_STREAMS: [(&str, &str); 4] = [
    ("BATON_GATEWAY_MAX_STREAMS_PER_PERSON", "2000"),
    ("BATON_GATEWAY_MAX_STREAMS_PER_ACCOUNT", "2000"),
    ("BATON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", "4000"),
    ("BATON_GATEWAY_MAX_CONNECTIONS", "8000"),
];
/// Log lines permitted per second while idle.
const MAX_IDLE_LOG_LINES: usize = 5;
/// CPU time of all services permitted per second while streams are open and idle.
const MAX_IDLE_CPU: Duration = Duration::from_millis(400);

/// An owner with an account, on services that run as separate processes.
async fn owner_and_services(platform: &mut Platform) -> (Person, Uuid, Services) {
    let owner = platform.person("owner").await;
    let account_id = owner.create_account("Watched").await;
    platform.sigterm();
    platform.wait_for_exit().await;
    (owner.at(account_id), account_id, Services::start(platform, &[]).await)
}

/// A Watch stream over gRPC-Web that is read to its end, with its number of events.
struct Watch {
    shown: Arc<AtomicUsize>,
    end: JoinHandle<()>,
}

impl Watch {
    async fn open(web: GrpcWeb, owner: Person, account_id: Uuid) -> Self {
        let request = WatchRequest {
            channel: ChannelKind::Board.into(),
            board: BoardKind::Account.into(),
            ..WatchRequest::default()
        };
        let mut body = web.open(Some((&owner, account_id)), WATCH, &request).await.expect("the watch begins");
        body.next().await.expect("the watch goes on").expect("the first message");
        let shown = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&shown);
        let end = tokio::spawn(async move {
            while let Ok(Some(Frame::Message(event))) = body.next().await {
                let event = WatchResponse::decode(&*event).expect("an event");
                let has_task = !event.message.unwrap_or_default().task_id().is_empty();
                counted.fetch_add(usize::from(has_task), Ordering::SeqCst);
            }
        });
        Self { shown, end }
    }
}

/// Number of streams with this many events; asserts that none has ended.
fn count_with_events(watches: &[Watch], events: usize) -> usize {
    let ended = watches.iter().filter(|watch| watch.end.is_finished()).count();
    assert_eq!(ended, 0, "streams ended without a cause");
    watches.iter().filter(|watch| watch.shown.load(Ordering::SeqCst) >= events).count()
}

/// Waits for a second in which the processes use little CPU time and print little.
async fn wait_until_idle(meter: &Meter) {
    eventually("a quiet second", || async {
        let (lines, cpu) = (meter.printed_lines(), meter.cpu());
        sleep(Duration::from_secs(1)).await;
        let quiet = meter.printed_lines() - lines <= MAX_IDLE_LOG_LINES;
        let Some((before, after)) = cpu.zip(meter.cpu()) else { return quiet.then_some(()) };
        (quiet && after.saturating_sub(before) <= MAX_IDLE_CPU).then_some(())
    })
    .await;
}

/// A WebSocket subscribed to an account's board, with its number of events and the way it ended.
struct Socket {
    shown: Arc<AtomicUsize>,
    end: JoinHandle<Value>,
}

impl Socket {
    async fn open(url: String) -> Self {
        let (mut socket, _) = connect_async(url).await.expect("the socket opens");
        let identifier = json!({"channel": "BoardChannel", "board_id": "account"}).to_string();
        let subscribe = json!({"command": "subscribe", "identifier": identifier}).to_string();
        socket.send(Message::text(subscribe)).await.expect("the socket is open");
        let next = async |socket: &mut tokio_tungstenite::WebSocketStream<_>| -> Option<Value> {
            let message = socket.next().await?.ok()?;
            Some(serde_json::from_str(message.to_text().ok()?).unwrap_or_default())
        };
        loop {
            let message = next(&mut socket).await.expect("the socket stays open");
            if message["type"] == "confirm_subscription" {
                break;
            }
        }
        let shown = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&shown);
        let end = tokio::spawn(async move {
            while let Some(message) = next(&mut socket).await {
                if message["type"] == "disconnect" {
                    return message;
                }
                counted.fetch_add(usize::from(message["message"]["task_id"].is_string()), Ordering::SeqCst);
            }
            Value::Null
        });
        Self { shown, end }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_streams_go_on_when_services_are_killed() {
    const STREAMS: usize = 500;
    let mut platform = Platform::start_with(&MANY_STREAMS).await;
    let (owner, account_id, mut services) = owner_and_services(&mut platform).await;
    let (gateway, web) = (services.meter(&["gateway"]), platform.grpc_web());
    let url = format!("ws://{}/cable?token={}&account_id={account_id}", platform.address(), owner.token);
    let open = |_| Watch::open(web.clone(), owner.clone(), account_id);
    let watches: Vec<_> = stream::iter(0..STREAMS).map(open).buffer_unordered(CONCURRENCY).collect().await;
    let sockets = stream::iter(0..STREAMS).map(|_| Socket::open(url.clone()));
    let sockets: Vec<_> = sockets.buffer_unordered(CONCURRENCY).collect().await;
    owner.create_task("For all").await;
    eventually("all streams show the first task", || async {
        let seen = sockets.iter().filter(|socket| socket.shown.load(Ordering::SeqCst) > 0).count();
        (count_with_events(&watches, 1) == STREAMS && seen == STREAMS).then_some(())
    })
    .await;
    wait_until_idle(&services.meter(&["gateway", "auth", "tenancy", "task", "notification"])).await;

    let (lines, memory) = (gateway.printed_lines(), gateway.memory_kib());
    for name in ["auth", "tenancy", "task", "notification"] {
        services.kill_9(name);
        services.start_one(name);
    }
    platform.wait_until_ready().await;
    eventually("calls succeed again", || async { (owner.get("/v1/tasks").send().await.status == 200).then_some(()) })
        .await;
    let task = owner.create_task("For all").await;
    eventually(&format!("all see task {task}"), || async {
        let watches = count_with_events(&watches, 2);
        let sockets = sockets.iter().filter(|socket| socket.shown.load(Ordering::SeqCst) > 1).count();
        (sockets == STREAMS && watches == STREAMS).then_some(())
    })
    .await;
    assert!(sockets.iter().all(|socket| !socket.end.is_finished()), "a socket ended without a cause");
    wait_until_idle(&services.meter(&["gateway", "auth", "tenancy", "task", "notification"])).await;
    let printed = gateway.printed_lines() - lines;
    assert!(printed <= 3 * STREAMS, "{printed} lines printed");
    if let (Some(before), Some(after)) = (memory, gateway.memory_kib()) {
        assert!(after <= before + 100 * 1024, "{before} KiB before, {after} KiB after");
    }
}
