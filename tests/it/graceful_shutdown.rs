//! SIGTERM: nothing that was accepted is lost, and the process ends soon.

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

const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than everything but the gateway takes to end, were it not to wait for the gateway.
const SLOW_CLIENT: Duration = Duration::from_secs(4);

#[tokio::test]
async fn fifty_in_flight_requests_complete_after_sigterm() {
    let mut platform = Platform::start().await;
    let team = platform.team().await;
    let mut live = cable(&platform, &team.user, team.account_id, &[notifications()]).await;
    let begun = join_all((0..50).map(|_| Begun::new(&platform, &team.user))).await;

    platform.sigterm();
    // From here on nobody new comes in; those who are in have half a request left to send, and take their time.
    platform.stopped_accepting().await;
    tokio::time::sleep(SLOW_CLIENT).await;
    let answers = join_all(begun.into_iter().enumerate().map(|(n, begun)| begun.finish(n))).await;
    let gone = live.wait_for("the end", |line| line["event"] == "disconnected").await;
    assert_eq!(gone["data"]["willAttemptReconnect"], true, "{gone}");
    assert!(platform.ended().await.success(), "{}", platform.output());

    platform.restart().await;
    let list = team.user.get("/v1/tasks?per_page=100").ok().await;
    assert_eq!(list["meta"]["total_count"], 50);
    for task in list["tasks"].as_array().unwrap() {
        assert!(answers.contains(&task["id"]), "{task} was made, and nobody was told");
    }
}

#[tokio::test]
async fn client_that_respects_readiness_sees_no_failure() {
    let mut platform = Platform::start_with(&[("BATON_DRAIN_DELAY_SECONDS", "2")]).await;
    let team = platform.team().await;
    let (unready, made, read) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));

    // What a load balancer does.
    let watch = async {
        eventually("the platform says that it is not ready", || async {
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
            let answer = call.try_send().await.unwrap_or_else(|error| panic!("client {n} was cut off: {error:?}"));
            assert_eq!(answer.status, 200, "client {n}: {}", answer.text);
            count.fetch_add(1, Ordering::SeqCst);
        }
    };
    let stop = async {
        eventually("everyone works", || async {
            let both = [&made, &read].map(|count| count.load(Ordering::SeqCst));
            both.iter().all(|count| *count >= 100).then_some(())
        })
        .await;
        platform.sigterm();
    };
    tokio::join!(watch, stop, join_all((0..50).map(client)));
    assert!(platform.ended().await.success(), "{}", platform.output());

    platform.restart().await;
    let list = team.user.get("/v1/tasks").ok().await;
    assert_eq!(list["meta"]["total_count"], made.load(Ordering::SeqCst));
}

/// A request that the platform has begun to answer, and whose body it waits for.
struct Begun(TcpStream);

const LENGTH: usize = 64;

impl Begun {
    async fn new(platform: &Platform, person: &Person) -> Self {
        let mut stream = TcpStream::connect(platform.address()).await.unwrap();
        let head = format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {LENGTH}\r\nexpect: 100-continue\r\n\r\n",
            platform.address(),
            person.token,
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // RFC 9110, section 10.1.1: it has read the head, and wants the body.
        let expected = "HTTP/1.1 100 Continue\r\n\r\n";
        let mut answer = vec![0; expected.len()];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("it goes on").unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
        Self(stream)
    }

    /// Sends the body, and answers the id of the task.
    async fn finish(mut self, number: usize) -> Value {
        let body = json!({"title": format!("Begun before the end, number {number}")}).to_string();
        assert!(body.len() <= LENGTH);
        self.0.write_all(format!("{body:LENGTH$}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, self.0.read_to_string(&mut answer)).await.expect("an answer").expect("a whole answer");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("cut off: {answer:?}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        let task: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        task["id"].clone()
    }
}
