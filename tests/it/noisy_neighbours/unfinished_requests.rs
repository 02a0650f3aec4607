//! Requests with unfinished bodies: they are ended within seconds and block no other call.

use std::time::{Duration, Instant};

use baton_proto::baton::{
    auth::v1::LoginRequest,
    task::v1::{CreateTaskRequest, ListTasksRequest},
};
use baton_tests::{PASSWORD, Platform, grpc_web::frame};
use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::codegen::http::Request;

use super::{
    attacker::{Attacker, Http2, StartedRequest, closed_within},
    neighbours::Neighbours,
};

const LOGIN: &str = "baton.auth.v1.AuthService/Login";
/// By then a request with a stalled or dripping body has ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(25);
/// Requests of an anonymous client over one connection; more than the concurrency limit of public RPCs.
const UNFINISHED: usize = 40;

/// The first half of a body.
fn half(body: &[u8]) -> &[u8] {
    &body[..body.len() / 2]
}

/// Waits for the end of an HTTP/2 request; with `drips` it sends a byte now and then. The end is a reset, a timeout
/// status, or a concurrency refusal.
async fn ends(mut started: StartedRequest, drips: bool) {
    let feed = async {
        loop {
            sleep(Duration::from_millis(500)).await;
            if drips {
                // An error means that the request has ended.
                started.body.send_data(vec![b' '].into(), false).ok();
            }
        }
    };
    let response = tokio::select! {
        response = timeout(CLOSE_TIMEOUT, started.response) => response.expect("the request ends within seconds"),
        () = feed => unreachable!("it feeds for ever"),
    };
    let Ok(response) = response else { return };
    let status = response.status().as_u16();
    match response.headers().get("grpc-status") {
        Some(code) => assert_ne!(code, "0", "an unfinished call succeeded"),
        // gRPC-Web returns its status in the body.
        None if status == 200 => assert!(response.headers()["content-type"].to_str().unwrap().contains("grpc")),
        None => assert!([408, 429, 503].contains(&status), "{status}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_sign_ins_block_no_other_sign_in() {
    let platform = Platform::start().await;
    let neighbours = Neighbours::who_sign_in(&platform).await;
    let address = platform.address();
    let stranger = |path: &str, content_type: &str| {
        let request = Request::builder().method("POST").uri(format!("http://{address}{path}"));
        request.header("content-type", content_type).header("te", "trailers").body(()).unwrap()
    };
    let login = json!({"email": "nobody@example.com", "password": PASSWORD}).to_string().into_bytes();
    let framed = frame(&LoginRequest { email: "nobody@example.com".to_owned(), password: PASSWORD.to_owned() });
    neighbours
        .undisturbed_by(async {
            let begun_at = Instant::now();
            // Over one connection, in three protocols; some bodies stall, some drip.
            let mut client = Http2::connect(address, 65_535).await;
            let mut unfinished = Vec::new();
            for n in 0..UNFINISHED {
                let (head, body) = match n % 3 {
                    0 => (stranger("/v1/auth/login", "application/json"), &login),
                    1 => (stranger(&format!("/{LOGIN}"), "application/grpc"), &framed),
                    _ => (stranger(&format!("/{LOGIN}"), "application/grpc-web+proto"), &framed),
                };
                let started = client.start(head, half(body), false).await.expect("the connection is open");
                // A second half of spaces is neither valid JSON nor a valid message.
                unfinished.push(ends(started, n % 2 == 0));
            }
            // And each over a separate connection.
            let cut = (0..UNFINISHED).map(|n| {
                let login = &login;
                async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    let head = format!(
                        "POST /v1/auth/login HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
                         content-length: {}\r\n\r\n",
                        1000 + n
                    );
                    stream.write_all(head.as_bytes()).await.unwrap();
                    stream.write_all(half(login)).await.unwrap();
                    let sent = closed_within(CLOSE_TIMEOUT, &mut stream).await.expect("it is closed within seconds");
                    let sent = String::from_utf8_lossy(&sent).into_owned();
                    let refused = |sent: &str| {
                        ["408", "429", "503"].iter().any(|status| sent.starts_with(&format!("HTTP/1.1 {status} ")))
                    };
                    assert!(sent.is_empty() || refused(&sent), "{sent}");
                }
            });
            tokio::join!(join_all(unfinished), join_all(cut));
            eprintln!("the last of them ended after {:?}", begun_at.elapsed());
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_unfinished_calls_of_one_user_overload_no_service() {
    const CALLS: usize = 1500;
    let platform = Platform::start().await;
    let attacker = Attacker::of(&platform).await;
    let neighbours = Neighbours::of(&platform).await;
    let create = frame(&CreateTaskRequest { title: "Half of it".to_owned(), ..CreateTaskRequest::default() });
    neighbours
        .undisturbed_by(async {
            let mut unfinished = Vec::new();
            let mut client = Http2::connect(attacker.address, 65_535).await;
            for n in 0..CALLS {
                let (head, body) = match n % 3 {
                    0 => (attacker.request("POST", "/v1/tasks", "application/json"), &br#"{"title": "#[..]),
                    1 => (attacker.grpc("baton.task.v1.TaskService/CreateTask"), half(&create)),
                    _ => (attacker.grpc_web("baton.task.v1.TaskService/CreateTask"), half(&create)),
                };
                // Beyond the user's limit they are refused, individually or with the connection.
                unfinished.extend(client.start(head, body, false).await.ok());
            }
            join_all(unfinished.into_iter().map(|started| ends(started, false))).await;
        })
        .await;
    // The user's own slots are free again.
    let calls = (0..20).map(|_| attacker.person.get("/v1/tasks").send());
    for response in join_all(calls).await {
        assert_eq!(response.status, 200, "{}", response.text);
    }
    let mut client = Http2::connect(attacker.address, 65_535).await;
    let started = client.call(attacker.grpc("baton.task.v1.TaskService/ListTasks"), &ListTasksRequest::default()).await;
    assert_eq!(started.response.await.expect("an answer").status(), 200);
}
