//! gRPC and gRPC-Web: passed on undecoded to the service that the path names.

use anyhow::Result;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
    routing::post,
};
use baton_errors::{Error, Reason};
use baton_proto::{DESCRIPTORS, pool};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Version, header::CONTENT_TYPE};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Body as _, Frame};
use tokio_util::sync::CancellationToken;
use tonic::{Status, TimeoutExpired, body::Body as GrpcBody, transport::Channel};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, ServiceExt as _};

use crate::{
    edge, headers,
    problem::Problem,
    rate_limit::{Edge, Verdict},
    upstream::Upstreams,
};

/// Frames of a request that are joined at most; of 16 KiB each, if they are as large as they come by default.
const FRAMES_AT_ONCE: usize = 64;

/// All gRPC services: those behind the gateway, and its own health and reflection.
pub(crate) fn service(
    upstreams: &Upstreams,
    edge: &Edge,
    draining: CancellationToken,
) -> Result<GrpcWebService<Router>> {
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(async move {
        draining.cancelled().await;
        reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut grpc = Router::new()
        .route_service("/grpc.health.v1.Health/{method}", health)
        .route_service("/grpc.reflection.v1.ServerReflection/{method}", reflection);
    for service in pool().services() {
        if let Some(channel) = upstreams.of(service.parent_file().package_name()) {
            let path = format!("/{}/{{method}}", service.full_name());
            grpc = grpc.route(&path, post(proxy).with_state((channel, edge.clone())));
        }
    }
    let grpc = grpc.fallback(unimplemented).method_not_allowed_fallback(unimplemented);
    Ok(GrpcWebLayer::new().layer(grpc))
}

/// Takes what is gRPC out of the stream of requests.
pub(crate) async fn dispatch(State(grpc): State<GrpcWebService<Router>>, request: Request, next: Next) -> Response {
    match dialect(request.headers()) {
        None => next.run(request).await,
        Some(Dialect::Web) => answer(grpc, request).await,
        Some(Dialect::Native) if request.version() == Version::HTTP_2 => answer(grpc, request).await,
        Some(_) => {
            let detail = "gRPC is application/grpc over HTTP/2; gRPC-Web is application/grpc-web or -web-text, with +proto or without";
            Problem::new(Reason::UnsupportedMediaType, detail).answer(request.headers())
        }
    }
}

async fn answer(grpc: GrpcWebService<Router>, request: Request) -> Response {
    let response = grpc.oneshot(request).await.unwrap_or_else(|never| match never {});
    response.map(Body::new)
}

enum Dialect {
    Native,
    Web,
    /// One that nobody here speaks, such as `application/grpc+json`.
    Other,
}

fn dialect(headers: &HeaderMap) -> Option<Dialect> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    match content_type.strip_prefix("application/grpc")? {
        "" | "+proto" => Some(Dialect::Native),
        "-web" | "-web+proto" | "-web-text" | "-web-text+proto" => Some(Dialect::Web),
        _ => Some(Dialect::Other),
    }
}

async fn proxy(State((channel, edge)): State<(Channel, Edge)>, mut request: Request) -> Response {
    edge::name_rpc(request.uri().path());
    if let Some(name) = headers::repeated(request.headers()) {
        return refuse(Error::invalid(name.as_str(), "must come once").into());
    }
    let client = edge.proxies.client(request.headers(), request.extensions());
    let _turn = match edge.lines.turn(request.uri().path()).await {
        Ok(turn) => turn,
        Err(busy) => return refuse(busy.into()),
    };
    let counted = edge.limiter.count(request.uri().path(), request.headers(), None, client).await;
    let mut response = match counted.as_ref().map_or(Ok(()), Verdict::check) {
        Ok(()) => {
            headers::for_grpc(request.headers_mut(), client);
            call(channel, request).await
        }
        Err(refused) => refuse(refused.into()),
    };
    if let Some(counted) = counted {
        counted.tell(response.headers_mut());
    }
    response
}

async fn call(channel: Channel, request: Request) -> Response {
    let request = request.map(onward);
    match channel.oneshot(request).await {
        Ok(response) if response.body().is_end_stream() => response.map(Body::new),
        Ok(response) => response.map(with_an_end),
        Err(error) => refuse(failed(&error).into()),
    }
}

/// The body without its length, and without the crumbs that it may have come in.
///
/// A stream has no length: tonic-web reports the one of the base64 that it decodes, and hyper would believe it.
/// All callers share the connections to the services, and h2 closes one on which many small or empty frames lie
/// (`too_many_data_frames`): so whatever of a body is there goes on as one frame, and what is empty not at all.
fn onward(body: Body) -> GrpcBody {
    let frames = BodyStream::new(body).ready_chunks(FRAMES_AT_ONCE).flat_map(|frames| stream::iter(joined(frames)));
    GrpcBody::new(StreamBody::new(frames))
}

/// The same data in as few frames as can be.
fn joined(frames: Vec<Result<Frame<Bytes>, axum::Error>>) -> Vec<Result<Frame<Bytes>, axum::Error>> {
    // As nearly all come: nothing to join, and nothing to copy.
    if let [Ok(frame)] = &*frames
        && frame.data_ref().is_none_or(|data| !data.is_empty())
    {
        return frames;
    }
    let mut joined: Vec<Result<Frame<Bytes>, axum::Error>> = Vec::with_capacity(1);
    let mut data = BytesMut::new();
    for frame in frames {
        match frame.map(Frame::into_data) {
            Ok(Ok(more)) => data.extend_from_slice(&more),
            Ok(Err(other)) => {
                joined.extend((!data.is_empty()).then(|| Ok(Frame::data(data.split().freeze()))));
                joined.push(Ok(other));
            }
            Err(error) => joined.push(Err(error)),
        }
    }
    joined.extend((!data.is_empty()).then(|| Ok(Frame::data(data.freeze()))));
    joined
}

/// A service that dies in the middle of its answer leaves no trailers; without a status some clients wait
/// for ever, and none knows that it may try again.
fn with_an_end(body: GrpcBody) -> Body {
    let frames = BodyStream::new(body).map(|frame| {
        frame.or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "an upstream broke off its answer");
            let mut trailers = HeaderMap::new();
            Status::from(Error::from(Reason::Unavailable)).add_header(&mut trailers)?;
            Ok::<_, Status>(Frame::trailers(trailers))
        })
    });
    Body::new(StreamBody::new(frames))
}

fn failed(error: &tonic::transport::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<TimeoutExpired>() {
            return Reason::DeadlineExceeded.into();
        }
        source = error.source();
    }
    tracing::warn!(error = error as &dyn std::error::Error, "an upstream cannot be reached");
    Reason::Unavailable.into()
}

async fn unimplemented() -> Response {
    refuse(Status::unimplemented("there is no such service here"))
}

/// A status without a message: one frame of headers.
fn refuse(status: Status) -> Response {
    status.into_http::<GrpcBody>().into_response()
}
