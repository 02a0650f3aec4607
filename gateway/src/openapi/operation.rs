//! One route as an OpenAPI operation.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use baton_errors::Reason;
use baton_proto::pool;
use http::Method;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, Value as Proto};
use serde_json::{Map, Value, json};

use super::{
    comments::first_sentence,
    schema::{Schemas, Way},
};
use crate::{
    cookies, oauth,
    problem::PROBLEM_JSON,
    routes::{Body, Route},
};

/// Who may call, from `baton.access.v1.rule`.
enum Access {
    Public,
    Authenticated,
    ServiceOnly,
    /// The permission's name, in lower case.
    Permission(String),
}

/// The operation's id: `TaskService_PauseTask`.
pub(super) fn id(route: &Route) -> String {
    format!("{}_{}", route.method.parent_service().name(), route.method.name())
}

/// The operation of a route.
pub(super) fn operation(route: &Route, schemas: &mut Schemas) -> Result<Value> {
    let method = &route.method;
    let service = method.parent_service();
    let access = access(route)?;
    let takes_if_match = route.checks_version;
    let comment = schemas.comments.on(&method.parent_file(), method.path()).to_owned();
    let (summary, rest) = first_sentence(&comment);
    let who = match &access {
        Access::Public => "Anyone may call it.".to_owned(),
        Access::Authenticated => "Needs an access token.".to_owned(),
        Access::ServiceOnly => "For Baton services only.".to_owned(),
        Access::Permission(name) => format!("Needs the permission `{name}` in the account."),
    };
    let description = [rest, &who].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n");

    let mut operation = json!({
        "operationId": id(route),
        "tags": [service.name()],
        "summary": summary,
        "description": description,
        "x-grpc-method": format!("{}/{}", service.full_name(), method.name()),
        "responses": responses(route, &access, takes_if_match, &comment, schemas),
    });
    let parameters = parameters(route, &access, takes_if_match, schemas);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = body(route, schemas) {
        operation["requestBody"] = body;
    }
    if matches!(access, Access::Public) {
        operation["security"] = json!([]);
    }
    Ok(operation)
}

fn access(route: &Route) -> Result<Access> {
    let method = &route.method;
    let rule = pool().get_extension_by_name("baton.access.v1.rule").context("the contract lacks access rules")?;
    let options = method.options();
    let rule = options.get_extension(&rule);
    let (field, value) = rule
        .as_message()
        .and_then(|rule| rule.fields().next())
        .with_context(|| format!("{} has no rule", method.full_name()))?;
    Ok(match (field.name(), field.kind(), value) {
        ("public", ..) => Access::Public,
        ("service_only", ..) => Access::ServiceOnly,
        (_, Kind::Enum(of), Proto::EnumNumber(number)) => {
            let name = of.get_value(*number).as_ref().and_then(crate::json::enums::name);
            Access::Permission(name.with_context(|| format!("{} names no permission", method.full_name()))?)
        }
        _ => Access::Authenticated,
    })
}

/// Whether a read has an `ETag`, for `If-None-Match`.
fn has_etag(route: &Route) -> bool {
    route.verb == Method::GET && !route.is_file && !route.answers_secret
}

fn parameters(route: &Route, access: &Access, takes_if_match: bool, schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters = Vec::new();
    for parameter in &route.path {
        if let Some(field) = parameter.fields.last() {
            parameters.push(parameter_of("path", &parameter.name, field, true, schemas));
        }
    }
    for parameter in route.query.parameters().iter().filter(|parameter| parameter.field.name() != oauth::FIELD) {
        let required = schemas.is_required(&parameter.field);
        parameters.push(parameter_of("query", parameter.field.name(), &parameter.field, required, schemas));
    }
    let account_in_path = route.path.iter().any(|parameter| parameter.name == "account_id");
    let shared = |name: &str| json!({"$ref": format!("#/components/parameters/{name}")});
    if matches!(access, Access::Permission(_)) && !account_in_path {
        parameters.push(shared("AccountId"));
    }
    if route.verb == Method::POST && !matches!(access, Access::Public) {
        parameters.push(shared("IdempotencyKey"));
    }
    if cookies::answers_token(route) {
        parameters.push(shared("BatonSession"));
    }
    if cookies::takes_token(route) {
        parameters.push(shared("CsrfToken"));
    }
    if takes_if_match {
        parameters.push(shared("IfMatch"));
    }
    if has_etag(route) {
        parameters.push(shared("IfNoneMatch"));
    }
    parameters
}

fn parameter_of(place: &str, name: &str, field: &FieldDescriptor, required: bool, schemas: &mut Schemas) -> Value {
    let (schema, description) = schemas.parameter(field);
    json!({"name": name, "in": place, "required": required, "description": description, "schema": schema})
}

fn body(route: &Route, schemas: &mut Schemas) -> Option<Value> {
    let bound = route.bound();
    let input = route.method.input();
    let (types, schema, required): (&[&str], _, _) = match &route.body {
        Body::None => return None,
        // All fields are in the path, or there are none.
        Body::Whole if input.fields().all(|field| bound.contains(&field.name())) => return None,
        Body::Whole => {
            let required = input.fields().any(|f| !bound.contains(&f.name()) && schemas.is_required(&f));
            (&["application/json"], schemas.message(&input, Way::In, &bound), required)
        }
        Body::Field(field) => (&["application/json"], schemas.message(&message_of(field)?, Way::In, &[]), true),
        Body::MergePatch { change, .. } => {
            let types = &["application/merge-patch+json", "application/json"];
            (types, schemas.message(&message_of(change)?, Way::Patch, &[]), true)
        }
    };
    let content: Map<String, Value> =
        types.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect();
    Some(json!({"required": required, "content": content}))
}

fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(of) => Some(of),
        _ => None,
    }
}

fn responses(route: &Route, access: &Access, takes_if_match: bool, comment: &str, schemas: &mut Schemas) -> Value {
    let output = route.method.output();
    let description = schemas.comments.on(&output.parent_file(), output.path()).trim_end_matches('.').to_owned();
    let shown = route.shown();
    let content = if route.is_file {
        json!({"*/*": {"schema": {"type": "string", "description": "A file, as it is."}}})
    } else {
        json!({"application/json": {"schema": schemas.message(&shown, Way::Out, &[])}})
    };
    let mut answer = json!({"description": description, "content": content});
    let mut responses = BTreeMap::new();
    if has_etag(route) || route.version.is_some() {
        answer["headers"] = json!({"ETag": {"$ref": "#/components/headers/ETag"}});
        if has_etag(route) {
            let etag = json!({"ETag": {"$ref": "#/components/headers/ETag"}});
            let known = json!({"description": "Nothing has changed since the caller read it", "headers": etag});
            responses.insert("304".to_owned(), known);
        }
    }
    responses.insert("200".to_owned(), answer);
    if oauth::sends_away(route) {
        let location = json!({"description": "Where to go", "schema": {"type": "string", "format": "uri"}});
        let found = json!({"description": "The browser is sent to the provider", "headers": {"Location": location}});
        responses.remove("200");
        responses.insert("302".to_owned(), found);
    }
    for (status, reasons) in by_status(reasons(route, access, takes_if_match, comment)) {
        responses.insert(status.to_string(), refusal(status, &reasons));
    }
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/Problem"}));
    json!(responses)
}

/// Why this call can fail: by its nature, and as its comment says.
fn reasons(route: &Route, access: &Access, takes_if_match: bool, comment: &str) -> Vec<Reason> {
    let mut reasons = vec![Reason::ValidationFailed, Reason::UnknownField];
    if !matches!(route.body, Body::None) {
        reasons.extend([Reason::MalformedRequest, Reason::RequestTooLarge, Reason::UnsupportedMediaType]);
    }
    if !matches!(access, Access::Public) {
        reasons.extend([Reason::TokenMissing, Reason::TokenInvalid, Reason::SessionClosed]);
        if route.verb == Method::POST {
            reasons.extend([Reason::IdempotencyKeyInvalid, Reason::IdempotencyKeyReused, Reason::IdempotencyKeyInUse]);
        }
    }
    if matches!(access, Access::Permission(_)) {
        reasons.extend([Reason::NotAMember, Reason::PermissionMissing]);
    }
    if takes_if_match {
        reasons.extend([Reason::PreconditionInvalid, Reason::VersionMismatch, Reason::PreconditionFailed]);
    }
    if has_etag(route) {
        reasons.push(Reason::PreconditionInvalid);
    }
    let words = comment.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    reasons.extend(words.filter_map(Reason::from_name));
    reasons
}

fn by_status(reasons: Vec<Reason>) -> BTreeMap<u16, Vec<Reason>> {
    let mut statuses: BTreeMap<u16, Vec<Reason>> = BTreeMap::new();
    for reason in reasons {
        let same = statuses.entry(reason.http_status()).or_default();
        if !same.contains(&reason) {
            same.push(reason);
        }
    }
    statuses
}

fn refusal(status: u16, reasons: &[Reason]) -> Value {
    let told: Vec<String> = reasons.iter().map(|reason| format!("- `{reason}`: {}", reason.meaning())).collect();
    let names: Vec<&str> = reasons.iter().map(|reason| reason.name()).collect();
    let mut response = json!({
        "description": told.join("\n"),
        "x-reasons": names,
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    if status == 401 {
        response["headers"] = json!({"WWW-Authenticate": {"$ref": "#/components/headers/WWW-Authenticate"}});
    }
    if status == 429 {
        response["headers"] = json!({"Retry-After": {"$ref": "#/components/headers/Retry-After"}});
    }
    response
}
