//! A misbehaving client: HTTP/2 with full control of streams and windows, and sockets that hardly read.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use baton_tests::{GrpcWeb, Person, Platform, grpc_web::frame};
use futures_util::{StreamExt, stream};
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use prost::Message;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::codegen::{Bytes, http::Request};
use uuid::Uuid;

/// A user with their own account.
pub(super) struct Attacker {
    pub(super) person: Person,
    pub(super) account_id: Uuid,
    pub(super) address: SocketAddr,
    pub(super) web: GrpcWeb,
}

impl Attacker {
    pub(super) async fn of(platform: &Platform) -> Self {
        let person = platform.person("mallory").await;
        let account_id = person.create_account("Noise").await;
        Self { person: person.at(account_id), account_id, address: platform.address(), web: platform.grpc_web() }
    }

    /// Creates tasks with descriptions of 20 kB and returns their ids.
    pub(super) async fn create_large_tasks(&self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for n in 0..count {
            let task = json!({"title": format!("Large {n}"), "description": "x".repeat(20_000)});
            ids.push(self.person.post("/v1/tasks", &task).ok().await["id"].as_str().unwrap().to_owned());
        }
        ids
    }

    /// Creates this many tasks, each an event on the account's board. Failed calls are ignored.
    pub(super) async fn create_tasks(&self, count: usize) {
        let create = |n| {
            let call = self.person.post("/v1/tasks", &json!({"title": format!("Event {n}")}));
            timeout(Duration::from_secs(2), call.try_send())
        };
        stream::iter(0..count).map(create).buffer_unordered(8).for_each(|_| async {}).await;
    }

    /// The request head of a gRPC call.
    pub(super) fn grpc(&self, rpc: &str) -> Request<()> {
        self.request("POST", &format!("/{rpc}"), "application/grpc")
    }

    /// The request head of a gRPC-Web call.
    pub(super) fn grpc_web(&self, rpc: &str) -> Request<()> {
        self.request("POST", &format!("/{rpc}"), "application/grpc-web+proto")
    }

    /// The request head of any HTTP/2 call.
    pub(super) fn request(&self, method: &str, path: &str, content_type: &str) -> Request<()> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", content_type)
            .header("te", "trailers")
            .header("authorization", format!("Bearer {}", self.person.token))
            .header("x-account-id", self.account_id.to_string())
            .body(())
            .unwrap()
    }

    /// The request head of an HTTP/1.1 call with these additional headers.
    pub(super) fn http1(&self, method: &str, path: &str, headers: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nx-account-id: {}\r\n{headers}\r\n",
            self.address, self.person.token, self.account_id
        )
    }

    /// The URL of the WebSocket.
    pub(super) fn cable(&self) -> String {
        format!("ws://{}/cable?token={}&account_id={}", self.address, self.person.token, self.account_id)
    }
}

/// Streams per connection: HTTP/2 recommends that servers permit at least this many (RFC 9113, section 6.5.2).
const STREAMS_PER_CONNECTION: usize = 100;

/// An HTTP/2 client with as many connections as its streams need. They are cut on drop.
pub(super) struct Http2 {
    address: SocketAddr,
    window: u32,
    connections: Vec<Connection>,
    /// Streams that were opened on the last connection.
    streams_on_last: usize,
}

struct Connection {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

/// A started request. It is reset on drop.
pub(super) struct StartedRequest {
    pub(super) response: ResponseFuture,
    pub(super) body: SendStream<Bytes>,
}

impl Http2 {
    /// Connects. `window` is the initial flow-control window of each stream (RFC 9113, section 5.2): with 0 the client
    /// accepts headers only.
    pub(super) async fn connect(address: SocketAddr, window: u32) -> Self {
        Self { address, window, connections: vec![Connection::open(address, window).await], streams_on_last: 0 }
    }

    /// Starts a request with the first part of its body, or with all of it if `is_complete`.
    ///
    /// # Errors
    /// Fails if the connection is closed.
    pub(super) async fn start(
        &mut self,
        head: Request<()>,
        body: &[u8],
        is_complete: bool,
    ) -> Result<StartedRequest, h2::Error> {
        if self.streams_on_last == STREAMS_PER_CONNECTION {
            self.connections.push(Connection::open(self.address, self.window).await);
            self.streams_on_last = 0;
        }
        self.streams_on_last += 1;
        let connection = self.connections.last().expect("at least one");
        let mut requests = connection.requests.clone().ready().await?;
        let (response, mut stream) = requests.send_request(head, false)?;
        stream.send_data(Bytes::copy_from_slice(body), is_complete)?;
        Ok(StartedRequest { response, body: stream })
    }

    /// Starts a complete gRPC call.
    pub(super) async fn call(&mut self, head: Request<()>, message: &impl Message) -> StartedRequest {
        self.start(head, &frame(message), true).await.expect("the connection is open")
    }
}

impl Connection {
    async fn open(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let mut client = h2::client::Builder::new();
        // The client must not limit the number of streams or resets itself.
        client.max_concurrent_reset_streams(10_000).data_frame_budget(1_000_000).initial_window_size(window);
        let (requests, connection) = client.handshake(stream).await.expect("it speaks HTTP/2");
        Self { requests, driver: tokio::spawn(async move { drop(connection.await) }) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Opens a connection with the smallest receive buffer that TCP permits.
pub(super) async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(address).await.expect("it listens")
}

/// Opens a connection from another loopback address.
pub(super) async fn connect_from(last: u8, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0).into())?;
    socket.connect(address).await
}

/// Sends a request and reads one byte of the response per second, until dropped.
pub(super) async fn read_slowly(address: SocketAddr, request: String) {
    let mut stream = narrow(address).await;
    stream.write_all(request.as_bytes()).await.expect("it reads");
    while let Ok(1..) = stream.read(&mut [0]).await {
        sleep(Duration::from_secs(1)).await;
    }
    std::future::pending::<()>().await;
}

/// Waits until the peer closes the connection and returns the bytes received; `None` on timeout.
pub(super) async fn closed_within(patience: Duration, stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut sent = Vec::new();
    // An error is a reset, which also closes the connection.
    timeout(patience, stream.read_to_end(&mut sent)).await.ok()?.ok();
    Some(sent)
}
