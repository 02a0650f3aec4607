//! REST handler: decodes the request, calls the RPC, and encodes the response as JSON.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use axum::{
    body::Body as HttpBody,
    extract::{FromRequestParts as _, RawPathParams, Request},
    response::Response,
};
use baton_errors::Reason;
use baton_runtime::Shutdown;
use http::{
    HeaderMap, HeaderValue, StatusCode, Version,
    header::{CONNECTION, CONTENT_TYPE},
    request::Parts,
};
use prost_reflect::{DynamicMessage, Value};
use tokio::time::{Instant, timeout_at};

use crate::{
    conditional,
    config::Config,
    cookies, file_response, headers,
    json::{
        decode, scalar,
        value::{self, Json, Members},
        violations::{Path, Violations},
    },
    live::Live,
    merge_patch, oauth,
    problem::Problem,
    rate_limit::Verdict,
    representation,
    request_body::BufferedBody,
    request_guard::RequestGuard,
    response_body::hold_until_read,
    routes::{Body, Route},
    upstream::{self, Upstream},
};

/// Maximum body of a public RPC, in bytes. Such requests are small, and callers without sign-in must not fill the
/// gateway's memory.
pub(crate) const MAX_PUBLIC_BODY_BYTES: usize = 64 * 1024;

/// The handler state of one route.
pub(crate) struct Endpoint {
    pub(crate) route: Route,
    pub(crate) upstream: Upstream,
    pub(crate) config: Arc<Config>,
    pub(crate) guard: RequestGuard,
    pub(crate) live: Live,
    pub(crate) shutdown: Shutdown,
}

/// Handles a request that matched the route.
pub(crate) async fn handle(endpoint: Arc<Endpoint>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let deadline = Instant::now() + endpoint.config.timeout;
    let client = endpoint.guard.trusted_proxies.client_ip(&parts.headers, &parts.extensions);
    let account = account_of_path_parameters(&endpoint.route, &mut parts).await;
    let rpc = endpoint.route.rpc.as_str();
    let RequestGuard { admission, limiter, .. } = &endpoint.guard;
    // The body first: a slow sender must not hold a permit.
    let body = match with_body_deadline(deadline, read_body(&endpoint, &parts, body, client)).await {
        Ok(body) => body,
        Err(problem) => return refuse(problem, &parts),
    };
    let caller = limiter.caller(rpc, &parts.headers, account.as_deref(), client).await;
    let permits = admission
        .acquire(rpc, caller.key(), caller.stream_account(), endpoint.route.method.is_server_streaming())
        .await;
    let permits = match permits {
        Ok(permits) => permits,
        Err(busy) => return refuse(Problem::from_status(&busy.into(), &endpoint.route), &parts),
    };
    let verdict = limiter.count(rpc, &caller).await;
    // Taken before the service reads: a subscription from here misses nothing that the response does not have.
    let live_position = caller.account().filter(|_| endpoint.route.has_live_position());
    let live_position = live_position.and_then(|account_id| endpoint.live.position(account_id));
    let mut response = match verdict.as_ref().map_or(Ok(()), Verdict::check) {
        Ok(()) => call_with_deadline(&endpoint, parts, &body.bytes, client, deadline).await,
        Err(refused) => Problem::from_status(&refused.into(), &endpoint.route).into_response_for(&parts.headers),
    };
    if let Some(verdict) = verdict {
        verdict.write_headers(response.headers_mut());
    }
    if let Some(position) = live_position.and_then(|position| HeaderValue::try_from(position.to_string()).ok()) {
        response.headers_mut().insert(headers::LIVE_POSITION, position);
    }
    hold_until_read(response, permits.after_response_head())
}

/// Returns BODY_TIMEOUT if the body is not read before the deadline.
async fn with_body_deadline<T>(
    deadline: Instant,
    read: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    timeout_at(deadline, read).await.unwrap_or_else(|_| Err(Reason::BodyTimeout.into()))
}

/// Reads the body, up to this route's limit.
pub(crate) async fn read_body(
    endpoint: &Endpoint,
    parts: &Parts,
    body: HttpBody,
    client: Option<IpAddr>,
) -> Result<BufferedBody, Problem> {
    if let Some(name) = headers::find_repeated(&parts.headers) {
        return Err(Problem::field(name.as_str(), "must not be repeated"));
    }
    let max = endpoint.config.max_body_bytes;
    let limit = if endpoint.route.is_public { MAX_PUBLIC_BODY_BYTES.min(max) } else { max };
    let body = endpoint.guard.buffers.read(body, &parts.headers, limit, client).await;
    body.map_err(|error| Problem::from_status(&error.into(), &endpoint.route))
}

/// Calls the service; a failure becomes a problem response.
async fn call_with_deadline(
    endpoint: &Endpoint,
    mut parts: Parts,
    body: &[u8],
    client: Option<IpAddr>,
    deadline: Instant,
) -> Response {
    let result = with_deadline(deadline, call_service(endpoint, &mut parts, body, client, deadline)).await;
    result.unwrap_or_else(|problem| refuse(problem, &parts))
}

/// Returns DEADLINE_EXCEEDED if the future does not finish before the deadline.
pub(crate) async fn with_deadline<T>(
    deadline: Instant,
    future: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    timeout_at(deadline, future).await.unwrap_or_else(|_| Err(Reason::DeadlineExceeded.into()))
}

/// Returns the problem as a response, and closes the connection if the body was not read.
pub(crate) fn refuse(problem: Problem, parts: &Parts) -> Response {
    let mut response = problem.into_response_for(&parts.headers);
    if [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT].contains(&response.status()) {
        close_connection(&mut response, parts);
    }
    response
}

/// Announces the end of the connection, whose body was not read to its end. Without `Connection: close` (RFC 9112,
/// section 9.6) the client would send its next request on a closed connection.
pub(crate) fn close_connection(response: &mut Response, parts: &Parts) {
    if parts.version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

async fn call_service(
    Endpoint { route, upstream, config, .. }: &Endpoint,
    parts: &mut Parts,
    body: &[u8],
    client: Option<IpAddr>,
    deadline: Instant,
) -> Result<Response, Problem> {
    conditional::check_change(route, &parts.headers)?;
    let mut request = decode(route, parts, body).await?;
    let mode = cookies::read_request(route, parts, config, &mut request)?;
    oauth::read_request(route, &parts.headers, &mut request);

    name_account(route, parts, &request)?;
    let metadata = headers::upstream_metadata(&parts.headers, client);
    let mut call = tonic::Request::from_parts(metadata, tonic::Extensions::default(), request);
    if route.is_file && route.method.is_server_streaming() {
        // The deadline is that of its first piece. How long the rest takes depends on the client's network; one that does
        // not read is disconnected.
        return file_response::respond(route, upstream.clone(), call).await;
    }
    call.set_timeout(deadline.saturating_duration_since(Instant::now()));
    if route.is_file {
        return file_response::respond(route, upstream.clone(), call).await;
    }
    let mut message = upstream::unary(upstream.clone(), route.rpc.clone(), call, route.method.output())
        .await
        .map_err(|status| Problem::from_status(&status, route))?;
    let browser = oauth::finish_response(route, parts, &mut message)?;
    let cookies = cookies::finish_response(route, browser.mode(route, mode), &mut message)?;
    let mut response = representation::encode(route, &parts.headers, &message)?;
    response.headers_mut().extend(cookies);
    browser.apply(&mut response);
    Ok(response)
}

/// Decodes the RPC's request from path, query and body.
pub(crate) async fn decode(route: &Route, parts: &mut Parts, bytes: &[u8]) -> Result<DynamicMessage, Problem> {
    let mut violations = Violations::default();
    let mut request = decode_body(route, &parts.headers, bytes, &mut violations)?;
    route.query.bind(&oauth::known_query(route, parts.uri.query().unwrap_or_default()), &mut request, &mut violations);
    if !route.path.is_empty() {
        let params = RawPathParams::from_request_parts(parts, &()).await;
        let params = params.map_err(|_| Problem::new(Reason::ValidationFailed, "the path must be UTF-8"))?;
        bind_path(route, &params, &mut request, &mut violations);
    }
    if violations.is_empty() { Ok(request) } else { Err(Problem::violations(violations)) }
}

fn decode_body(
    route: &Route,
    headers: &HeaderMap,
    bytes: &[u8],
    violations: &mut Violations,
) -> Result<DynamicMessage, Problem> {
    let input = route.method.input();
    let mut request = DynamicMessage::new(input.clone());
    let bound = route.url_fields();
    match &route.body {
        Body::None if bytes.is_empty() => {}
        Body::None => return Err(Problem::new(Reason::MalformedRequest, "this call must not have a body")),
        Body::Whole => {
            request = decode::message(&input, parse_object(headers, bytes, false)?, &bound, &Path::Root, violations);
        }
        Body::Field(field) => {
            let members = parse_object(headers, bytes, false)?;
            let bound = decode::nested_paths(&bound, field.name());
            if let Some(value) = decode::value(field, Json::Object(members), &bound, &Path::Root, violations) {
                request.set_field(field, value);
            }
        }
        Body::MergePatch { change: field, mask } => {
            let patch = parse_object(headers, bytes, true)?;
            let bound = decode::nested_paths(&bound, field.name());
            if let prost_reflect::Kind::Message(of) = field.kind() {
                let (change, paths) = merge_patch::decode(&of, patch, &bound, violations);
                request.set_field(field, Value::Message(change));
                if let Value::Message(mask) = request.get_field_mut(mask) {
                    let paths = paths.into_iter().map(Value::String).collect();
                    mask.set_field_by_name("paths", Value::List(paths));
                }
            }
        }
    }
    Ok(request)
}

/// Parses the body as a JSON object. An empty body is an empty object, except for a patch.
fn parse_object<'b>(headers: &HeaderMap, bytes: &'b [u8], is_patch: bool) -> Result<Members<'b>, Problem> {
    if bytes.is_empty() && !is_patch {
        return Ok(Members::new());
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut pieces = content_type.split(';').map(str::trim);
    let media_type = pieces.next().unwrap_or_default();
    let accepted = media_type.eq_ignore_ascii_case("application/json")
        || is_patch && media_type.eq_ignore_ascii_case("application/merge-patch+json");
    // JSON is UTF-8 (RFC 8259, section 8.1): reading another charset as UTF-8 would corrupt text.
    let utf8 = pieces.all(|piece| match piece.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if !accepted || !utf8 {
        return Err(Reason::UnsupportedMediaType.into());
    }
    match value::parse(bytes).map_err(|error| Problem::new(Reason::MalformedRequest, error))? {
        Json::Object(members) => Ok(members),
        other => Err(Problem::new(
            Reason::MalformedRequest,
            format!("the body must be an object, not {}", other.type_name()),
        )),
    }
}

fn bind_path(route: &Route, params: &RawPathParams, request: &mut DynamicMessage, violations: &mut Violations) {
    for (name, text) in params {
        let Some(parameter) = route.path.iter().find(|parameter| parameter.name == name) else { continue };
        let Some((scalar, above)) = parameter.fields.split_last() else { continue };
        let value = match scalar::from_text(&scalar.kind(), text) {
            Ok(value) => value,
            Err(error) => {
                violations.invalid(name, error);
                continue;
            }
        };
        let mut message = &mut *request;
        for field in above {
            let Value::Message(inner) = message.get_field_mut(field) else { return };
            message = inner;
        }
        message.set_field(scalar, value);
    }
}

/// The account of the URL's path, before the rest of the request is read.
pub(crate) async fn account_of_path_parameters(route: &Route, parts: &mut Parts) -> Option<String> {
    route.path.iter().find(|parameter| parameter.name == "account_id")?;
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    params.iter().find_map(|(name, value)| (name == "account_id").then(|| value.to_owned()))
}

/// Sets the header to the account of the path, if that has one.
pub(crate) fn name_account(route: &Route, parts: &mut Parts, request: &DynamicMessage) -> Result<(), Problem> {
    if let Some(account) = account_of_request(route, request) {
        let value = HeaderValue::try_from(&*account).map_err(|_| Problem::field("account_id", "must be a UUID"))?;
        parts.headers.insert(headers::X_ACCOUNT_ID, value);
    }
    Ok(())
}

/// The account of the path; it overrides the header.
fn account_of_request<'r>(route: &Route, request: &'r DynamicMessage) -> Option<Cow<'r, str>> {
    let parameter = route.path.iter().find(|parameter| parameter.name == "account_id")?;
    match request.get_field(parameter.fields.first()?) {
        Cow::Borrowed(value) => value.as_str().map(Into::into),
        Cow::Owned(value) => value.as_str().map(|text| text.to_owned().into()),
    }
}
