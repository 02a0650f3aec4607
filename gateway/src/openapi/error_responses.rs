//! The error responses of an operation: from its properties and from its comment.

use std::collections::BTreeMap;

use baton_errors::Reason;
use http::Method;
use serde_json::{Value, json};

use super::{
    access::Access,
    operation::{has_etag, takes_idempotency_key},
};
use crate::{
    cookies,
    problem::PROBLEM_JSON,
    routes::{Body, Route},
};

/// Returns the error responses of a route, by status.
pub(super) fn by_status(route: &Route, access: &Access, takes_if_match: bool, comment: &str) -> BTreeMap<u16, Value> {
    let mut statuses: BTreeMap<u16, Vec<Reason>> = BTreeMap::new();
    for reason in reasons(route, access, takes_if_match, comment) {
        let same = statuses.entry(reason.http_status()).or_default();
        if !same.contains(&reason) {
            same.push(reason);
        }
    }
    statuses.into_iter().map(|(status, reasons)| (status, error_response(status, &reasons))).collect()
}

fn reasons(route: &Route, access: &Access, takes_if_match: bool, comment: &str) -> Vec<Reason> {
    let mut reasons = vec![Reason::ValidationFailed, Reason::UnknownField];
    if matches!(route.body, Body::None) {
        reasons.push(Reason::MalformedRequest);
    } else {
        reasons.extend([Reason::MalformedRequest, Reason::RequestTooLarge, Reason::UnsupportedMediaType]);
    }
    if route.query.parameters().iter().any(|parameter| parameter.field.name() == "page_token") {
        reasons.push(Reason::PageTokenInvalid);
    }
    if !matches!(access.kind, super::access::Kind::Public) {
        reasons.extend([Reason::TokenMissing, Reason::TokenInvalid, Reason::SessionClosed]);
        // RPCs that need a session refuse API keys; others check the key's scopes.
        reasons.push(if access.requires_session { Reason::SessionRequired } else { Reason::ScopeMissing });
    }
    if takes_idempotency_key(route, access) {
        reasons.extend([Reason::IdempotencyKeyInvalid, Reason::IdempotencyKeyReused, Reason::IdempotencyKeyInUse]);
    }
    if matches!(access.kind, super::access::Kind::Permission(_)) {
        reasons.extend([Reason::NotAMember, Reason::PermissionMissing, Reason::SecondFactorRequired]);
        if !access.while_suspended {
            reasons.push(Reason::AccountSuspended);
        }
    }
    if cookies::takes_token(route) {
        reasons.extend([Reason::CsrfTokenMissing, Reason::CsrfTokenInvalid, Reason::OriginNotAllowed]);
    }
    if takes_if_match {
        reasons.extend([Reason::PreconditionInvalid, Reason::VersionMismatch, Reason::PreconditionFailed]);
    }
    if has_etag(route) {
        reasons.push(Reason::PreconditionInvalid);
    }
    let words = comment.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    reasons.extend(words.filter_map(Reason::from_name));
    if route.verb != Method::GET {
        reasons.push(Reason::Conflict);
    }
    if access.weight > 0 {
        reasons.push(Reason::RateLimited);
    }
    reasons.extend([Reason::Busy, Reason::Internal, Reason::Unavailable, Reason::DeadlineExceeded]);
    reasons
}

/// Error responses whose reasons are the same for many operations, by their name in the document.
const SHARED: &[(&str, &[Reason])] = &[
    ("TooManyRequests", &[Reason::RateLimited, Reason::Busy]),
    ("Internal", &[Reason::Internal]),
    ("Unavailable", &[Reason::Unavailable]),
    ("DeadlineExceeded", &[Reason::DeadlineExceeded]),
];

/// Returns the shared error responses.
pub(super) fn shared() -> impl Iterator<Item = (&'static str, Value)> {
    SHARED.iter().map(|(name, reasons)| (*name, described_response(reasons[0].http_status(), reasons)))
}

fn error_response(status: u16, reasons: &[Reason]) -> Value {
    match SHARED.iter().find(|(_, same)| *same == reasons) {
        Some((name, _)) => json!({"$ref": format!("#/components/responses/{name}")}),
        None => described_response(status, reasons),
    }
}

fn described_response(status: u16, reasons: &[Reason]) -> Value {
    let lines: Vec<String> = reasons.iter().map(|reason| format!("- `{reason}`: {}", reason.description())).collect();
    let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
    let mut response = json!({
        "description": lines.join("\n"),
        "x-reasons": names,
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    if status == 401 {
        response["headers"] = json!({"WWW-Authenticate": {"$ref": "#/components/headers/WWW-Authenticate"}});
    }
    if matches!(status, 429 | 503) {
        response["headers"] = json!({"Retry-After": {"$ref": "#/components/headers/Retry-After"}});
    }
    response
}
