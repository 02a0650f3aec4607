//! Connections that say nothing, or not all of it: they end within seconds, and an address has only so many.

use std::{net::SocketAddr, time::Duration};

use baton_tests::{Platform, eventually};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use url::Url;

use super::{
    attacker::{Attacker, closed_within, connect_from},
    neighbours::Neighbours,
};

const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// An upload may be large and the network slow; what does not come at all ends by then.
const UPLOAD_ENDS_WITHIN: Duration = Duration::from_secs(35);
/// A connection that is refused is closed by then.
const AT_ONCE: Duration = Duration::from_secs(2);
/// How HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The client's settings, which follow: an empty frame of type 4.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const UPLOAD_SIZE: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_requests_are_closed_within_seconds() {
    let platform = Platform::start().await;
    let attacker = Attacker::of(&platform).await;
    let task = attacker.person.create_task("With a file").await;
    let file = vec![b'x'; UPLOAD_SIZE];
    let uploads = (0..10).map(|_| attacker.person.announce(task, "large.txt", "text/plain", &file));
    let uploads: Vec<Value> = join_all(uploads).await;
    let neighbours = Neighbours::of(&platform).await;
    let address = platform.address();
    let attack = async {
        tokio::join!(
            silent_connections_end(address),
            dripping_headers_end(address),
            join_all(uploads.iter().map(|announced| stalled_upload_ends(address, announced, &file))),
        );
    };
    neighbours.undisturbed_by(Box::pin(attack)).await;
    // A whole upload is taken as before.
    attacker.person.attach(task, "whole.txt", "text/plain", b"whole").await;
}

/// Connections that send nothing, or the begin of something.
async fn silent_connections_end(address: SocketAddr) {
    const EACH: usize = 20;
    let half_header = format!("GET /v1/tasks HTTP/1.1\r\nhost: {address}\r\nx-half: ");
    // A header block without its end, on stream 1.
    let half_headers = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82];
    let openings: [(&str, Vec<u8>); 6] = [
        ("nothing", Vec::new()),
        ("half a preface", PREFACE[..10].to_vec()),
        ("a preface without settings", PREFACE.to_vec()),
        ("half a request line", b"GET /v1/ta".to_vec()),
        ("half a header", half_header.into_bytes()),
        ("a header block without its end", [PREFACE, SETTINGS, &half_headers].concat()),
    ];
    let connections = openings.iter().flat_map(|opening| std::iter::repeat_n(opening, EACH));
    join_all(connections.map(|(what, sent)| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let end = closed_within(ENDS_WITHIN, &mut stream).await;
        assert!(end.is_some(), "a connection that sent {what} is open after {ENDS_WITHIN:?}");
    }))
    .await;
}

/// Headers, or a preface, that come a byte at a time.
async fn dripping_headers_end(address: SocketAddr) {
    let endless_header = [&b"GET /v1/tasks HTTP/1.1\r\nx-long: "[..], &[b'x'; 1000]].concat();
    let openings = [endless_header, [PREFACE, SETTINGS].concat()];
    let connections = openings.iter().flat_map(|opening| std::iter::repeat_n(opening, 10));
    join_all(connections.map(|opening| async move {
        let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        let drip = async {
            for byte in opening {
                if write.write_all(&[*byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
            std::future::pending::<()>().await;
        };
        let closed = async {
            let mut sent = Vec::new();
            // An error is an end as well: a reset.
            read.read_to_end(&mut sent).await.ok();
        };
        let ended = timeout(ENDS_WITHIN, async {
            tokio::select! { () = drip => {}, () = closed => {} }
        });
        assert!(ended.await.is_ok(), "a connection that drips headers is open after {ENDS_WITHIN:?}");
    }))
    .await;
}

/// An upload of which a tenth comes.
async fn stalled_upload_ends(address: SocketAddr, announced: &Value, file: &[u8]) {
    let url: Url = announced["upload_url"].as_str().unwrap().parse().unwrap();
    let mut head = format!("PUT {} HTTP/1.1\r\nhost: {address}\r\n", url.path());
    for (name, value) in announced["upload_headers"].as_object().unwrap() {
        head += &format!("{name}: {}\r\n", value.as_str().unwrap());
    }
    if !head.to_lowercase().contains("content-length") {
        head += &format!("content-length: {}\r\n", file.len());
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(&file[..file.len() / 10]).await.unwrap();
    let sent = closed_within(UPLOAD_ENDS_WITHIN, &mut stream).await;
    let sent = sent.unwrap_or_else(|| panic!("an upload that stalls goes on after {UPLOAD_ENDS_WITHIN:?}"));
    assert!(!String::from_utf8_lossy(&sent).starts_with("HTTP/1.1 200"), "half an upload succeeded");
}

/// Opens connections from an address; answers those that are still open after a moment.
async fn open_from(last: u8, count: usize, platform: &Platform) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        // A refusal is an error here already, or an end.
        streams.extend(connect_from(last, platform.address()).await.ok());
    }
    let open = streams
        .into_iter()
        .map(|mut stream| async move { closed_within(AT_ONCE, &mut stream).await.is_none().then_some(stream) });
    join_all(open).await.into_iter().flatten().collect()
}

// Other addresses of the loopback are there by themselves on Linux only.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited_per_address() {
    const SHARE: usize = 50;
    const ALL: usize = 200;
    let (share, all) = (SHARE.to_string(), ALL.to_string());
    let variables = [("BATON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", &*share), ("BATON_GATEWAY_MAX_CONNECTIONS", &*all)];
    let platform = Platform::start_with(&variables).await;
    let neighbours = Neighbours::of(&platform).await;
    neighbours
        .undisturbed_by(async {
            for _ in 0..2 {
                let open = open_from(2, 2 * SHARE, &platform).await;
                assert_eq!(open.len(), SHARE, "connections of one address are open");
                let others = open_from(3, 1, &platform).await;
                assert_eq!(others.len(), 1, "another address connects");
                drop(open);
                eventually("the address connects again", || async {
                    (!open_from(2, 1, &platform).await.is_empty()).then_some(())
                })
                .await;
            }
            // All addresses together. Those who are connected already are served on, whoever fills the rest.
            let open = join_all((10..16).map(|last| open_from(last, SHARE - 5, &platform))).await;
            let open = open.iter().map(Vec::len).sum::<usize>();
            assert!((ALL / 2..=ALL).contains(&open), "{open} connections are open");
        })
        .await;
    eventually("a newcomer connects once there is room", || async {
        (platform.rest().get("/healthz").try_send().await.ok()?.status == 200).then_some(())
    })
    .await;
}
