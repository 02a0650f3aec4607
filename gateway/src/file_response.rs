//! File responses: `google.api.HttpBody`, streamed as the service sends it.

use axum::{body::Body, response::Response};
use baton_errors::Reason;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{
    HeaderValue,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE},
};
use prost_reflect::{DynamicMessage, Value};
use tonic::{Request, Status};

use crate::{
    problem::Problem,
    routes::Route,
    upstream::{self, Upstream},
};

/// Calls the RPC and returns its file. It waits for the first message, so that an error becomes a problem with its
/// status. A later error aborts the body, so that no client takes a part for the whole file.
pub(crate) async fn respond(
    route: &Route,
    upstream: Upstream,
    call: Request<DynamicMessage>,
) -> Result<Response, Problem> {
    let refused = |status: Status| Problem::from_status(&status, route);
    let rpc = route.rpc.clone();
    let (disposition, first, rest) = if route.method.is_server_streaming() {
        let response = upstream::streaming(upstream, rpc, call, route.method.output()).await.map_err(refused)?;
        // The service names the file (RFC 6266).
        let disposition = response.metadata().get(CONTENT_DISPOSITION.as_str()).cloned();
        let mut messages = response.into_inner();
        let first = messages.message().await.map_err(refused)?;
        (disposition, first, messages.left_stream())
    } else {
        let only = upstream::unary(upstream, rpc, call, route.method.output()).await.map_err(refused)?;
        (None, Some(only), stream::empty().right_stream())
    };
    let body_field = route.response_field.clone().ok_or_else(|| Problem::from(Reason::Internal))?;
    let (content_type, first) = first.map(|message| http_body(&message.get_field(&body_field))).unwrap_or_default();
    let content_type = HeaderValue::try_from(content_type).ok().filter(|value| !value.is_empty());
    let rest = rest.map(move |message| message.map(|message| http_body(&message.get_field(&body_field)).1));
    let mut response = Response::new(Body::from_stream(stream::iter([Ok(first)]).chain(rest)));
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    let disposition = disposition.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
    response.headers_mut().extend(disposition.map(|value| (CONTENT_DISPOSITION, value)));
    Ok(response)
}

/// Returns content type and bytes of a `google.api.HttpBody`.
fn http_body(body: &Value) -> (String, Bytes) {
    let field = |name: &str| body.as_message().and_then(|body| body.get_field_by_name(name));
    let content_type = field("content_type").and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let data = field("data").and_then(|value| value.as_bytes().cloned()).unwrap_or_default();
    (content_type, data)
}
