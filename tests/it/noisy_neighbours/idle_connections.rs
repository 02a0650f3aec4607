//! Idle and stalled connections: they are closed within seconds, and their number per address is limited.

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

const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// Uploads may be large and slow; a stalled one is closed by then.
const UPLOAD_CLOSE_TIMEOUT: Duration = Duration::from_secs(35);
/// A refused connection is closed by then.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The HTTP/2 connection preface (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The client's SETTINGS, which follow: an empty frame of type 4.
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
    // A complete upload still succeeds.
    attacker.person.attach(task, "whole.txt", "text/plain", b"whole").await;
}

/// Connections that send nothing or an incomplete request are closed.
async fn silent_connections_end(address: SocketAddr) {
    const PER_KIND: usize = 20;
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
    let connections = openings.iter().flat_map(|opening| std::iter::repeat_n(opening, PER_KIND));
    join_all(connections.map(|(what, sent)| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let end = closed_within(CLOSE_TIMEOUT, &mut stream).await;
        assert!(end.is_some(), "a connection that sent {what} is open after {CLOSE_TIMEOUT:?}");
    }))
    .await;
}

/// Headers or a preface sent one byte at a time are closed.
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
            // An error is a reset, which also closes the connection.
            read.read_to_end(&mut sent).await.ok();
        };
        let ended = timeout(CLOSE_TIMEOUT, async {
            tokio::select! { () = drip => {}, () = closed => {} }
        });
        assert!(ended.await.is_ok(), "a connection that drips headers is open after {CLOSE_TIMEOUT:?}");
    }))
    .await;
}

/// An upload that stalls after a tenth is closed.
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
    let sent = closed_within(UPLOAD_CLOSE_TIMEOUT, &mut stream).await;
    let sent = sent.unwrap_or_else(|| panic!("a stalled upload is open after {UPLOAD_CLOSE_TIMEOUT:?}"));
    assert!(!String::from_utf8_lossy(&sent).starts_with("HTTP/1.1 200"), "half an upload succeeded");
}

/// Opens connections from an address and returns those that stay open.
async fn open_from(last: u8, count: usize, platform: &Platform) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        // A refusal is an error or an immediate close.
        streams.extend(connect_from(last, platform.address()).await.ok());
    }
    let open = streams
        .into_iter()
        .map(|mut stream| async move { closed_within(REFUSAL_TIMEOUT, &mut stream).await.is_none().then_some(stream) });
    join_all(open).await.into_iter().flatten().collect()
}

// Only Linux has further loopback addresses without configuration.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited_per_address() {
    const MAX_CONNECTIONS: usize = 50;
    const ATTEMPTS: usize = 200;
    let (share, all) = (MAX_CONNECTIONS.to_string(), ATTEMPTS.to_string());
    let variables = [("BATON_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS", &*share), ("BATON_GATEWAY_MAX_CONNECTIONS", &*all)];
    let platform = Platform::start_with(&variables).await;
    let neighbours = Neighbours::of(&platform).await;
    neighbours
        .undisturbed_by(async {
            for _ in 0..2 {
                let open = open_from(2, 2 * MAX_CONNECTIONS, &platform).await;
                assert_eq!(open.len(), MAX_CONNECTIONS, "connections of one address are open");
                let others = open_from(3, 1, &platform).await;
                assert_eq!(others.len(), 1, "another address connects");
                drop(open);
                eventually("the address connects again", || async {
                    (!open_from(2, 1, &platform).await.is_empty()).then_some(())
                })
                .await;
            }
            // All addresses together. Established connections are still served when the rest is full.
            let open = join_all((10..16).map(|last| open_from(last, MAX_CONNECTIONS - 5, &platform))).await;
            let open = open.iter().map(Vec::len).sum::<usize>();
            assert!((ATTEMPTS / 2..=ATTEMPTS).contains(&open), "{open} connections are open");
        })
        .await;
    eventually("a newcomer connects once there is room", || async {
        (platform.rest().get("/healthz").try_send().await.ok()?.status == 200).then_some(())
    })
    .await;
}
