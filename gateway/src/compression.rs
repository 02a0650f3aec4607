//! gzip, where it pays: JSON from 1 KiB, the OpenAPI document, the documentation.
//!
//! Compression next to a secret can give it away (BREACH): whoever can make a browser call with their own text and
//! the victim's credentials sees in the size of the answer whether the text is like the secret. Here credentials are
//! a header that no foreign page can send, and no answer that a cookie decides is compressed: answers with tokens,
//! keys, secrets or signed URLs never are (`Route::returns_secret`). So a handler has to allow compression; nothing
//! is compressed by default, and streams, gRPC, WebSockets and files are not.

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

/// Below this size headers and a packet's rest eat what is saved.
const MIN_BYTES: usize = 1024;
/// Ends the `ETag` of compressed content: a strong tag names bytes, so each coding has its own (RFC 9110, 8.8.3.3).
const ETAG_SUFFIX: &str = "-gzip";

/// Marks an answer that may be compressed.
#[derive(Debug, Clone, Copy)]
struct Compressible;

/// Compresses what is marked; the rest passes as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IfCompressible;

impl Predicate for IfCompressible {
    fn should_compress<B: http_body::Body>(&self, response: &http::Response<B>) -> bool {
        response.extensions().get::<Compressible>().is_some()
    }
}

/// Compresses marked answers for those who accept it (RFC 9110, section 12.5.3), piece by piece while they are sent.
pub(crate) fn layer() -> CompressionLayer<IfCompressible> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(IfCompressible)
}

/// Lets an answer of this size be compressed, if that pays.
pub(crate) fn allow(mut response: Response, size: usize) -> Response {
    if size >= MIN_BYTES {
        response.extensions_mut().insert(Compressible);
    }
    response
}

/// Gives compressed content a tag of its own.
pub(crate) fn tag_content_coding(headers: &mut HeaderMap) {
    if !headers.contains_key(CONTENT_ENCODING) {
        return;
    }
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()?.strip_suffix('"'));
    if let Some(Ok(tag)) = tag.map(|tag| HeaderValue::try_from(format!("{tag}{ETAG_SUFFIX}\""))) {
        headers.insert(ETAG, tag);
    }
}

/// Whether the content of a request is coded. The gateway decodes none: a few bytes could become gigabytes.
pub(crate) fn has_content_coding(request: &Request) -> bool {
    let is_identity = |value: &HeaderValue| value.is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity");
    request.headers().get_all(CONTENT_ENCODING).iter().any(|value| !is_identity(value))
        && !request.body().is_end_stream()
}

/// Refuses coded content (RFC 9110, section 15.5.16).
pub(crate) fn refuse(request: &HeaderMap) -> Response {
    let detail = "the body has a content coding (Content-Encoding); send it without";
    let mut response = Problem::new(Reason::UnsupportedMediaType, detail).into_response_for(request);
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    response
}

/// A document that is the same for all, hashed once, and compressed once when somebody first accepts it.
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

    /// The answer; the conditions of the request are compared around it.
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
    // A vector takes whatever is written.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default().into()
}

/// Whether gzip is acceptable, and no worse than no coding.
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
    fn gzip_is_for_those_who_accept_it() {
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
