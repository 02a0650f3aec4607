//! Graceful shutdown on SIGTERM: accepted requests complete, and the process exits in time.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use baton_tests::{Person, Platform, eventually};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::live_updates::{cable, notifications};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the services need to stop if they did not wait for the gateway.
const SLOW_CLIENT_DELAY: Duration = Duration::from_secs(4);

#[tokio::test]
async fn fifty_in_flight_requests_complete_after_sigterm() {
    let mut platform = Platform::start().await;
    let team = platform.team().await;
    let mut live = cable(&platform, &team.user, team.account_id, &[notifications()]).await;
    let started = join_all((0..50).map(|_| InFlightRequest::new(&platform, &team.user))).await;

    platform.sigterm();
    // From here on no connection is accepted; open ones still send the second half of their request, slowly.
    platform.wait_until_closed().await;
    tokio::time::sleep(SLOW_CLIENT_DELAY).await;
    let responses = join_all(started.into_iter().enumerate().map(|(n, started)| started.finish(n))).await;
    let gone = live.wait_for("the end", |line| line["event"] == "disconnected").await;
    assert_eq!(gone["data"]["willAttemptReconnect"], true, "{gone}");
    assert!(platform.wait_for_exit().await.success(), "{}", platform.output());

    platform.restart().await;
    let list = team.user.get("/v1/tasks?per_page=100").ok().await;
    assert_eq!(list["meta"]["total_count"], 50);
    for task in list["tasks"].as_array().unwrap() {
        assert!(responses.contains(&task["id"]), "{task} was created without a notification");
    }
}

#[tokio::test]
async fn client_that_respects_readiness_sees_no_failure() {
    let mut platform = Platform::start_with(&[("BATON_DRAIN_DELAY_SECONDS", "2")]).await;
    let team = platform.team().await;
    let (unready, made, read) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));

    // As a load balancer does.
    let watch = async {
        eventually("the platform reports that it is not ready", || async {
            (platform.rest().get("/readyz").send().await.status == 503).then_some(())
        })
        .await;
        unready.store(true, Ordering::SeqCst);
    };
    let client = async |n: usize| {
        while !unready.load(Ordering::SeqCst) {
            let (call, count) = if n.is_multiple_of(2) {
                (team.user.post("/v1/tasks", &json!({"title": format!("From client {n}")})), &made)
            } else {
                (team.user.get("/v1/tasks"), &read)
            };
            let response = call.try_send().await.unwrap_or_else(|error| panic!("client {n} was cut off: {error:?}"));
            assert_eq!(response.status, 200, "client {n}: {}", response.text);
            count.fetch_add(1, Ordering::SeqCst);
        }
    };
    let stop = async {
        eventually("all clients work", || async {
            let both = [&made, &read].map(|count| count.load(Ordering::SeqCst));
            both.iter().all(|count| *count >= 100).then_some(())
        })
        .await;
        platform.sigterm();
    };
    tokio::join!(watch, stop, join_all((0..50).map(client)));
    assert!(platform.wait_for_exit().await.success(), "{}", platform.output());

    platform.restart().await;
    let list = team.user.get("/v1/tasks").ok().await;
    assert_eq!(list["meta"]["total_count"], made.load(Ordering::SeqCst));
}

/// A request whose head the platform has read, and whose body is outstanding.
struct InFlightRequest(TcpStream);

const LENGTH: usize = 64;

impl InFlightRequest {
    async fn new(platform: &Platform, person: &Person) -> Self {
        let mut stream = TcpStream::connect(platform.address()).await.unwrap();
        let head = format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {LENGTH}\r\nexpect: 100-continue\r\n\r\n",
            platform.address(),
            person.token,
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // RFC 9110, section 10.1.1: the server has read the head and expects the body.
        let expected = "HTTP/1.1 100 Continue\r\n\r\n";
        let mut response = vec![0; expected.len()];
        timeout(RESPONSE_TIMEOUT, stream.read_exact(&mut response)).await.expect("the server continues").unwrap();
        assert_eq!(String::from_utf8(response).unwrap(), expected);
        Self(stream)
    }

    /// Sends the body and returns the task.
    async fn finish(mut self, number: usize) -> Value {
        let body = json!({"title": format!("Begun before the end, number {number}")}).to_string();
        assert!(body.len() <= LENGTH);
        self.0.write_all(format!("{body:LENGTH$}").as_bytes()).await.unwrap();
        let mut response = String::new();
        timeout(RESPONSE_TIMEOUT, self.0.read_to_string(&mut response))
            .await
            .expect("an answer")
            .expect("a whole answer");
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("cut off: {response:?}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{response}");
        let task: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {response}"));
        task["id"].clone()
    }
}
