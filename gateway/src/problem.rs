//! Errors as `application/problem+json` (RFC 9457), with the same reason as over gRPC.

use baton_runtime::propagation;
use std::{borrow::Cow, collections::BTreeMap};

use axum::response::{IntoResponse, Response};
use baton_errors::{ERROR_DOMAIN, Reason};
use baton_proto::codec::MORE_VIOLATIONS;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

use crate::{json::violations::Violations, routes::Route};

/// The content type of a problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// An error response.
#[derive(Debug)]
pub(crate) struct Problem(Box<ProblemBody>);

#[derive(Debug, Serialize)]
struct ProblemBody {
    /// URL of the reason's documentation, relative to this host.
    #[serde(rename = "type")]
    kind: String,
    /// Description of the reason.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// Description of this error.
    detail: String,
    /// The reason's name.
    reason: Cow<'static, str>,
    /// The invalid fields.
    errors: Vec<FieldError>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// Seconds for `Retry-After`, sent with 429 and 503.
    #[serde(skip)]
    retry_after: u64,
}

/// An invalid field.
#[derive(Debug, Serialize)]
struct FieldError {
    field: String,
    message: String,
}

impl Problem {
    /// Creates a problem with this reason and a description of the error.
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self(Box::new(ProblemBody {
            kind: format!("/docs#reason-{}", reason.name().to_ascii_lowercase()),
            title: reason.description(),
            status: reason.http_status(),
            detail: detail.into(),
            reason: Cow::Borrowed(reason.name()),
            errors: Vec::new(),
            metadata: BTreeMap::new(),
            trace_id: None,
            retry_after: 1,
        }))
    }

    /// Creates a problem for a request with invalid fields.
    pub(crate) fn violations(violations: Violations) -> Self {
        let reason = if violations.any_unknown() { Reason::UnknownField } else { Reason::ValidationFailed };
        let mut problem = Self::from(reason);
        if violations.omitted() > 0 {
            problem.0.metadata.insert(MORE_VIOLATIONS.to_owned(), violations.omitted().to_string());
        }
        problem.0.errors =
            violations.into_vec().into_iter().map(|v| FieldError { field: v.field, message: v.message }).collect();
        problem
    }

    /// Creates a problem for a request with one invalid field or header.
    pub(crate) fn field(field: &str, message: &str) -> Self {
        let mut violations = Violations::default();
        violations.invalid(field, message);
        Self::violations(violations)
    }

    /// Converts the status of a call of this route, with field paths of the REST request.
    ///
    /// Only a status with Baton's `ErrorInfo` has a message for callers; other messages are not returned.
    pub(crate) fn from_status(status: &Status, route: &Route) -> Self {
        Self::with_field_paths(status, |field| route.caller_path(&field).into_owned())
    }

    /// Converts the status of a call without a REST route. Field paths stay those of the message.
    pub(crate) fn from_unrouted_status(status: &Status) -> Self {
        Self::with_field_paths(status, |field| field)
    }

    fn with_field_paths(status: &Status, caller_path: impl Fn(String) -> String) -> Self {
        let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let Some(info) = info else {
            let (reason, http) = foreign_status(status);
            tracing::warn!(code = ?status.code(), message = status.message(), %reason, "an upstream status has no reason");
            let mut problem = Self::from(reason);
            problem.0.status = http;
            return problem;
        };
        let mut problem = match Reason::from_name(&info.reason) {
            Some(reason) => Self::new(reason, status.message()),
            // A reason of a newer service: its name and code are still useful to the caller.
            None => {
                let (reason, http) = reason_of_code(status.code());
                let mut problem = Self::new(reason, status.message());
                problem.0.status = http;
                problem.0.reason = Cow::Owned(info.reason);
                problem
            }
        };
        problem.0.metadata = info.metadata.into_iter().collect();
        if let Some(wait) = status.get_details_retry_info().and_then(|info| info.retry_delay) {
            problem.0.retry_after = wait.as_secs().max(1);
        }
        let violations = status.get_details_bad_request().map(|details| details.field_violations).unwrap_or_default();
        problem.0.errors = violations
            .into_iter()
            .map(|v| FieldError { field: caller_path(v.field), message: v.description })
            .collect();
        problem
    }

    #[cfg(test)]
    pub(crate) fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Returns the response to a request with these headers, with trace id and `WWW-Authenticate`.
    pub(crate) fn into_response_for(mut self, request: &HeaderMap) -> Response {
        self.0.trace_id = propagation::current_trace_id();
        let challenge = if request.contains_key(AUTHORIZATION) {
            // RFC 6750, section 3: a request without a token gets no error code.
            r#"Bearer error="invalid_token""#
        } else {
            "Bearer"
        };
        let mut response = self.into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self::new(reason, reason.description())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.0.retry_after;
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
        }
        response
    }
}

/// Maps a status that no Baton service wrote (transport, tonic, service mesh) to a reason and an HTTP status.
fn foreign_status(status: &Status) -> (Reason, u16) {
    let mut source = std::error::Error::source(status);
    if source.is_none() {
        return reason_of_code(status.code());
    }
    // It has a local source: the connection failed, or the deadline passed.
    while let Some(error) = source {
        if error.is::<TimeoutExpired>() {
            return (Reason::DeadlineExceeded, 504);
        }
        source = error.source();
    }
    (Reason::Unavailable, 503)
}

fn reason_of_code(code: Code) -> (Reason, u16) {
    let reason = match code {
        Code::InvalidArgument => Reason::ValidationFailed,
        Code::Unauthenticated => Reason::TokenInvalid,
        Code::PermissionDenied => Reason::PermissionMissing,
        Code::NotFound => Reason::RouteNotFound,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => Reason::Conflict,
        Code::ResourceExhausted => Reason::Busy,
        Code::DeadlineExceeded | Code::Cancelled => Reason::DeadlineExceeded,
        Code::Unavailable => Reason::Unavailable,
        // The service is older than the gateway, and will have the RPC after its update.
        Code::Unimplemented => return (Reason::Unavailable, 501),
        // OUT_OF_RANGE: a response is too large. For too large requests, services return a reason.
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss | Code::OutOfRange => Reason::Internal,
    };
    (reason, reason.http_status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::routes;

    fn of(rpc: &str, status: &Status) -> serde_json::Value {
        let routes = routes().expect("routes");
        let route = routes.iter().find(|route| route.method.name() == rpc).expect(rpc);
        serde_json::to_value(Problem::from_status(status, route).0).expect("JSON")
    }

    #[test]
    fn a_reason_is_returned_with_metadata_and_rest_field_paths() {
        let error = baton_errors::Error::invalid("task.title", "is too long").with("limit", "200");
        let problem = of("UpdateTask", &error.into());
        assert_eq!(problem["status"], 400);
        assert_eq!(problem["reason"], "VALIDATION_FAILED");
        assert_eq!(problem["type"], "/docs#reason-validation_failed");
        assert_eq!(problem["errors"], serde_json::json!([{"field": "title", "message": "is too long"}]));
        assert_eq!(problem["metadata"]["limit"], "200");
    }

    #[test]
    fn messages_without_error_info_are_not_returned() {
        for (code, http) in [(Code::Unknown, 500), (Code::Unimplemented, 501), (Code::Unavailable, 503)] {
            let problem = of("GetTask", &Status::new(code, "pg://secret"));
            assert_eq!(problem["status"], http);
            assert!(!problem.to_string().contains("secret"), "{problem}");
        }
    }

    #[test]
    fn transport_errors_are_unavailable_or_deadline_exceeded() {
        let status = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        assert_eq!(of("GetTask", &status)["status"], 503);
        let status = Status::from_error(Box::new(TimeoutExpired(())));
        assert_eq!(of("GetTask", &status)["status"], 504);
    }
}
