//! A tonic server whose RPCs answer what a test scripts, and that remembers what it was asked.
//!
//! It works on bytes, so one handler serves every RPC of the contract, and streams that have none yet.

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

/// A call that arrived.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) metadata: HeaderMap,
    pub(crate) message: Bytes,
}

impl Call {
    /// The request, as this type.
    pub(crate) fn as_a<M: Message + Default>(&self) -> M {
        M::decode(self.message.clone()).expect("the request's type")
    }

    /// A metadata entry.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(|value| value.to_str().expect("ASCII"))
    }
}

/// What a stream sends, in its order.
type Pieces = Vec<Result<Bytes, Status>>;
type Answer = Arc<dyn Fn(&Call) -> BoxFuture<'static, Result<Bytes, Status>> + Send + Sync>;

/// The scripted service.
#[derive(Clone, Default)]
pub(crate) struct Script {
    calls: Arc<Mutex<Vec<(String, Call)>>>,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    streams: Arc<Mutex<HashMap<String, Pieces>>>,
    live: Arc<Mutex<HashMap<String, mpsc::Receiver<Bytes>>>>,
    stop: CancellationToken,
    running: TaskTracker,
}

impl Script {
    /// Starts it at a free port, its health included.
    pub(crate) async fn start() -> (Self, SocketAddr) {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// Starts it at this address.
    pub(crate) async fn start_at(address: SocketAddr) -> (Self, SocketAddr) {
        let script = Self::default();
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (_, health) = tonic_health::server::health_reporter();
        let rpcs = Router::new().fallback(answer).with_state(script.clone());
        let routes = tonic::service::Routes::from(rpcs).add_service(health);
        let stop = script.stop.clone();
        let incoming = TcpListenerStream::new(listener);
        script.running.spawn(async move {
            let server = Server::builder().add_routes(routes);
            server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await.expect("served");
        });
        (script, address)
    }

    /// Ends it and its connections.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }

    /// Answers this RPC (`TaskService/GetTask`) with what the function makes.
    pub(crate) fn on<M: Message>(
        &self,
        rpc: &str,
        answer: impl Fn(&Call) -> Result<M, Status> + Send + Sync + 'static,
    ) {
        self.on_later(rpc, move |call| {
            let answer = answer(call).map(|message| message.encode_to_vec().into());
            Box::pin(async { answer })
        });
    }

    /// Answers this RPC in its own time.
    pub(crate) fn on_later(
        &self,
        rpc: &str,
        answer: impl Fn(&Call) -> BoxFuture<'static, Result<Bytes, Status>> + Send + Sync + 'static,
    ) {
        self.answers.lock().expect("unpoisoned").insert(rpc.to_owned(), Arc::new(answer));
    }

    /// Answers this RPC with a stream of these.
    pub(crate) fn streams<M: Message>(&self, rpc: &str, pieces: Vec<Result<M, Status>>) {
        let pieces = pieces.into_iter().map(|piece| piece.map(|message| message.encode_to_vec().into()));
        self.streams.lock().expect("unpoisoned").insert(rpc.to_owned(), pieces.collect());
    }

    /// Answers the next call of this RPC with what comes here, as it comes.
    pub(crate) fn live(&self, rpc: &str, messages: mpsc::Receiver<Bytes>) {
        self.live.lock().expect("unpoisoned").insert(rpc.to_owned(), messages);
    }

    /// Answers GetTask with a task of this id and version.
    pub(crate) fn has_task(&self, id: &str, version: i32) {
        let task = task(id, version);
        self.on("TaskService/GetTask", move |_| Ok(GetTaskResponse { task: Some(task.clone()) }));
    }

    /// Answers this RPC with a status.
    pub(crate) fn refuses(&self, rpc: &str, status: impl Fn() -> Status + Send + Sync + 'static) {
        self.on::<()>(rpc, move |_| Err(status()));
    }

    /// The calls of this RPC so far.
    pub(crate) fn calls(&self, rpc: &str) -> Vec<Call> {
        let calls = self.calls.lock().expect("unpoisoned");
        calls.iter().filter(|(name, _)| name == rpc).map(|(_, call)| call.clone()).collect()
    }

    /// The only call of this RPC.
    pub(crate) fn call(&self, rpc: &str) -> Call {
        let mut calls = self.calls(rpc);
        assert_eq!(calls.len(), 1, "calls of {rpc}");
        calls.remove(0)
    }

    /// How many calls arrived, of any RPC.
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

/// A service and method without their package: `TaskService/GetTask`.
fn short(path: &str) -> String {
    path.rsplit('.').next().unwrap_or_default().to_owned()
}

async fn answer(State(script): State<Script>, request: Request<Body>) -> Response<tonic::body::Body> {
    let rpc = short(request.uri().path());
    // Answers a message and breaks off, as a process that is killed does.
    if request.headers().contains_key(BREAK) {
        let message = stream::once(async { Ok(Bytes::from_static(b"\0\0\0\0\x03one")) });
        let end = stream::once(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err(std::io::Error::other("killed"))
        });
        let body = tonic::body::Body::new(Body::from_stream(message.chain(end)));
        return Response::builder().header("content-type", "application/grpc").body(body).expect("a response");
    }
    Grpc::new(Raw).streaming(Rpc { rpc, script }, request).await
}

/// A header of calls whose answer breaks off.
pub(crate) const BREAK: &str = "x-break";

struct Rpc {
    rpc: String,
    script: Script,
}

impl StreamingService<Bytes> for Rpc {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let Self { rpc, script } = Self { rpc: self.rpc.clone(), script: self.script.clone() };
        Box::pin(async move {
            let (metadata, _, mut messages) = request.into_parts();
            let metadata = metadata.into_headers();
            let live = script.live.lock().expect("unpoisoned").remove(&rpc);
            if let Some(live) = live {
                return Ok(tonic::Response::new(ReceiverStream::new(live).map(Ok).boxed()));
            }
            let message = messages.next().await.transpose()?.unwrap_or_default();
            let call = Call { metadata, message };
            script.calls.lock().expect("unpoisoned").push((rpc.clone(), call.clone()));
            if let Some(pieces) = script.streams.lock().expect("unpoisoned").get(&rpc) {
                return Ok(tonic::Response::new(stream::iter(pieces.clone()).boxed()));
            }
            let answer = script.answers.lock().expect("unpoisoned").get(&rpc).cloned();
            let Some(answer) = answer else {
                return Err(Status::unimplemented("not in the script"));
            };
            let bytes = answer(&call).await?;
            let mut response = tonic::Response::new(stream::iter([Ok(bytes)]).boxed());
            response.metadata_mut().insert("x-from-service", "yes".parse().expect("ASCII"));
            Ok(response)
        })
    }
}

/// Messages as the bytes that they are.
#[derive(Clone)]
pub(crate) struct Raw;

impl Codec for Raw {
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

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Waits until the condition holds, for at most five seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..100 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}
