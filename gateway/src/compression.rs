//! gzip for JSON from 1 KiB, the OpenAPI document and the documentation.
//!
//! Compressing a secret together with text of an attacker can reveal it (BREACH): an attacker who makes a browser send
//! their text with the victim's credentials sees from the response's size whether the text resembles the secret. Here,
//! credentials are a header that no foreign page can send, and responses with tokens, keys, secrets or signed URLs are
//! never compressed (`Route::returns_secret`). Compression is opt-in per handler: streams, gRPC, WebSockets and files
//! are not compressed.

use std::{io::Write as _, sync::OnceLock};

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use baton_errors::Reason;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY},
};
use http_body::Body as _;
use tower_http::{CompressionLevel, compression::CompressionLayer, compression::Predicate};

use crate::{problem::Problem, representation};

/// Smaller responses do not profit: they fit into one packet.
const MIN_BYTES: usize = 1024;
/// Suffix of the `ETag` of compressed content: a strong tag names bytes, so each coding has its own (RFC 9110,
/// 8.8.3.3).
const ETAG_SUFFIX: &str = "-gzip";

/// Marks a response that may be compressed.
#[derive(Debug, Clone, Copy)]
struct Compressible;

/// Compresses only marked responses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IfCompressible;

impl Predicate for IfCompressible {
    fn should_compress<B: http_body::Body>(&self, response: &http::Response<B>) -> bool {
        response.extensions().get::<Compressible>().is_some()
    }
}

/// Compresses marked responses if the client accepts gzip (RFC 9110, section 12.5.3), while they are sent.
pub(crate) fn layer() -> CompressionLayer<IfCompressible> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(IfCompressible)
}

/// Allows compression of a response with this size in bytes, if it is large enough.
pub(crate) fn allow(mut response: Response, size: usize) -> Response {
    if size >= MIN_BYTES {
        response.extensions_mut().insert(Compressible);
    }
    response
}

/// Adds the suffix to the `ETag` of compressed content.
pub(crate) fn tag_content_coding(headers: &mut HeaderMap) {
    if !headers.contains_key(CONTENT_ENCODING) {
        return;
    }
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()?.strip_suffix('"'));
    if let Some(Ok(tag)) = tag.map(|tag| HeaderValue::try_from(format!("{tag}{ETAG_SUFFIX}\""))) {
        headers.insert(ETAG, tag);
    }
}

/// Whether a request has a content coding. The gateway does not decode any: a few bytes could become gigabytes.
pub(crate) fn has_content_coding(request: &Request) -> bool {
    let is_identity = |value: &HeaderValue| value.is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity");
    request.headers().get_all(CONTENT_ENCODING).iter().any(|value| !is_identity(value))
        && !request.body().is_end_stream()
}

/// Refuses a content coding (RFC 9110, section 15.5.16).
pub(crate) fn refuse(request: &HeaderMap) -> Response {
    let detail = "the body must not have a content coding (Content-Encoding)";
    let mut response = Problem::new(Reason::UnsupportedMediaType, detail).into_response_for(request);
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    response
}

/// A static document: hashed once, and compressed once on first use.
pub(crate) struct Document {
    content_type: &'static str,
    content: Bytes,
    gzip: OnceLock<Bytes>,
    etag: HeaderValue,
}

impl Document {
    pub(crate) fn new(content_type: &'static str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let etag = representation::etag(None, None, &content);
        Self { content_type, content, gzip: OnceLock::new(), etag }
    }

    /// Returns the document, compressed if the client accepts it. [`crate::conditional`] evaluates the conditions.
    pub(crate) fn response(&self, request: &HeaderMap) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(self.content_type)),
            (ETAG, self.etag.clone()),
            (CACHE_CONTROL, HeaderValue::from_static("public, no-cache")),
            (VARY, HeaderValue::from_static("accept-encoding")),
        ];
        if self.content.len() < MIN_BYTES || !accepts_gzip(request) {
            return (headers, self.content.clone()).into_response();
        }
        let gzip = self.gzip.get_or_init(|| gzip(&self.content)).clone();
        (headers, [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))], gzip).into_response()
    }
}

fn gzip(content: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 4), Compression::default());
    // Writing to a vector cannot fail.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default().into()
}

/// Whether gzip is acceptable and not less preferred than no coding.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let lines = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for element in lines.flat_map(|line| line.split(',')) {
        let (coding, parameter) = element.split_once(';').unwrap_or((element, "q=1"));
        let parameter = parameter.trim();
        let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
        let weight = weight.and_then(|weight| weight.trim().parse::<f32>().ok()).unwrap_or(0.0);
        let coding = coding.trim();
        let slot = match coding {
            "*" => &mut any,
            _ if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => &mut gzip,
            _ if coding.eq_ignore_ascii_case("identity") => &mut identity,
            _ => continue,
        };
        *slot = Some(weight);
    }
    let gzip: f32 = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_needs_accept_encoding() {
        let accepts = |value: &'static str| {
            accepts_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        for value in ["gzip", "GZIP", "x-gzip", "br, gzip;q=0.5", "*", "gzip;q=0.5, *;q=0", "gzip; Q=1, identity"] {
            assert!(accepts(value), "{value}");
        }
        for value in
            ["", "br", "gzip;q=0", "gzip;q=0.0", "*;q=0", "identity", "gzip;q=0.1, identity", "gzip;q=x", "gzipped"]
        {
            assert!(!accepts(value), "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
