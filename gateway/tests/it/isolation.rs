//! Clients do not affect each other.

use std::time::Duration;

use baton_proto::baton::task::v1::{
    GetTaskRequest, GetTaskResponse, ListTasksRequest, task_service_client::TaskServiceClient,
};
use bytes::Bytes;
use http::{Request, Version};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::transport::Channel;

use crate::{
    fake_service::{FakeService, eventually, task},
    fixture::{Fixture, TASK},
};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A gRPC request with one message.
fn request(fixture: &Fixture, rpc: &str) -> Request<()> {
    Request::post(format!("{}/baton.{rpc}", fixture.url))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

#[tokio::test]
async fn unread_responses_and_streams_do_not_block_others() {
    let fixture = Fixture::start().await;
    let large = "x".repeat(4_000_000);
    fixture.service.respond("TaskService/GetTask", move |_| Ok(GetTaskResponse { task: Some(task(&large, 1)) }));
    fixture.service.stream("ActivityService/ExportActivityLogs", vec![Ok(task(&"y".repeat(200), 1)); 2_000]);
    let address = fixture.url.trim_start_matches("http://");
    let tcp = TcpStream::connect(address).await.expect("connected");
    // A client that reads no byte of any response.
    let (client, connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(tcp).await.expect("h2");
    tokio::spawn(connection);
    let mut client = client.ready().await.expect("ready");
    let mut unread = Vec::new();
    for rpc in ["task.v1.TaskService/GetTask", "tenancy.v1.ActivityService/ExportActivityLogs"] {
        for _ in 0..20 {
            let (response, mut body) = client.send_request(request(&fixture, rpc), false).expect("sent");
            body.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).expect("sent");
            unread.push(response.await.expect("a head"));
        }
    }
    fixture.service.respond_with_task(TASK, 1);
    let channel = Channel::from_shared(fixture.url.clone()).expect("a URL").connect_lazy();
    for _ in 0..50 {
        let request = GetTaskRequest { id: TASK.to_owned(), as_of: None };
        let mut client = TaskServiceClient::new(channel.clone());
        timeout(TIMEOUT, client.get_task(request)).await.expect("in time").expect("a response");
    }
}

#[tokio::test]
async fn cancelled_calls_do_not_close_shared_connections() {
    let fixture = Fixture::start().await;
    fixture.service.respond_async("TaskService/ListTasks", |_| Box::pin(std::future::pending()));
    fixture.service.respond_with_task(TASK, 1);
    let cancelling = Channel::from_shared(fixture.url.clone()).expect("a URL").connect_lazy();
    let cancel = tokio::spawn(async move {
        for _ in 0..20 {
            let calls = (0..50).map(async |_| {
                let mut client = TaskServiceClient::new(cancelling.clone());
                timeout(Duration::from_millis(2), client.list_tasks(ListTasksRequest::default())).await
            });
            futures_util::future::join_all(calls).await;
        }
    });
    let channel = Channel::from_shared(fixture.url.clone()).expect("a URL").connect_lazy();
    while !cancel.is_finished() {
        let request = GetTaskRequest { id: TASK.to_owned(), as_of: None };
        let mut client = TaskServiceClient::new(channel.clone());
        timeout(TIMEOUT, client.get_task(request)).await.expect("in time").expect("a response");
    }
}

#[tokio::test]
async fn a_restarted_service_is_called_again() {
    let fixture = Fixture::start().await;
    let (service, address) = FakeService::start().await;
    service.respond_with_task(TASK, 1);
    let other = Fixture::start_with_urls(&[("task", &format!("http://{address}"))]).await;
    let status = async || other.get(&format!("/v1/tasks/{TASK}")).send().await.expect("a response").status().as_u16();
    assert_eq!(status().await, 200);
    service.stop().await;
    assert_eq!(status().await, 503);
    let (service, _) = FakeService::start_at(address).await;
    service.respond_with_task(TASK, 2);
    eventually("the service is called", async || status().await == 200).await;
    drop(fixture);
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let fixture = Fixture::start().await;
    let address = fixture.url.trim_start_matches("http://");
    let ends = [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nhost: a\r\nx"].map(async |said| {
        let mut silent = TcpStream::connect(address).await.expect("connected");
        silent.write_all(said).await.expect("sent");
        // With or without a response.
        let _ = timeout(TIMEOUT, silent.read_to_end(&mut Vec::new())).await.expect("closed in time");
    });
    futures_util::future::join_all(ends).await;
}

#[tokio::test]
async fn connections_are_limited_per_address() {
    let fixture = Fixture::start_with(|config| {
        config.max_connections_per_address = 5;
        config.max_connections = 20;
    })
    .await;
    let address: std::net::SocketAddr = fixture.url.trim_start_matches("http://").parse().expect("an address");
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(TcpStream::connect(address).await.expect("connected"));
    }
    let mut more = TcpStream::connect(address).await.expect("accepted by the kernel");
    let mut byte = [0; 1];
    let end = timeout(TIMEOUT, more.read(&mut byte)).await.expect("closed at once");
    assert!(matches!(end, Ok(0) | Err(_)));
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 2], 0).into()).expect("bound");
    let mut other = socket.connect(address).await.expect("connected");
    other.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    let mut head = [0; 12];
    other.read_exact(&mut head).await.expect("a response");
    assert_eq!(&head, b"HTTP/1.1 200");
}

#[tokio::test]
async fn a_client_that_keeps_sending_receives_the_error() {
    let fixture = Fixture::start().await;
    let mut client = TcpStream::connect(fixture.url.trim_start_matches("http://")).await.expect("connected");
    let head =
        "POST /v1/tasks HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 5000000\r\n\r\n";
    client.write_all(head.as_bytes()).await.expect("sent");
    for _ in 0..50 {
        // Like urllib: sends the whole body before it reads the response.
        client.write_all(&[b' '; 100_000]).await.expect("the connection is still there");
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("the answer");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}
