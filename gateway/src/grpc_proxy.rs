//! Proxies gRPC and gRPC-Web to the service in the path, without decoding messages.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_access::Rule;
use baton_errors::{Error, Reason};
use baton_proto::pool;
use baton_runtime::{origin, reflection};
use futures_util::StreamExt as _;
use http::{
    HeaderMap, HeaderValue, Version,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Body as _, Frame};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body as GrpcBody};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, ServiceExt as _};

use crate::{
    admission::CallerKey,
    config::Config,
    headers, live_grpc, middleware,
    problem::Problem,
    rate_limit::Verdict,
    request_guard::RequestGuard,
    response_body::hold_until_read,
    rest::MAX_PUBLIC_BODY_BYTES,
    upstream::{Upstream, Upstreams},
};

/// Maximum request body, in bytes: the largest message that services accept (tonic's default), and its prefix.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024 + 5;

/// Handles gRPC requests; others pass to the next layer.
#[derive(Clone)]
pub(crate) struct GrpcProxy {
    services: GrpcWebService<Router>,
    guard: RequestGuard,
}

/// A service and its RPCs, by path.
#[derive(Clone)]
struct Target {
    upstream: Upstream,
    rpcs: Arc<HashMap<String, Rpc>>,
    guard: RequestGuard,
}

#[derive(Clone, Copy)]
struct Rpc {
    is_public: bool,
    is_streaming: bool,
}

impl GrpcProxy {
    /// Routes all gRPC services: those behind the gateway, `own_rpcs` of the gateway, its health, and reflection if
    /// enabled.
    ///
    /// # Errors
    /// If an RPC of the contract streams its request: the gateway reads bodies whole.
    pub(crate) fn new(
        upstreams: &Upstreams,
        guard: &RequestGuard,
        rules: &HashMap<String, Rule>,
        config: &Config,
        own_rpcs: Router,
        draining: CancellationToken,
    ) -> Result<Self> {
        let (reporter, health) = tonic_health::server::health_reporter();
        tokio::spawn(async move {
            draining.cancelled().await;
            reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        });
        let mut own_services = Router::new().route_service("/grpc.health.v1.Health/{method}", health);
        let mut grpc = Router::new();
        let mut exposed = vec![live_grpc::SERVICE.to_owned()];
        let http = pool().get_extension_by_name("google.api.http").context("the contract has no HTTP bindings")?;
        for service in pool().services() {
            let Ok(upstream) = upstreams.of_package(service.parent_file().package_name()) else { continue };
            let mut rpcs = HashMap::new();
            let mut is_internal = false;
            for method in service.methods() {
                ensure!(!method.is_client_streaming(), "{} streams its request", method.full_name());
                let path = format!("/{}/{}", service.full_name(), method.name());
                let rule = rules.get(&path);
                is_internal |= rule == Some(&Rule::ServiceOnly);
                let is_public = rule == Some(&Rule::Public);
                // Public RPCs without a REST route have their own HTTP endpoint, which counts them: webhooks.
                if is_public && !config.internal_rpcs && !method.options().has_extension(&http) {
                    continue;
                }
                rpcs.insert(path, Rpc { is_public, is_streaming: method.is_server_streaming() });
            }
            // A service with an internal RPC is internal as a whole, with the RPC that issues service tokens.
            if is_internal && !config.internal_rpcs {
                continue;
            }
            exposed.push(service.full_name().to_owned());
            let target = Target { upstream, rpcs: Arc::new(rpcs), guard: guard.clone() };
            grpc = grpc.route(&format!("/{}/{{method}}", service.full_name()), post(proxy).with_state(target));
        }
        if config.reflection {
            own_services = own_services
                .route_service("/grpc.reflection.v1.ServerReflection/{method}", reflection::v1(&exposed)?)
                .route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", reflection::v1alpha(&exposed)?);
        }
        let grpc = grpc
            .merge(own_rpcs)
            .merge(own_services.layer(from_fn_with_state(guard.clone(), limit_streams)))
            .fallback(unimplemented)
            .method_not_allowed_fallback(unimplemented);
        Ok(Self { services: GrpcWebLayer::new().layer(grpc), guard: guard.clone() })
    }
}

/// Proxies gRPC requests; others continue to the next layer.
pub(crate) async fn dispatch(State(grpc): State<GrpcProxy>, request: Request, next: Next) -> Response {
    match dialect(request.headers()) {
        None => next.run(request).await,
        Some(Dialect::WebText) => match decode_web_text(&grpc.guard, request).await {
            Ok(request) => call(grpc.services, request).await,
            Err(error) => refuse_web_text(error.into()),
        },
        Some(Dialect::Web) => call(grpc.services, request).await,
        Some(Dialect::Native) if request.version() == Version::HTTP_2 => call(grpc.services, request).await,
        Some(_) => {
            let detail = "gRPC must be application/grpc over HTTP/2; gRPC-Web must be application/grpc-web or -web-text, with or without +proto";
            Problem::new(Reason::UnsupportedMediaType, detail).into_response_for(request.headers())
        }
    }
}

async fn call(grpc: GrpcWebService<Router>, request: Request) -> Response {
    let response = grpc.oneshot(request).await.unwrap_or_else(|never| match never {});
    response.map(Body::new)
}

enum Dialect {
    Native,
    Web,
    WebText,
    /// Unsupported, such as `application/grpc+json`.
    Other,
}

fn dialect(headers: &HeaderMap) -> Option<Dialect> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    match content_type.strip_prefix("application/grpc")? {
        "" | "+proto" => Some(Dialect::Native),
        "-web" | "-web+proto" => Some(Dialect::Web),
        "-web-text" | "-web-text+proto" => Some(Dialect::WebText),
        _ => Some(Dialect::Other),
    }
}

/// Converts a base64 request to a binary one. tonic-web decodes the body as one base64 text; the protocol lets clients
/// encode and pad each chunk separately (grpc-web, PROTOCOL-WEB.md).
async fn decode_web_text(guard: &RequestGuard, request: Request) -> Result<Request, Error> {
    let (mut parts, body) = request.into_parts();
    let client = guard.trusted_proxies.client_ip(&parts.headers, &parts.extensions);
    let text = guard.buffers.read(body, &parts.headers, MAX_BODY_BYTES.div_ceil(3) * 4, client).await?;
    let binary = decode_base64_chunks(&text.bytes);
    let binary = binary.ok_or_else(|| Error::new(Reason::MalformedRequest, "the body must be base64"))?;
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc-web+proto"));
    parts.headers.insert(ACCEPT, HeaderValue::from_static("application/grpc-web-text+proto"));
    Ok(Request::from_parts(parts, Body::from(binary)))
}

/// Decodes base64 chunks that may each be padded.
fn decode_base64_chunks(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    while !text.is_empty() {
        let padding = text.iter().position(|&byte| byte == b'=').unwrap_or(text.len());
        // A chunk is never empty, so the loop ends.
        let length = padding.max(1).next_multiple_of(4);
        let (piece, rest) = text.split_at_checked(length)?;
        STANDARD.decode_vec(piece, &mut decoded).ok()?;
        text = rest;
    }
    Some(decoded)
}

/// Limits streams of the gateway's own services.
async fn limit_streams(State(guard): State<RequestGuard>, request: Request, next: Next) -> Response {
    let client = guard.trusted_proxies.client_ip(request.headers(), request.extensions());
    let caller = CallerKey::Address(client.map(origin::network));
    match guard.admission.acquire_stream(caller, None) {
        Ok(permit) => hold_until_read(next.run(request).await, permit),
        Err(error) => refuse(error.into()),
    }
}

async fn proxy(State(target): State<Target>, request: Request) -> Response {
    let Target { upstream, rpcs, guard } = target;
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let Some(&rpc) = rpcs.get(&path) else { return unimplemented().await };
    middleware::set_rpc_span_name(&path);
    if let Some(name) = headers::find_repeated(&parts.headers) {
        return refuse(Error::invalid(name.as_str(), "must not be repeated").into());
    }
    let client = guard.trusted_proxies.client_ip(&parts.headers, &parts.extensions);
    let limit = if rpc.is_public { MAX_PUBLIC_BODY_BYTES } else { MAX_BODY_BYTES };
    // The body first: a slow sender must not hold a permit.
    let body = match guard.buffers.read(body, &parts.headers, limit, client).await {
        Ok(body) => body,
        Err(error) => return refuse(error.into()),
    };
    let caller = guard.limiter.caller(&path, &parts.headers, None, client).await;
    let permits = match guard.admission.acquire(&path, caller.key(), caller.stream_account(), rpc.is_streaming).await {
        Ok(permits) => permits,
        Err(busy) => return refuse(busy.into()),
    };
    let verdict = guard.limiter.count(&path, &caller).await;
    let mut response = match verdict.as_ref().map_or(Ok(()), Verdict::check) {
        Ok(()) => {
            headers::prepare_grpc(&mut parts.headers, client);
            // It may be that of the base64 body.
            parts.headers.remove(CONTENT_LENGTH);
            let upstream = if rpc.is_streaming { upstream.streams() } else { upstream };
            match upstream.call(http::Request::from_parts(parts, body.bytes.clone())).await {
                Ok(response) if response.body().is_end_stream() => response.map(Body::new),
                Ok(response) => response.map(with_error_trailers),
                Err(status) => refuse(status),
            }
        }
        Err(refused) => refuse(refused.into()),
    };
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    hold_until_read(response, permits.after_response_head())
}

/// Turns an error of the body into trailers. A service that dies while it responds sends none; without a status some
/// clients wait for ever, and none knows that it may retry. The body ends after its first error.
fn with_error_trailers(body: GrpcBody) -> Body {
    let frames = BodyStream::new(body).map(|frame| {
        frame.or_else(|status| {
            let mut trailers = HeaderMap::new();
            status.add_header(&mut trailers)?;
            Ok::<_, Status>(Frame::trailers(trailers))
        })
    });
    Body::new(StreamBody::new(frames))
}

async fn unimplemented() -> Response {
    refuse(Error::new(Reason::RouteNotFound, "the gateway does not serve this RPC").into())
}

/// Returns a status without a message: a single HEADERS frame.
pub(crate) fn refuse(status: Status) -> Response {
    status.into_http::<GrpcBody>().into_response()
}

/// Returns a status to a gRPC-Web client that expects text.
fn refuse_web_text(status: Status) -> Response {
    let mut response = refuse(status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc-web-text+proto"));
    response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn padded_base64_chunks_decode_to_their_concatenation(pieces: Vec<Vec<u8>>) {
            let text: String = pieces.iter().map(|piece| STANDARD.encode(piece)).collect();
            prop_assert_eq!(decode_base64_chunks(text.as_bytes()), Some(pieces.concat()));
        }

        #[test]
        fn garbage_never_decodes_to_more_than_its_length(text in "[!-~]{0,40}") {
            if let Some(decoded) = decode_base64_chunks(text.as_bytes()) {
                prop_assert!(decoded.len() * 4 <= text.len() * 3);
            }
        }
    }
}
