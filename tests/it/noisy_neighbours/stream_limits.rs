//! Stream limits: excess streams of one user are refused, and no stream of others.

use std::time::Duration;

use baton_proto::baton::live::v1::{BoardKind, ChannelKind, WatchRequest};
use baton_tests::{Person, Platform, eventually};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite};
use tonic::Code;

use super::{
    attacker::{Attacker, Http2, StartedRequest},
    neighbours::Neighbours,
};

const WATCH: &str = "baton.live.v1.LiveService/Watch";
/// Default limit per user.
const MAX_STREAMS: usize = 64;
/// Streams that are opened concurrently.
const BATCH: usize = 50;
const TIMEOUT: Duration = Duration::from_secs(20);

/// The outcome of opening a stream.
enum OpenResult {
    Open(StartedRequest, h2::RecvStream),
    /// Refused with RESOURCE_EXHAUSTED.
    Refused,
    /// DEADLINE_EXCEEDED or UNAVAILABLE: so many concurrent calls can overload a small machine.
    Overloaded,
}

fn refused(code: &str) -> OpenResult {
    match code {
        "8" => OpenResult::Refused,
        "4" | "14" => OpenResult::Overloaded,
        other => panic!("a stream was refused with status {other}"),
    }
}

/// Waits for the headers and the first message of a stream.
async fn answered(mut started: StartedRequest) -> OpenResult {
    let response = timeout(TIMEOUT, &mut started.response).await.expect("an answer").expect("no reset");
    assert_eq!(response.status(), 200);
    match response.headers().get("grpc-status") {
        None => {
            // gRPC-Web may return the status in the body; a successful stream starts with a message.
            let mut body = response.into_body();
            let first =
                timeout(TIMEOUT, body.data()).await.expect("a first frame").expect("a frame").expect("no reset");
            if first[0] & 0x80 == 0 {
                return OpenResult::Open(started, body);
            }
            let trailers = String::from_utf8_lossy(&first);
            let code = trailers.lines().find_map(|line| line.split_once("grpc-status:"));
            refused(code.expect("a status").1.trim())
        }
        Some(code) => refused(code.to_str().unwrap()),
    }
}

/// Opens streams in batches and returns the open ones and the number of refusals.
async fn open(
    client: &mut Http2,
    attacker: &Attacker,
    web: bool,
    count: usize,
) -> (Vec<(StartedRequest, h2::RecvStream)>, usize) {
    let watch = WatchRequest {
        channel: ChannelKind::Board.into(),
        board: BoardKind::Account.into(),
        ..WatchRequest::default()
    };
    let (mut open, mut refused, mut left) = (Vec::new(), 0, count);
    while left > 0 {
        let mut started = Vec::new();
        for _ in 0..left.min(BATCH) {
            let head = if web { attacker.grpc_web(WATCH) } else { attacker.grpc(WATCH) };
            started.push(client.call(head, &watch).await);
        }
        left -= started.len();
        for started in started {
            match answered(started).await {
                OpenResult::Open(started, body) => open.push((started, body)),
                OpenResult::Refused => refused += 1,
                OpenResult::Overloaded => {}
            }
        }
    }
    (open, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_limited_per_user() {
    let platform = Platform::start().await;
    let attacker = Attacker::of(&platform).await;
    let colleague = platform.person("colleague").await;
    platform.join(attacker.account_id, &attacker.person, &colleague, "super_manager", None).await;
    let neighbours = Neighbours::of(&platform).await;
    neighbours
        .undisturbed_by(async {
            // More than a service permits per connection, and some over gRPC-Web.
            for (web, wanted) in [(false, 1100), (true, 200)] {
                let mut client = Http2::connect(attacker.address, 65_535).await;
                let (streams, refused) = open(&mut client, &attacker, web, wanted).await;
                assert!((1..=MAX_STREAMS).contains(&streams.len()), "{} of {wanted} streams are open", streams.len());
                assert!(refused > wanted / 2, "{refused} of {wanted} streams were refused for their number");
                // Another member of the account has their own limit.
                eventually("a colleague opens a stream", || watches(&platform, &colleague, &attacker)).await;
                // Closing a stream permits another one.
                drop(streams);
                eventually("a stream can be opened again", || async {
                    let mut client = Http2::connect(attacker.address, 65_535).await;
                    let (streams, _) = open(&mut client, &attacker, web, 1).await;
                    (streams.len() == 1).then_some(())
                })
                .await;
            }
        })
        .await;
}

/// Opens a stream as another member of the account; `None` while the platform is overloaded.
async fn watches(platform: &Platform, person: &Person, attacker: &Attacker) -> Option<()> {
    let watch = WatchRequest {
        channel: ChannelKind::Board.into(),
        board: BoardKind::Account.into(),
        ..WatchRequest::default()
    };
    let caller = Some((person, attacker.account_id));
    match platform.grpc_web().open(caller, &format!("/{WATCH}"), &watch).await {
        Ok(mut body) => {
            body.next().await.expect("the watch goes on").expect("the first message");
            Some(())
        }
        Err(status) => {
            assert_ne!(status.code(), Code::ResourceExhausted, "{status:?}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_limited_per_user() {
    const WANTED: usize = 200;
    let platform = Platform::start().await;
    let attacker = Attacker::of(&platform).await;
    let neighbours = Neighbours::of(&platform).await;
    // An accepted socket receives `welcome` first; a refused one fails or receives `disconnect`.
    let served = |url: String| async move {
        let mut socket = match connect_async(url).await {
            Ok((socket, _)) => socket,
            Err(tungstenite::Error::Http(refused)) => {
                assert_eq!(refused.status(), 429);
                return None;
            }
            Err(error) => panic!("{error:?}"),
        };
        let first = timeout(TIMEOUT, socket.next()).await.expect("a first message")?.ok()?;
        let first: Value = serde_json::from_str(first.to_text().ok()?).ok()?;
        (first["type"] == "welcome").then_some(socket)
    };
    neighbours
        .undisturbed_by(async {
            for _ in 0..2 {
                let sockets = stream::iter(0..WANTED).map(|_| served(attacker.cable())).buffer_unordered(16);
                let sockets: Vec<Option<_>> = sockets.collect().await;
                let open: Vec<_> = sockets.into_iter().flatten().collect();
                assert!((1..=MAX_STREAMS).contains(&open.len()), "{} of {WANTED} sockets are open", open.len());
                drop(open);
                eventually("a socket can be opened again", || async { served(attacker.cable()).await.map(drop) }).await;
            }
        })
        .await;
}
