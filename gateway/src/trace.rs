//! The trace that a call belongs to (W3C Trace Context), taken in and handed on.

use http::HeaderMap;
use tonic::metadata::MetadataMap;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Puts the trace of the request into the metadata of the call upstream.
pub(crate) fn inject(request: &HeaderMap, metadata: &mut MetadataMap) {
    for name in [TRACEPARENT, TRACESTATE] {
        if let Some(value) = request.get(name)
            && let Ok(value) = value.as_bytes().try_into()
        {
            metadata.insert(name, value);
        }
    }
}

/// The id of the request's trace, if it has one.
pub(crate) fn id(request: &HeaderMap) -> Option<String> {
    // version "-" trace-id "-" parent-id "-" flags
    let traceparent = request.get(TRACEPARENT)?.to_str().ok()?;
    let id = traceparent.split('-').nth(1)?;
    let sane = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    sane.then(|| id.to_owned())
}
