//! Middleware for every request (request id, trace span, security headers), and the fallbacks (404, 405, panics).

use baton_runtime::propagation;
use std::any::Any;

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use baton_errors::Reason;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
};
use tracing::{Instrument as _, Span, field::Empty};
use uuid::Uuid;

use crate::{headers::X_REQUEST_ID, problem::Problem};

/// Longer request ids of clients are replaced.
const MAX_REQUEST_ID_LEN: usize = 128;

/// Sets `x-request-id` on request and response: the client's if it is safe, otherwise a new UUIDv7.
pub(crate) async fn request_id(mut request: Request, next: Next) -> Response {
    let sent = request.headers().get(&X_REQUEST_ID).filter(|id| is_safe(id.as_bytes())).cloned();
    let id = sent.or_else(|| HeaderValue::try_from(Uuid::now_v7().to_string()).ok());
    request.headers_mut().remove(&X_REQUEST_ID);
    if let Some(id) = &id {
        request.headers_mut().insert(X_REQUEST_ID, id.clone());
    }
    let mut response = next.run(request).await;
    response.headers_mut().extend(id.map(|id| (X_REQUEST_ID, id)));
    response
}

/// Ids are written to logs and metadata: no spaces, no quotes, nothing that could forge a log line.
fn is_safe(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID_LEN).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
}

/// Wraps the request in its server span. The span has no query and no body: they contain personal data.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let method = request.method().as_str();
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        otel.name = route.map(|route| format!("{method} {route}")).as_deref().unwrap_or(method),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        request_id = request.headers().get(&X_REQUEST_ID).and_then(|id| id.to_str().ok()),
    );
    propagation::continue_from_headers(&span, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

/// Sets the span's name for a gRPC request, which matches no REST route.
pub(crate) fn set_rpc_span_name(path: &str) {
    Span::current().record("otel.name", path).record("http.route", path);
}

/// Adds the default security headers of an API: no sniffing, no framing, no caching. A response may set its own.
pub(crate) async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let defaults: [(HeaderName, &'static str); 5] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in defaults {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Returns 404 for paths without a route.
pub(crate) async fn not_found(headers: HeaderMap) -> Response {
    Problem::from(Reason::RouteNotFound).into_response_for(&headers)
}

/// Returns 405 for methods that a path does not support; axum adds `Allow`.
pub(crate) async fn method_not_allowed(headers: HeaderMap) -> Response {
    Problem::from(Reason::MethodNotAllowed).into_response_for(&headers)
}

/// Returns 500 for a handler that panicked.
pub(crate) fn handle_panic(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<&str>().copied().or_else(|| cause.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("unknown"), "a handler panicked");
    Problem::from(Reason::Internal).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_request_ids_are_accepted() {
        assert!(is_safe(b"0198c0de-aaaa-7000-8000-000000000000"));
        for id in [&b""[..], b"a b", b"a\"b", b"a\tb", "ä".as_bytes(), &[b'a'; 129]] {
            assert!(!is_safe(id), "{id:?}");
        }
    }
}
