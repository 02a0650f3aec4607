//! gRPC and gRPC-Web: passed on undecoded to the service that the path names.

use std::net::SocketAddr;

use anyhow::Result;
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
    routing::post,
};
use baton_errors::{Error, Reason};
use baton_proto::{DESCRIPTORS, pool};
use futures_util::{StreamExt as _, future::ready};
use http::{HeaderMap, Version, header::CONTENT_TYPE};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Body as _, Frame};
use tokio_util::sync::CancellationToken;
use tonic::{Status, TimeoutExpired, body::Body as GrpcBody, transport::Channel};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, ServiceExt as _};

use crate::{edge, headers, problem::Problem, upstream::Upstreams};

/// All gRPC services: those behind the gateway, and its own health and reflection.
pub(crate) fn service(upstreams: &Upstreams, draining: CancellationToken) -> Result<GrpcWebService<Router>> {
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
            grpc = grpc.route(&path, post(proxy).with_state(channel));
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

async fn proxy(State(channel): State<Channel>, mut request: Request) -> Response {
    edge::name_rpc(request.uri().path());
    if let Some(name) = headers::repeated(request.headers()) {
        return refuse(Error::invalid(name.as_str(), "must come once").into());
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    headers::for_grpc(request.headers_mut(), peer);
    let request = request.map(onward);
    match channel.oneshot(request).await {
        Ok(response) if response.body().is_end_stream() => response.map(Body::new),
        Ok(response) => response.map(with_an_end),
        Err(error) => refuse(failed(&error).into()),
    }
}

/// The body without its length and its empty frames.
///
/// A stream has no length: tonic-web reports the one of the base64 that it decodes, and hyper would believe it.
/// Clients that end their stream with an empty frame give one more to pass on; h2 closes a connection that has
/// brought a hundred (`too_many_data_frames`), and all callers share those to the services.
fn onward(body: Body) -> GrpcBody {
    let frames = BodyStream::new(body).filter(|frame| {
        let is_empty = frame.as_ref().is_ok_and(|frame| frame.data_ref().is_some_and(|data| data.is_empty()));
        ready(!is_empty)
    });
    GrpcBody::new(StreamBody::new(frames))
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
