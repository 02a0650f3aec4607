//! Failures as `application/problem+json` (RFC 9457), with the reason that gRPC callers get.

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

/// Content type of a problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A failure as REST tells it.
#[derive(Debug)]
pub(crate) struct Problem(Box<ProblemBody>);

#[derive(Debug, Serialize)]
struct ProblemBody {
    /// Where the reason is documented, under this host.
    #[serde(rename = "type")]
    kind: String,
    /// What the reason means.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What went wrong this time.
    detail: String,
    /// The reason's name.
    reason: Cow<'static, str>,
    /// The fields that are wrong.
    errors: Vec<FieldError>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    /// Seconds after which to come again, when the answer invites to.
    #[serde(skip)]
    retry_after: u64,
}

/// What is wrong with a field.
#[derive(Debug, Serialize)]
struct FieldError {
    field: String,
    message: String,
}

impl Problem {
    /// A failure for this reason, and what it means for this request.
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

    /// A request with these wrong fields.
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

    /// A request with one wrong field, or header.
    pub(crate) fn field(field: &str, message: &str) -> Self {
        let mut violations = Violations::default();
        violations.invalid(field, message);
        Self::violations(violations)
    }

    /// What a service answered to a call of this route, or what kept it from answering.
    ///
    /// Only a status with Baton's `ErrorInfo` was written for callers; of all others the text stays here.
    pub(crate) fn from_status(status: &Status, route: &Route) -> Self {
        Self::with_field_paths(status, |field| route.caller_path(&field).into_owned())
    }

    /// The same for a call that no route of the contract stands for: fields have the names of the message.
    pub(crate) fn from_unrouted_status(status: &Status) -> Self {
        Self::with_field_paths(status, |field| field)
    }

    fn with_field_paths(status: &Status, caller_path: impl Fn(String) -> String) -> Self {
        let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let Some(info) = info else {
            let (reason, http) = foreign_status(status);
            tracing::warn!(code = ?status.code(), message = status.message(), %reason, "upstream gave no reason");
            let mut problem = Self::from(reason);
            problem.0.status = http;
            return problem;
        };
        let mut problem = match Reason::from_name(&info.reason) {
            Some(reason) => Self::new(reason, status.message()),
            // A reason of a newer service: its name and code still tell the caller something.
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

    /// The reason's name.
    #[cfg(test)]
    pub(crate) fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The answer to a request with these headers.
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

/// The reason of a status that Baton's services did not write: the transport's, tonic's, a mesh's.
fn foreign_status(status: &Status) -> (Reason, u16) {
    let mut source = std::error::Error::source(status);
    if source.is_none() {
        return reason_of_code(status.code());
    }
    // Never came from the wire: the connection failed, or the deadline passed.
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
        // The service is older than the gateway and will know the RPC soon.
        Code::Unimplemented => return (Reason::Unavailable, 501),
        // OUT_OF_RANGE: an answer that is too large. Services give a reason for requests that are.
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
    fn a_reason_is_shown_with_its_metadata_and_the_callers_field_names() {
        let error = baton_errors::Error::invalid("task.title", "is too long").with("limit", "200");
        let problem = of("UpdateTask", &error.into());
        assert_eq!(problem["status"], 400);
        assert_eq!(problem["reason"], "VALIDATION_FAILED");
        assert_eq!(problem["type"], "/docs#reason-validation_failed");
        assert_eq!(problem["errors"], serde_json::json!([{"field": "title", "message": "is too long"}]));
        assert_eq!(problem["metadata"]["limit"], "200");
    }

    #[test]
    fn text_that_was_not_written_for_callers_stays_inside() {
        for (code, http) in [(Code::Unknown, 500), (Code::Unimplemented, 501), (Code::Unavailable, 503)] {
            let problem = of("GetTask", &Status::new(code, "pg://secret"));
            assert_eq!(problem["status"], http);
            assert!(!problem.to_string().contains("secret"), "{problem}");
        }
    }

    #[test]
    fn what_broke_on_the_way_is_unavailable_and_not_our_bug() {
        let status = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        assert_eq!(of("GetTask", &status)["status"], 503);
        let status = Status::from_error(Box::new(TimeoutExpired(())));
        assert_eq!(of("GetTask", &status)["status"], 504);
    }
}
