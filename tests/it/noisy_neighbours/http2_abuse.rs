//! HTTP/2 limits per connection: unread small frames and immediate resets. A client that exceeds them loses its own
//! connection only.

use std::time::Duration;

use baton_proto::baton::{
    live::v1::{BoardKind, ChannelKind, WatchRequest},
    task::v1::ListTasksRequest,
};
use baton_tests::{Platform, grpc_web::frame};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    attacker::{Attacker, Http2},
    neighbours::Neighbours,
};

const WATCH: &str = "baton.live.v1.LiveService/Watch";
const LIST: &str = "baton.task.v1.TaskService/ListTasks";
const MANY_STREAMS: [(&str, &str); 2] =
    [("BATON_GATEWAY_MAX_STREAMS_PER_PERSON", "1000"), ("BATON_GATEWAY_MAX_STREAMS_PER_ACCOUNT", "1000")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_unread_streams_of_one_board_end_no_other_stream() {
    const WATCHES: usize = 300;
    let platform = Platform::start_with(&MANY_STREAMS).await;
    let attacker = Attacker::of(&platform).await;
    let neighbours = Neighbours::of(&platform).await;
    neighbours
        .undisturbed_by(async {
            for _ in 0..2 {
                let mut client = Http2::connect(attacker.address, 0).await;
                let mut unread = Vec::new();
                let watch = WatchRequest {
                    channel: ChannelKind::Board.into(),
                    board: BoardKind::Account.into(),
                    ..WatchRequest::default()
                };
                for _ in 0..WATCHES {
                    unread.push(client.call(attacker.grpc(WATCH), &watch).await);
                }
                for started in &mut unread {
                    // Each starts, unless the attacker's own connection is already closed.
                    drop(timeout(Duration::from_secs(5), &mut started.response).await.expect("an answer, or an end"));
                }
                // An event is 300 small frames.
                attacker.create_tasks(20).await;
                sleep(Duration::from_secs(1)).await;
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_resets_a_second_break_no_other_call() {
    const PER_SECOND: u32 = 600;
    const RESETS: usize = 3000;
    let platform = Platform::start_with(&MANY_STREAMS).await;
    let attacker = Attacker::of(&platform).await;
    let neighbours = Neighbours::of(&platform).await;
    let reset = async {
        let mut pace = interval(Duration::from_secs(1) / PER_SECOND);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut client = Http2::connect(attacker.address, 65_535).await;
        let list = frame(&ListTasksRequest::default());
        let (mut made, mut connections) = (0, 1);
        while made < RESETS {
            pace.tick().await;
            let head = if made % 2 == 0 {
                attacker.grpc(LIST)
            } else {
                attacker.request("GET", "/v1/tasks", "application/json")
            };
            let body: &[u8] = if made % 2 == 0 { &list } else { &[] };
            match client.start(head, body, true).await {
                Ok(started) => {
                    made += 1;
                    tokio::spawn(async move {
                        // Long enough for the request to reach a service.
                        sleep(Duration::from_micros(rand::random_range(500..6000))).await;
                        drop(started);
                    });
                }
                // The platform may close the attacker's connection.
                Err(_) => {
                    client = Http2::connect(attacker.address, 65_535).await;
                    connections += 1;
                }
            }
        }
        connections
    };
    let connections = neighbours.undisturbed_by(Box::pin(reset)).await;
    eprintln!("{RESETS} resets over {connections} connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_dropped_connections_a_second_break_no_other_call() {
    const PER_SECOND: u32 = 600;
    const CUTS: usize = 2400;
    let platform = Platform::start().await;
    let attacker = Attacker::of(&platform).await;
    let neighbours = Neighbours::of(&platform).await;
    let body = frame(&ListTasksRequest::default());
    let length = format!("content-type: application/grpc-web+proto\r\ncontent-length: {}\r\n", body.len());
    let requests = [
        attacker.http1("GET", "/v1/tasks", "").into_bytes(),
        [attacker.http1("POST", &format!("/{LIST}"), &length).into_bytes(), body].concat(),
    ];
    neighbours
        .undisturbed_by(async {
            let mut pace = interval(Duration::from_secs(1) / PER_SECOND);
            for n in 0..CUTS {
                pace.tick().await;
                let (request, address) = (requests[n % requests.len()].clone(), attacker.address);
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.expect("it listens");
                    stream.write_all(&request).await.ok();
                    sleep(Duration::from_micros(rand::random_range(500..6000))).await;
                });
            }
        })
        .await;
}
