//! Routes as OpenAPI operations.

use std::collections::BTreeMap;

use anyhow::Result;
use baton_proto::pool;
use http::Method;
use prost_reflect::{FieldDescriptor, Kind as FieldKind, MessageDescriptor, Value as Proto};
use prost_types::method_options::IdempotencyLevel;
use serde_json::{Map, Value, json};

use super::{
    access::{Access, Kind},
    comments::first_sentence,
    error_responses, samples,
    schema::{Direction, Schemas},
};
use crate::{
    cookies, oauth,
    routes::{Body, Route},
};

/// Returns the operation's id: `TaskService_PauseTask`.
pub(super) fn id(route: &Route) -> String {
    format!("{}_{}", route.method.parent_service().name(), route.method.name())
}

/// Builds the operation of a route.
pub(super) fn operation(route: &Route, schemas: &mut Schemas, server: &str) -> Result<Value> {
    let method = &route.method;
    let service = method.parent_service();
    let access = Access::of(route)?;
    let takes_if_match = route.checks_version;
    let comment = schemas.comments.on(&method.parent_file(), method.path()).to_owned();
    let (summary, rest) = first_sentence(&comment);
    let access_text = access.description();
    let description = [rest, &access_text].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n");

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
    if matches!(access.kind, Kind::Public) {
        operation["security"] = json!([]);
    }
    samples::add(route, &mut operation, schemas, server)?;
    Ok(operation)
}

/// Whether the route is a read with an `ETag`.
pub(super) fn has_etag(route: &Route) -> bool {
    route.verb == Method::GET && !route.is_file && !route.is_message_stream && !route.returns_secret
}

/// Whether the service stores the response under the caller's idempotency key. It does so for each POST of an
/// authenticated caller, unless `idempotency_level` declares the RPC idempotent.
pub(super) fn takes_idempotency_key(route: &Route, access: &Access) -> bool {
    let options = route.method.method_descriptor_proto().options.clone().unwrap_or_default();
    route.verb == Method::POST
        && !matches!(access.kind, Kind::Public)
        && options.idempotency_level() == IdempotencyLevel::IdempotencyUnknown
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
    if matches!(access.kind, Kind::Permission(_)) && !account_in_path {
        parameters.push(shared("AccountId"));
    }
    if takes_idempotency_key(route, access) {
        parameters.push(shared("IdempotencyKey"));
    }
    if cookies::returns_token(route) {
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

fn parameter_of(location: &str, name: &str, field: &FieldDescriptor, required: bool, schemas: &mut Schemas) -> Value {
    let (schema, description) = schemas.parameter(field);
    json!({"name": name, "in": location, "required": required, "description": description, "schema": schema})
}

fn body(route: &Route, schemas: &mut Schemas) -> Option<Value> {
    let bound = route.url_fields();
    let input = route.method.input();
    let (media_type, schema, required) = match &route.body {
        Body::None => return None,
        // All fields are in the path, or the message is empty.
        Body::Whole if input.fields().all(|field| bound.contains(&field.name())) => return None,
        Body::Whole => {
            let required = input.fields().any(|f| !bound.contains(&f.name()) && schemas.is_required(&f));
            ("application/json", schemas.message(&input, Direction::Request, &bound), required)
        }
        Body::Field(field) => ("application/json", schemas.message(&message_of(field)?, Direction::Request, &[]), true),
        // `application/json` is accepted too. It is not listed, since client generators would create two body types.
        Body::MergePatch { change, .. } => ("application/merge-patch+json", schemas.patch(&message_of(change)?), true),
    };
    Some(json!({"required": required, "content": {media_type: {"schema": schema}}}))
}

fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        FieldKind::Message(of) => Some(of),
        _ => None,
    }
}

/// The content of a file response, by the media types of the contract.
fn file(route: &Route) -> Value {
    let options = route.method.options();
    let types =
        pool().get_extension_by_name("baton.api.v1.produces").map(|option| options.get_extension(&option).into_owned());
    let types: Vec<String> = match types {
        Some(Proto::List(types)) => types.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    // Raw bytes have no schema (OpenAPI 3.1, "Considerations for File Uploads").
    let file = |name: String| (name, json!({"schema": {"type": "string", "description": "The file."}}));
    types.into_iter().map(file).collect::<Map<_, _>>().into()
}

fn responses(route: &Route, access: &Access, takes_if_match: bool, comment: &str, schemas: &mut Schemas) -> Value {
    let output = route.method.output();
    let description = schemas.comments.on(&output.parent_file(), output.path()).trim_end_matches('.').to_owned();
    let message = route.response_message();
    let content = if route.is_file {
        file(route)
    } else if route.is_message_stream {
        // The schema is that of each event's data, and of each text frame.
        json!({"text/event-stream": {"schema": schemas.message(&message, Direction::Response, &[])}})
    } else {
        json!({"application/json": {"schema": schemas.message(&message, Direction::Response, &[])}})
    };
    let mut success = json!({"description": description, "content": content});
    let mut responses = BTreeMap::new();
    if has_etag(route) || route.version.is_some() {
        success["headers"] = json!({"ETag": {"$ref": "#/components/headers/ETag"}});
        if has_etag(route) {
            let etag = json!({"ETag": {"$ref": "#/components/headers/ETag"}});
            let not_modified = json!({"description": "Nothing has changed since the caller read it", "headers": etag});
            responses.insert("304".to_owned(), not_modified);
        }
    }
    if route.has_live_position() {
        success["headers"]["Live-Position"] = json!({"$ref": "#/components/headers/Live-Position"});
    }
    responses.insert("200".to_owned(), success);
    if oauth::redirects_to_provider(route) {
        let location = json!({"description": "The provider's URL", "schema": {"type": "string", "format": "uri"}});
        let found =
            json!({"description": "Redirect of the browser to the provider", "headers": {"Location": location}});
        responses.remove("200");
        responses.insert("302".to_owned(), found);
    }
    for (status, refusal) in error_responses::by_status(route, access, takes_if_match, comment) {
        responses.insert(status.to_string(), refusal);
    }
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/Problem"}));
    json!(responses)
}
