//! JSON responses with their caching headers: `ETag`, `Cache-Control`, `Vary`.

use aws_lc_rs::digest::{Context, SHA256};
use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_errors::Reason;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, VARY},
};
use prost_reflect::{DynamicMessage, Value};
use serde::Deserialize;

use crate::{
    compression,
    headers::X_ACCOUNT_ID,
    json::encode::{FieldJson, MessageJson},
    problem::Problem,
    routes::Route,
};

/// Path prefix of the signing keys (RFC 8615). Auth publishes a key for longer than `max-age` before it signs with it.
const WELL_KNOWN_PREFIX: &str = "/.well-known/";
const WELL_KNOWN_CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// The caller's own cache may store the response, and must revalidate it each time.
const PRIVATE_CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, no-cache");
/// Headers that the response depends on. Cookies are not among them: they carry refresh tokens, which are POSTed.
const VARY_BY_CALLER: HeaderValue = HeaderValue::from_static("authorization, x-account-id, accept-encoding");
const VARY_BY_CODING: HeaderValue = HeaderValue::from_static("accept-encoding");

/// Encodes the response of a call. A GET has an `ETag`, and so has a change of a resource with a version. Secrets are
/// neither cached nor compressed.
pub(crate) fn encode(route: &Route, request: &HeaderMap, message: &DynamicMessage) -> Result<Response, Problem> {
    let field = route.response_field.as_ref().map(|field| (field, message.get_field(field)));
    let (resource, json) = match &field {
        None => (Some(message), serde_json::to_vec(&MessageJson(message))),
        Some((field, value)) => (value.as_message(), serde_json::to_vec(&FieldJson(message, field))),
    };
    let json = Bytes::from(json.map_err(|_| Problem::from(Reason::Internal))?);
    let version = route.version.as_ref().zip(resource).map(|(field, of)| of.get_field(field));
    let version = version.as_deref().and_then(Value::as_i32);

    let mut response = ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json.clone()).into_response();
    let headers = response.headers_mut();
    if route.returns_secret {
        return Ok(response);
    }
    if route.template.starts_with(WELL_KNOWN_PREFIX) {
        headers.insert(ETAG, etag(None, None, &json));
        headers.insert(CACHE_CONTROL, WELL_KNOWN_CACHE_CONTROL);
        headers.insert(VARY, VARY_BY_CODING);
    } else if route.verb == Method::GET {
        headers.insert(ETAG, etag(version, Some(request), &json));
        headers.insert(CACHE_CONTROL, PRIVATE_CACHE_CONTROL);
        headers.insert(VARY, VARY_BY_CALLER);
    } else if version.is_some() {
        headers.insert(ETAG, etag(version, Some(request), &json));
    }
    Ok(compression::allow(response, json.len()))
}

/// Returns a strong tag for this content (RFC 9110, section 8.8.3): `"<version>-<hash>"`, or the hash alone without a
/// version. With the headers of `caller`, the hash also covers user and account, so that no two callers share a tag.
pub(crate) fn etag(version: Option<i32>, caller: Option<&HeaderMap>, content: &[u8]) -> HeaderValue {
    let mut hash = Context::new(&SHA256);
    if let Some(headers) = caller {
        hash.update(&subject(headers));
        // No header contains a NUL.
        hash.update(b"\0");
        hash.update(headers.get(X_ACCOUNT_ID).map(HeaderValue::as_bytes).unwrap_or_default());
        hash.update(b"\0");
    }
    hash.update(content);
    // Half of the hash is enough: a collision has no value for an attacker.
    let hash: String = hash.finish().as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = version.map_or_else(|| format!("\"{hash}\""), |version| format!("\"{version}-{hash}\""));
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The caller's identity: the subject of an access token, which stays the same when the token is refreshed, or else the
/// credentials themselves. A service has verified the token before a response exists.
fn subject(headers: &HeaderMap) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let Some(credentials) = headers.get(AUTHORIZATION) else { return Vec::new() };
    let claims = credentials.as_bytes().split(|byte| *byte == b'.').nth(1);
    let claims = claims.and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims = claims.and_then(|claims| serde_json::from_slice::<Claims>(&claims).ok());
    claims.map_or_else(|| credentials.as_bytes().to_vec(), |claims| claims.sub.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(authorization: &str, account: &str) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).expect("a header");
        HeaderMap::from_iter([(AUTHORIZATION, value(authorization)), (X_ACCOUNT_ID, value(account))])
    }

    fn token(subject: &str, id: u8) -> String {
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"jti": {id}, "sub": "{subject}"}}"#));
        format!("Bearer e30.{claims}.signature{id}")
    }

    #[test]
    fn tag_changes_with_content_version_user_and_account() {
        let of = |version, authorization: &str, account, content: &[u8]| {
            etag(version, Some(&by(authorization, account)), content)
        };
        let tag = of(Some(7), &token("a", 1), "x", b"{}");
        assert!(tag.to_str().expect("ASCII").starts_with("\"7-"), "{tag:?}");
        assert_eq!(tag.len(), "\"7-\"".len() + 32);
        assert_eq!(tag, of(Some(7), &token("a", 2), "x", b"{}"), "the same user's next token");
        for other in [
            of(Some(8), &token("a", 1), "x", b"{}"),
            of(Some(7), &token("b", 1), "x", b"{}"),
            of(Some(7), &token("a", 1), "y", b"{}"),
            of(Some(7), &token("a", 1), "x", b"{ }"),
            of(Some(7), "Bearer key_1", "x", b"{}"),
            of(None, &token("a", 1), "x", b"{}"),
        ] {
            assert_ne!(other, tag);
        }
        assert_ne!(of(None, "Bearer key_1", "", b""), of(None, "Bearer key_2", "", b""));
    }
}
