//! A tonic server with responses defined by the test, which records its calls.
//!
//! It handles messages as bytes, so one handler serves every RPC, including streams that no RPC of the contract has
//! yet.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, extract::State};
use baton_proto::baton::task::v1::{GetTaskResponse, Task, TaskStatus};
use bytes::{Buf, BufMut, Bytes};
use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http::{HeaderMap, Request, Response};
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, StreamingService},
    transport::Server,
};

/// A received call.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) metadata: HeaderMap,
    pub(crate) message: Bytes,
}

impl Call {
    /// Decodes the request message.
    pub(crate) fn decode<M: Message + Default>(&self) -> M {
        M::decode(self.message.clone()).expect("the request's type")
    }

    /// Returns a metadata entry.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(|value| value.to_str().expect("ASCII"))
    }
}

/// The messages of a stream, in order.
type Messages = Vec<Result<Bytes, Status>>;
type Handler = Arc<dyn Fn(&Call) -> BoxFuture<'static, Result<Bytes, Status>> + Send + Sync>;

/// The service.
#[derive(Clone, Default)]
pub(crate) struct FakeService {
    calls: Arc<Mutex<Vec<(String, Call)>>>,
    handlers: Arc<Mutex<HashMap<String, Handler>>>,
    streams: Arc<Mutex<HashMap<String, Messages>>>,
    live: Arc<Mutex<HashMap<String, mpsc::Receiver<Bytes>>>>,
    stop: CancellationToken,
    running: TaskTracker,
}

impl FakeService {
    /// Starts the service, with its health, at a free port.
    pub(crate) async fn start() -> (Self, SocketAddr) {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// Starts the service at this address.
    pub(crate) async fn start_at(address: SocketAddr) -> (Self, SocketAddr) {
        let service = Self::default();
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (_, health) = tonic_health::server::health_reporter();
        let rpcs = Router::new().fallback(handle).with_state(service.clone());
        let routes = tonic::service::Routes::from(rpcs).add_service(health);
        let stop = service.stop.clone();
        let incoming = TcpListenerStream::new(listener);
        service.running.spawn(async move {
            let server = Server::builder().add_routes(routes);
            server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await.expect("served");
        });
        (service, address)
    }

    /// Stops the service and closes its connections.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }

    /// Responds to this RPC (`TaskService/GetTask`) with the handler's result.
    pub(crate) fn respond<M: Message>(
        &self,
        rpc: &str,
        handler: impl Fn(&Call) -> Result<M, Status> + Send + Sync + 'static,
    ) {
        self.respond_async(rpc, move |call| {
            let result = handler(call).map(|message| message.encode_to_vec().into());
            Box::pin(async { result })
        });
    }

    /// Responds to this RPC with the handler's future.
    pub(crate) fn respond_async(
        &self,
        rpc: &str,
        handler: impl Fn(&Call) -> BoxFuture<'static, Result<Bytes, Status>> + Send + Sync + 'static,
    ) {
        self.handlers.lock().expect("unpoisoned").insert(rpc.to_owned(), Arc::new(handler));
    }

    /// Responds to this RPC with a stream of these messages.
    pub(crate) fn stream<M: Message>(&self, rpc: &str, messages: Vec<Result<M, Status>>) {
        let messages = messages.into_iter().map(|message| message.map(|message| message.encode_to_vec().into()));
        self.streams.lock().expect("unpoisoned").insert(rpc.to_owned(), messages.collect());
    }

    /// Responds to the next call of this RPC with a stream of the messages of this channel.
    pub(crate) fn stream_live(&self, rpc: &str, messages: mpsc::Receiver<Bytes>) {
        self.live.lock().expect("unpoisoned").insert(rpc.to_owned(), messages);
    }

    /// Responds to GetTask with a task of this id and version.
    pub(crate) fn respond_with_task(&self, id: &str, version: i32) {
        let task = task(id, version);
        self.respond("TaskService/GetTask", move |_| Ok(GetTaskResponse { task: Some(task.clone()) }));
    }

    /// Responds to this RPC with a status.
    pub(crate) fn fail(&self, rpc: &str, status: impl Fn() -> Status + Send + Sync + 'static) {
        self.respond::<()>(rpc, move |_| Err(status()));
    }

    /// Returns the calls of this RPC so far.
    pub(crate) fn calls(&self, rpc: &str) -> Vec<Call> {
        let calls = self.calls.lock().expect("unpoisoned");
        calls.iter().filter(|(name, _)| name == rpc).map(|(_, call)| call.clone()).collect()
    }

    /// Returns the only call of this RPC.
    pub(crate) fn call(&self, rpc: &str) -> Call {
        let mut calls = self.calls(rpc);
        assert_eq!(calls.len(), 1, "calls of {rpc}");
        calls.remove(0)
    }

    /// Returns the number of calls of all RPCs.
    pub(crate) fn count(&self) -> usize {
        self.calls.lock().expect("unpoisoned").len()
    }
}

/// A task with every kind of field set.
pub(crate) fn task(id: &str, version: i32) -> Task {
    Task {
        id: id.to_owned(),
        title: "Write it down".to_owned(),
        status: TaskStatus::InProgress.into(),
        tags: vec!["a".to_owned(), "b".to_owned()],
        due_at: Some(prost_types::Timestamp { seconds: 1_767_225_600, nanos: 0 }),
        estimated_seconds: Some(60),
        version,
        ..Task::default()
    }
}

/// Returns service and method without package: `TaskService/GetTask`.
fn short_name(path: &str) -> String {
    path.rsplit('.').next().unwrap_or_default().to_owned()
}

async fn handle(State(service): State<FakeService>, request: Request<Body>) -> Response<tonic::body::Body> {
    let rpc = short_name(request.uri().path());
    // Sends one message and aborts, like a killed process.
    if request.headers().contains_key(BREAK_HEADER) {
        let message = stream::once(async { Ok(Bytes::from_static(b"\0\0\0\0\x03one")) });
        let end = stream::once(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err(std::io::Error::other("killed"))
        });
        let body = tonic::body::Body::new(Body::from_stream(message.chain(end)));
        return Response::builder().header("content-type", "application/grpc").body(body).expect("a response");
    }
    Grpc::new(RawCodec).streaming(Rpc { rpc, service }, request).await
}

/// Header of calls whose response is aborted.
pub(crate) const BREAK_HEADER: &str = "x-break";

struct Rpc {
    rpc: String,
    service: FakeService,
}

impl StreamingService<Bytes> for Rpc {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let Self { rpc, service } = Self { rpc: self.rpc.clone(), service: self.service.clone() };
        Box::pin(async move {
            let (metadata, _, mut messages) = request.into_parts();
            let metadata = metadata.into_headers();
            let live = service.live.lock().expect("unpoisoned").remove(&rpc);
            if let Some(live) = live {
                return Ok(tonic::Response::new(ReceiverStream::new(live).map(Ok).boxed()));
            }
            let message = messages.next().await.transpose()?.unwrap_or_default();
            let call = Call { metadata, message };
            service.calls.lock().expect("unpoisoned").push((rpc.clone(), call.clone()));
            if let Some(messages) = service.streams.lock().expect("unpoisoned").get(&rpc) {
                return Ok(tonic::Response::new(stream::iter(messages.clone()).boxed()));
            }
            let handler = service.handlers.lock().expect("unpoisoned").get(&rpc).cloned();
            let Some(handler) = handler else {
                return Err(Status::unimplemented("no handler"));
            };
            let bytes = handler(&call).await?;
            let mut response = tonic::Response::new(stream::iter([Ok(bytes)]).boxed());
            response.metadata_mut().insert("x-from-service", "yes".parse().expect("ASCII"));
            Ok(response)
        })
    }
}

/// A codec that keeps messages as bytes.
#[derive(Clone)]
pub(crate) struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Waits until the condition holds, for at most five seconds.
pub(crate) async fn eventually(condition: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..100 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("timed out waiting until {condition}");
}
