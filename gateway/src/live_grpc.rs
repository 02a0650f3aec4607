//! `baton.live.v1.LiveService`, which the gateway itself serves over gRPC and gRPC-Web.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use baton_access::BoardName;
use baton_errors::{Error, Reason};
use baton_proto::{
    baton::live::v1::{BoardKind, ChannelKind, WatchRequest, WatchResponse},
    codec::ValidatingDecoder,
};
use baton_runtime::Shutdown;
use bytes::{BufMut as _, Bytes};
use futures_util::{StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use prost::Message as _;
use tokio::time::{Instant, timeout_at};
use tonic::{
    Status,
    body::Body as GrpcBody,
    codec::{Codec, EncodeBuf, Encoder},
    server::{Grpc, ServerStreamingService},
};

use crate::{
    grpc_proxy::refuse,
    headers,
    live::{Channel, ChannelStream, Credentials, Encoded, Format, Live, Position, Since, WATCH},
    middleware,
    rate_limit::Verdict,
    request_guard::RequestGuard,
    response_body::hold_until_read,
};

/// The service's full name.
pub(crate) const SERVICE: &str = "baton.live.v1.LiveService";
/// Maximum request, in bytes.
const MAX_BODY_BYTES: usize = 4 * 1024;
/// How often a silent stream sends a response without a message.
const KEEPALIVE: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct LiveGrpc {
    live: Live,
    guard: RequestGuard,
    shutdown: Shutdown,
}

/// The route of the service.
pub(crate) fn router(live: Live, guard: RequestGuard, shutdown: Shutdown) -> Router {
    Router::new().route(WATCH, post(watch)).with_state(LiveGrpc { live, guard, shutdown })
}

async fn watch(State(grpc): State<LiveGrpc>, request: Request) -> Response {
    middleware::set_rpc_span_name(WATCH);
    let (parts, body) = request.into_parts();
    if let Some(name) = headers::find_repeated(&parts.headers) {
        return refuse(Error::invalid(name.as_str(), "must not be repeated").into());
    }
    let guard = &grpc.guard;
    let client = guard.trusted_proxies.client_ip(&parts.headers, &parts.extensions);
    let body = match guard.buffers.read(body, &parts.headers, MAX_BODY_BYTES, client).await {
        Ok(body) => body,
        Err(error) => return refuse(error.into()),
    };
    let caller = guard.limiter.caller(WATCH, &parts.headers, None, client).await;
    let permit = match guard.admission.acquire_stream(caller.key(), caller.stream_account()) {
        Ok(permit) => permit,
        Err(refused) => return refuse(refused.into()),
    };
    let verdict = guard.limiter.count(WATCH, &caller).await;
    let mut response = match verdict.as_ref().map_or(Ok(()), Verdict::check) {
        Ok(()) => {
            let request = http::Request::from_parts(parts, Body::from(body.bytes.clone()));
            let service = WatchService { live: grpc.live, shutdown: grpc.shutdown };
            let response = Grpc::new(SharedCodec).server_streaming(service, request).await;
            response.map(GrpcBody::new).into_response()
        }
        Err(refused) => refuse(refused.into()),
    };
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    hold_until_read(response, permit)
}

/// Decodes and checks requests; responses are encoded already, once for all subscribers.
struct SharedCodec;

impl Codec for SharedCodec {
    type Encode = Bytes;
    type Decode = WatchRequest;
    type Encoder = Self;
    type Decoder = ValidatingDecoder<WatchRequest>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ValidatingDecoder::default()
    }
}

impl Encoder for SharedCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

struct WatchService {
    live: Live,
    shutdown: Shutdown,
}

impl ServerStreamingService<WatchRequest> for WatchService {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<WatchRequest>) -> Self::Future {
        let (live, shutdown) = (self.live.clone(), self.shutdown.clone());
        Box::pin(async move {
            let (metadata, _, message) = request.into_parts();
            let credentials = Credentials::from_headers(&metadata.into_headers()).map_err(Error::from)?;
            let since = since(&message)?;
            let channel = channel(&message)?;
            let stream = ChannelStream::open(&live, credentials, Format::Protobuf, |_| Ok(channel), since).await;
            let stream = stream.map_err(Error::from)?;
            let first = bare(stream.position);
            let responses = stream::once(async { Ok(first) }).chain(responses(stream, shutdown));
            Ok(tonic::Response::new(responses.boxed()))
        })
    }
}

fn responses(stream: ChannelStream, shutdown: Shutdown) -> impl futures_util::Stream<Item = Result<Bytes, Status>> {
    stream::unfold(Some((stream, shutdown)), async |state| {
        let (mut stream, shutdown) = state?;
        // Read first: whatever is not later is sent before a response without a message.
        let position = stream.current_position().unwrap_or(stream.position);
        let next = tokio::select! {
            next = timeout_at(Instant::now() + KEEPALIVE, stream.next()) => next,
            () = shutdown.draining().cancelled() => Ok(Err(Reason::Unavailable)),
        };
        match next {
            Ok(Ok(Encoded::Bytes(bytes))) => Some((Ok(bytes), Some((stream, shutdown)))),
            Ok(Ok(Encoded::Text(_))) | Err(_) => Some((Ok(bare(position)), Some((stream, shutdown)))),
            Ok(Err(reason)) => Some((Err(Error::from(reason).into()), None)),
        }
    })
}

/// A response without a message.
fn bare(position: Position) -> Bytes {
    WatchResponse { position: position.to_string(), message: None }.encode_to_vec().into()
}

fn since(request: &WatchRequest) -> Result<Option<Since>, Error> {
    let position = request.since.as_ref().map(|since| since.parse()).transpose();
    let position =
        position.map_err(|_| Error::invalid("since", "must be the position of a response or a Live-Position"));
    Ok(position?.map(Since::Position))
}

fn channel(request: &WatchRequest) -> Result<Channel, Error> {
    let id = |field: &'static str, id: Option<&String>| {
        let id = id.and_then(|id| id.parse().ok());
        id.ok_or_else(|| Error::invalid(field, "must not be empty for this channel"))
    };
    match request.channel() {
        ChannelKind::Task => Ok(Channel::Task(id("task_id", request.task_id.as_ref())?)),
        ChannelKind::Notifications | ChannelKind::Unspecified => Ok(Channel::Notifications),
        ChannelKind::Conversation => {
            Ok(Channel::Conversation(id("conversation_id", request.conversation_id.as_ref())?))
        }
        ChannelKind::Board => match request.board() {
            BoardKind::My => Ok(Channel::Board(BoardName::My)),
            BoardKind::User => Ok(Channel::Board(BoardName::User(id("user_id", request.user_id.as_ref())?))),
            BoardKind::Team => Ok(Channel::Board(BoardName::Team)),
            BoardKind::Account => Ok(Channel::Board(BoardName::Account)),
            BoardKind::Unspecified => Err(Error::invalid("board", "must not be empty for this channel")),
        },
    }
}
