//! The OpenAPI 3.1 document of the REST interface, from the descriptors and their comments.

mod access;
mod comments;
mod error_responses;
mod operation;
mod samples;
mod schema;
mod validation_rules;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Result;
use axum::{Router, routing::get};
use baton_errors::Reason;
use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::{
    compression::Document,
    problem::PROBLEM_JSON,
    routes::{Route, routes},
};
use schema::Schemas;

/// `*`, or entity tags with commas between them (RFC 9110, section 13.1).
const ENTITY_TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#;

/// The description of the API.
const INTRODUCTION: &str = include_str!("introduction.md");

/// The server of introduction and samples if no public URL is configured.
pub(crate) const ORIGIN: &str = "http://127.0.0.1:8080";

/// Builds the document. `server` is the public URL of the gateway. Without it, the document refers to the host that
/// serves it, and samples use `origin`.
pub(crate) fn document(server: Option<&str>, origin: &str) -> Result<Value> {
    let routes = routes()?;
    let mut schemas = Schemas::new(&routes)?;
    let mut paths = Map::new();
    for route in &routes {
        let operation = operation::operation(route, &mut schemas, server.unwrap_or(origin))?;
        let path = paths.entry(&route.template).or_insert_with(|| json!({}));
        path[route.verb.as_str().to_ascii_lowercase()] = operation;
    }
    let tags = tags(&routes, &schemas);
    let mut components = json!(schemas.into_components());
    components["Problem"] = problem();
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Baton",
            "version": env!("CARGO_PKG_VERSION"),
            "description": comments::join_lines(&INTRODUCTION.replace(ORIGIN, server.unwrap_or(origin))),
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server.unwrap_or("/")}],
        "tags": tags,
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "parameters": parameters(),
            "headers": headers(),
            "responses": responses(),
            "securitySchemes": {"bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "The `access_token` of `POST /v1/auth/login`, signed with EdDSA (RFC 8037).",
            }},
        },
    }))
}

/// Returns a tag for each service with a route. Its `x-operations` keeps the order of the contract, which JSON objects
/// do not.
fn tags(routes: &[Route], schemas: &Schemas) -> Vec<Value> {
    let by_service = routes.chunk_by(|a, b| a.method.parent_service() == b.method.parent_service());
    let tag = |routes: &[Route]| {
        let service = routes.first()?.method.parent_service();
        let operations: Vec<String> = routes.iter().map(operation::id).collect();
        let comment = schemas.comments.on(&service.parent_file(), service.path());
        Some(json!({"name": service.name(), "description": comment, "x-operations": operations}))
    };
    by_service.filter_map(tag).collect()
}

fn problem() -> Value {
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    let described: Vec<Value> = Reason::ALL
        .iter()
        .map(|reason| {
            json!({
                "reason": reason.name(),
                "status": reason.http_status(),
                "code": format!("{:?}", reason.code()),
                "meaning": reason.description(),
            })
        })
        .collect();
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": ["type", "title", "status", "detail", "reason", "errors"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "description": "Where the reason is documented."},
            "title": {"type": "string", "description": "Description of the reason."},
            "status": {"type": "integer", "format": "int32", "description": "The HTTP status."},
            "detail": {"type": "string", "description": "Description of this error."},
            "reason": {"type": "string", "enum": reasons, "x-reasons": described, "description": "The reason, for programs."},
            "errors": {
                "type": "array",
                "description": "The invalid fields, if any.",
                "items": {
                    "type": "object",
                    "required": ["field", "message"],
                    "properties": {
                        "field": {"type": "string", "description": "Path of the field: `tags[3]`."},
                        "message": {"type": "string", "description": "The problem with the field."},
                    },
                },
            },
            "metadata": {
                "type": "object",
                "description": "Values that the reason's description names, such as `from` and `to`.",
                "additionalProperties": {"type": "string"},
            },
            "trace_id": {"type": "string", "description": "Id of the request's trace (W3C Trace Context)."},
        },
    })
}

fn parameters() -> Value {
    let header = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "header", "description": description, "schema": schema});
    json!({
        "AccountId": header(
            "X-Account-Id",
            "The account of the call; the default is the caller's default account.",
            json!({"type": "string", "format": "uuid"}),
        ),
        "IdempotencyKey": header(
            "Idempotency-Key",
            "Makes retries safe: the same key and body return the first response again.",
            json!({"type": "string", "minLength": 1, "maxLength": 255}),
        ),
        "BatonSession": header(
            "X-Baton-Session",
            "`cookie` returns the refresh token in a cookie that no script can read, and not in the body.",
            json!({"type": "string", "enum": ["cookie"]}),
        ),
        "CsrfToken": header(
            "X-CSRF-Token",
            "The value of the cookie `__Host-baton_csrf`; required if the refresh token is in the cookie and not in the body.",
            json!({"type": "string"}),
        ),
        "IfMatch": header(
            "If-Match",
            "The `ETag` that the change is based on, or several, or `*`; 412 if the resource has changed since. Only the \
             version is compared: `\"7\"` is enough.",
            json!({"type": "string", "pattern": ENTITY_TAGS}),
        ),
        "IfNoneMatch": header(
            "If-None-Match",
            "The `ETag`s that the caller has, or `*`; 304 if nothing has changed.",
            json!({"type": "string", "pattern": ENTITY_TAGS}),
        ),
    })
}

fn responses() -> Value {
    let any = json!({
        "description": "Any other error",
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    let shared = error_responses::shared().map(|(name, response)| (name.to_owned(), response));
    shared.chain([("Problem".to_owned(), any)]).collect::<Map<_, _>>().into()
}

fn headers() -> Value {
    let header = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "ETag": header("For `If-None-Match` and `If-Match`. It changes with the response and the caller, and begins with the version."),
        "Live-Position": header("A live subscription with this `since` misses nothing that the response does not have."),
        "WWW-Authenticate": header("`Bearer` (RFC 6750)."),
        "Retry-After": header("Seconds to wait before retrying."),
    })
}

/// The route `/openapi.json`.
pub(crate) fn router(server: Option<&str>, listens_at: SocketAddr) -> Result<Router> {
    // An unspecified address includes loopback.
    let host = if listens_at.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listens_at.ip() };
    let origin = format!("http://{}", SocketAddr::new(host, listens_at.port()));
    let document = Arc::new(Document::new("application/json", serde_json::to_vec(&document(server, &origin)?)?));
    let handler = move |headers: HeaderMap| {
        let response = document.response(&headers);
        async { response }
    };
    Ok(Router::new().route("/openapi.json", get(handler)))
}
