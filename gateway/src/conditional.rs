//! Conditional requests (RFC 9110, section 13).
//!
//! The gateway evaluates the conditions of reads, with the `ETag` of the response. Services evaluate those of writes,
//! in the transaction that writes: the gateway forwards `If-Match` and `If-None-Match`. `If-Match` compares the version
//! only. Resources have no modification date, so conditions on dates are ignored, as sections 13.1.3 and 13.1.4
//! require.

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use baton_conditional::{Conditions, Malformed, Outcome, Tag, Tags, Validators};
use baton_errors::Reason;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG},
};

use crate::{compression, problem::Problem, routes::Route};

/// Headers that describe the content; removed with it.
const CONTENT_HEADERS: [HeaderName; 5] =
    [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_DISPOSITION, ACCEPT_RANGES];

/// Refuses malformed conditions and content codings, and returns 304 or 412 for reads. It wraps the compression layer,
/// since each coding has a tag of its own.
pub(crate) async fn evaluate(request: Request, next: Next) -> Response {
    let conditions = match Conditions::of(request.headers()) {
        Ok(conditions) => conditions,
        Err(malformed) => return Problem::from(malformed).into_response_for(request.headers()),
    };
    if compression::has_content_coding(&request) {
        return compression::refuse(request.headers());
    }
    let method = request.method().clone();
    let mut response = next.run(request).await;
    compression::tag_content_coding(response.headers_mut());
    if response.status() != StatusCode::OK || !matches!(method, Method::GET | Method::HEAD) {
        return response;
    }
    let tag = response.headers().get(ETAG).and_then(|tag| Tag::parse(tag.as_bytes()));
    let Some(tag) = tag else { return response };
    match conditions.evaluate(&method, &Validators { tag, last_modified: None }, matches_state) {
        Outcome::Proceed => response,
        Outcome::NotModified => without_content(response, StatusCode::NOT_MODIFIED.into_response()),
        Outcome::Failed => {
            let mut problem = Problem::from(Reason::PreconditionFailed).into_response_for(&HeaderMap::new());
            problem.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            without_content(response, problem)
        }
    }
}

/// Whether a tag of `If-Match` matches the current state: it is equal or has the same version.
fn matches_state(tag: &Tag, current: &Tag) -> bool {
    tag.equals_strongly(current) || tag.version().is_some() && tag.version() == current.version()
}

/// Returns `replacement` with the response's headers (RFC 9110, section 15.4.5), except those of its content.
fn without_content(response: Response, replacement: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    for name in CONTENT_HEADERS {
        parts.headers.remove(name);
    }
    let (new, body) = replacement.into_parts();
    for (name, value) in &new.headers {
        parts.headers.insert(name, value.clone());
    }
    parts.status = new.status;
    Response::from_parts(parts, Body::new(body))
}

/// Checks the conditions of a change whose service compares no version. Ignoring them could overwrite protected state,
/// so the call is made only if they are certain to hold.
pub(crate) fn check_change(route: &Route, headers: &HeaderMap) -> Result<(), Problem> {
    if route.verb == Method::GET || route.checks_version {
        return Ok(());
    }
    let Conditions { if_match, if_none_match, .. } = Conditions::of(headers)?;
    let matches = if_match.is_none_or(|tags| tags == Tags::Any);
    let differs = match if_none_match {
        None => true,
        Some(Tags::These(tags)) => tags.is_empty() || !route.is_readable,
        Some(Tags::Any) => !route.is_readable,
    };
    if matches && differs { Ok(()) } else { Err(Reason::PreconditionFailed.into()) }
}

impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        Self::new(Reason::PreconditionInvalid, malformed.to_string())
    }
}
