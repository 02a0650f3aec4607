//! Responses that are not read, or only a byte per second: a slow network or an attack.

use std::time::Duration;

use baton_proto::baton::{
    api::v1::Page,
    live::v1::{BoardKind, ChannelKind, WatchRequest},
    task::v1::ListTasksRequest,
    tenancy::v1::ExportActivityLogsRequest,
};
use baton_tests::{Platform, eventually, grpc_web::frame};
use futures_util::{SinkExt, future::join_all};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    time::{sleep, timeout},
};
use tokio_tungstenite::{client_async, tungstenite::Message};

use super::{
    attacker::{Attacker, Http2, narrow, read_slowly},
    neighbours::{CALL_TIMEOUT, Neighbours},
};

const LIST: &str = "baton.task.v1.TaskService/ListTasks";
const WATCH: &str = "baton.live.v1.LiveService/Watch";
const EXPORT: &str = "baton.tenancy.v1.ActivityService/ExportActivityLogs";
/// How long responses stay unread: longer than the timeout of the three other users.
const UNREAD_FOR: Duration = CALL_TIMEOUT.saturating_add(Duration::from_secs(1));
/// The default HTTP/2 window: 64 KiB minus one byte.
const DEFAULT_WINDOW: u32 = 65_535;
/// These tests are not about the limit on streams per user.
const MANY_STREAMS: [(&str, &str); 2] =
    [("BATON_GATEWAY_MAX_STREAMS_PER_PERSON", "1000"), ("BATON_GATEWAY_MAX_STREAMS_PER_ACCOUNT", "1000")];

fn list() -> ListTasksRequest {
    ListTasksRequest { filter: None, page: Some(Page { per_page: 100, ..Page::default() }) }
}

fn watch() -> WatchRequest {
    WatchRequest { channel: ChannelKind::Board.into(), board: BoardKind::Account.into(), ..WatchRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_grpc_responses_delay_no_other_call() {
    let platform = Platform::start_with(&MANY_STREAMS).await;
    let attacker = Attacker::of(&platform).await;
    attacker.create_large_tasks(10).await;
    let neighbours = Neighbours::of(&platform).await;
    neighbours
        .undisturbed_by(async {
            let mut clients =
                [Http2::connect(attacker.address, 0).await, Http2::connect(attacker.address, DEFAULT_WINDOW).await];
            let mut unread = Vec::new();
            for client in &mut clients {
                for _ in 0..8 {
                    unread.push(client.call(attacker.grpc(LIST), &list()).await);
                }
            }
            for started in &mut unread {
                let response = timeout(UNREAD_FOR, &mut started.response).await.expect("an answer begins");
                assert_eq!(response.expect("no reset").status(), 200);
            }
            sleep(UNREAD_FOR).await;
            drop((unread, clients));
            // Every slot is free again.
            let again = join_all((0..16).map(|_| timeout(UNREAD_FOR, attacker.person.get("/v1/tasks").send())));
            for response in again.await {
                assert_eq!(response.expect("an answer").status, 200);
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_streams_delay_no_other_call() {
    let platform = Platform::start_with(&MANY_STREAMS).await;
    let attacker = Attacker::of(&platform).await;
    let neighbours = Neighbours::of(&platform).await;
    neighbours
        .undisturbed_by(async {
            let mut client = Http2::connect(attacker.address, 0).await;
            let mut unread = Vec::new();
            for n in 0..70 {
                let head = if n % 2 == 0 { attacker.grpc(WATCH) } else { attacker.grpc_web(WATCH) };
                unread.push(client.call(head, &watch()).await);
            }
            let mut narrow_streams = Vec::new();
            for _ in 0..10 {
                let mut stream = narrow(attacker.address).await;
                let body = frame(&watch());
                let headers = format!("content-type: application/grpc-web+proto\r\ncontent-length: {}\r\n", body.len());
                stream.write_all(attacker.http1("POST", &format!("/{WATCH}"), &headers).as_bytes()).await.unwrap();
                stream.write_all(&body).await.unwrap();
                narrow_streams.push(stream);
            }
            // Sockets that subscribe to the board and never read.
            let mut sockets = Vec::new();
            for _ in 0..30 {
                let stream = narrow(attacker.address).await;
                let (mut socket, _) = client_async(attacker.cable(), stream).await.expect("the socket opens");
                let identifier = json!({"channel": "BoardChannel", "board_id": "account"}).to_string();
                let subscribe = json!({"command": "subscribe", "identifier": identifier}).to_string();
                socket.send(Message::text(subscribe)).await.unwrap();
                sockets.push(socket);
            }
            // Events on the board are sent to all of them.
            attacker.create_tasks(300).await;
            sleep(UNREAD_FOR).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_downloads_delay_no_other_call() {
    let platform = Platform::start_with(&MANY_STREAMS).await;
    let attacker = Attacker::of(&platform).await;
    let ids = attacker.create_large_tasks(100).await;
    // An export that is larger than the buffers of the connections.
    for n in 0..12 {
        let change = json!({"action": "update", "task_ids": ids, "task": {"title": format!("Change {n}")}});
        attacker.person.post("/v1/tasks/bulk", &change).ok().await;
    }
    eventually("the account's log has a thousand rows", || async {
        let log = attacker.person.get("/v1/activity-logs?per_page=1").ok().await;
        (log["meta"]["total_count"].as_u64()? >= 1000).then_some(())
    })
    .await;
    let neighbours = Neighbours::of(&platform).await;
    let downloads = async {
        let mut client = Http2::connect(attacker.address, 0).await;
        let mut unread = Vec::new();
        for _ in 0..2 {
            unread.push(client.call(attacker.grpc(EXPORT), &ExportActivityLogsRequest::default()).await);
            unread.push(client.call(attacker.grpc_web(LIST), &list()).await);
            for path in ["/v1/activity-logs/export", "/v1/tasks?per_page=100"] {
                let head = attacker.request("GET", path, "application/json");
                unread.push(client.start(head, &[], true).await.expect("the connection is open"));
            }
        }
        sleep(UNREAD_FOR).await;
    };
    let slow = ["/v1/activity-logs/export", "/v1/tasks?per_page=100", "/openapi.json", "/docs"].repeat(3);
    let slow = slow.into_iter().map(|path| read_slowly(attacker.address, attacker.http1("GET", path, "")));
    neighbours
        .undisturbed_by(async {
            tokio::select! {
                () = downloads => {}
                _ = join_all(slow) => unreachable!("they read until they are dropped"),
            }
            // Every slot is free again.
            for path in ["/v1/activity-logs/export", "/v1/tasks?per_page=100"] {
                let response = timeout(UNREAD_FOR, attacker.person.get(path).send()).await.expect("an answer");
                assert_eq!(response.status, 200, "{path}");
            }
        })
        .await;
}
