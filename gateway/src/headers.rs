//! Which request headers are forwarded to a service, and which must not be repeated.

use baton_runtime::propagation;
use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, HOST, IF_MATCH, IF_NONE_MATCH, TE, TRANSFER_ENCODING, UPGRADE,
        USER_AGENT,
    },
};
use tonic::metadata::MetadataMap;

pub(crate) const X_ACCOUNT_ID: HeaderName = HeaderName::from_static("x-account-id");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Global Privacy Control: `1` is an objection.
pub(crate) const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");
/// From where a live subscription continues after the response.
pub(crate) const LIVE_POSITION: HeaderName = HeaderName::from_static("live-position");
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_USER_AGENT: HeaderName = HeaderName::from_static("x-forwarded-user-agent");

/// Headers that decide authorization or idempotency. If one were repeated, two readers could use different values.
const SINGLE_VALUED: [HeaderName; 3] = [AUTHORIZATION, X_ACCOUNT_ID, IDEMPOTENCY_KEY];
/// Headers that are lists: several lines are one list (RFC 9110, section 5.3).
const CONDITIONS: [HeaderName; 2] = [IF_MATCH, IF_NONE_MATCH];
/// Headers of the connection, not of the request (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HOST,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
];

/// The value of a header, if it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The bearer token. The scheme is case-insensitive (RFC 9110, section 11.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, &AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns a header that is repeated but must not be.
pub(crate) fn find_repeated(headers: &HeaderMap) -> Option<&HeaderName> {
    headers.keys().find(|name| {
        (**name == CONTENT_TYPE || SINGLE_VALUED.contains(name)) && headers.get_all(*name).iter().nth(1).is_some()
    })
}

/// Returns the metadata of the upstream call for a REST request: only the headers that services read.
pub(crate) fn upstream_metadata(request: &HeaderMap, client: Option<IpAddr>) -> MetadataMap {
    let mut headers = HeaderMap::new();
    for name in SINGLE_VALUED.iter().chain([&X_REQUEST_ID, &SEC_GPC]) {
        if let Some(value) = request.get(name) {
            headers.insert(name, value.clone());
        }
    }
    for name in &CONDITIONS {
        for value in request.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    set_forwarded(request, &mut headers, client);
    let mut metadata = MetadataMap::from_headers(headers);
    propagation::inject(&mut metadata);
    metadata
}

/// Prepares the headers of a gRPC request for the upstream call.
pub(crate) fn prepare_grpc(headers: &mut HeaderMap, client: Option<IpAddr>) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    // Cookies carry the refresh token, which only the gateway reads.
    headers.remove(COOKIE);
    let request = headers.clone();
    set_forwarded(&request, headers, client);
    // Some servers reject gRPC without it.
    headers.insert(TE, HeaderValue::from_static("trailers"));
    propagation::inject_headers(headers);
}

/// Sets client address and user agent. Values that the client sent are replaced.
fn set_forwarded(request: &HeaderMap, onward: &mut HeaderMap, client: Option<IpAddr>) {
    match request.get(USER_AGENT) {
        Some(agent) => onward.insert(X_FORWARDED_USER_AGENT, agent.clone()),
        None => onward.remove(X_FORWARDED_USER_AGENT),
    };
    match client.and_then(|client| HeaderValue::try_from(client.to_string()).ok()) {
        Some(client) => onward.insert(X_FORWARDED_FOR, client),
        None => onward.remove(X_FORWARDED_FOR),
    };
}
