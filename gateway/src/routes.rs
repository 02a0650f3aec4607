//! The REST routes: one for each RPC with a `google.api.http` annotation.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use anyhow::{Context as _, Result, bail, ensure};
use baton_access::{Rule, rules};
use baton_proto::pool;
use http::{Method, uri::PathAndQuery};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor, Value,
};

use crate::{
    json::{FIELD_MASK, supported},
    query::Query,
};

/// A raw body, which is not converted to JSON.
const HTTP_BODY: &str = "google.api.HttpBody";

/// The REST form of one RPC.
#[derive(Debug)]
pub(crate) struct Route {
    /// The HTTP method.
    pub(crate) verb: Method,
    /// The path template: `/v1/tasks/{id}`.
    pub(crate) template: String,
    /// The RPC.
    pub(crate) method: MethodDescriptor,
    /// The RPC's gRPC path: `/baton.task.v1.TaskService/GetTask`.
    pub(crate) rpc: PathAndQuery,
    /// The path parameters.
    pub(crate) path: Vec<PathParameter>,
    /// How the request's body is decoded.
    pub(crate) body: Body,
    /// The query parameters.
    pub(crate) query: Query,
    /// The field of the response message that REST returns; `None` for the whole message.
    pub(crate) response_field: Option<FieldDescriptor>,
    /// The `version` field of the returned message, for its `ETag`.
    pub(crate) version: Option<FieldDescriptor>,
    /// Whether the response is a `google.api.HttpBody`: a file, returned as it is and not as JSON. Such an RPC may
    /// stream it.
    pub(crate) is_file: bool,
    /// Whether the RPC streams messages, which are sent as events: see [`crate::message_stream`].
    pub(crate) is_message_stream: bool,
    /// Whether it can be called without signing in.
    pub(crate) is_public: bool,
    /// Whether the response contains a token, a key, a secret or a signed URL.
    pub(crate) returns_secret: bool,
    /// Whether the service compares `If-Match` and `If-None-Match` with the version of the changed resource.
    pub(crate) checks_version: bool,
    /// Whether the same path has a GET route.
    pub(crate) is_readable: bool,
}

/// A path segment that sets a field of the request.
#[derive(Debug)]
pub(crate) struct PathParameter {
    /// Its name in the template: the field's path, with dots if it is nested.
    pub(crate) name: String,
    /// The fields along that path; the last is the scalar.
    pub(crate) fields: Vec<FieldDescriptor>,
}

/// How a request body is decoded.
#[derive(Debug)]
pub(crate) enum Body {
    /// The route has no body.
    None,
    /// It sets all fields that the path does not set.
    Whole,
    /// It sets one field of the request.
    Field(FieldDescriptor),
    /// A JSON Merge Patch (RFC 7396) of one field; its keys become the `update_mask`.
    MergePatch { change: FieldDescriptor, mask: FieldDescriptor },
}

/// Returns all routes, in the order of the contract. The error names the RPC or field that REST cannot express.
pub(crate) fn routes() -> Result<Vec<Route>> {
    let http = pool().get_extension_by_name("google.api.http").context("the contract lacks google.api.http")?;
    let mut routes = Vec::new();
    let of_service = |service: &ServiceDescriptor| {
        // Only Baton's services have access rules and REST routes.
        let is_annotated = service.methods().any(|method| method.options().has_extension(&http));
        if is_annotated { rules::of_service(pool(), service) } else { Ok(Vec::new()) }
    };
    for service in pool().services() {
        let rules: HashMap<String, Rule> = of_service(&service)?.into_iter().collect();
        for method in service.methods() {
            let options = method.options();
            if !options.has_extension(&http) {
                continue;
            }
            let rule = options.get_extension(&http);
            let rule = rule.as_message().context("google.api.http is a message")?;
            let mut route = route(&method, rule).with_context(|| format!("the REST form of {}", method.full_name()))?;
            let access = rules.get(route.rpc.as_str());
            route.is_public = access == Some(&Rule::Public);
            let is_of_member = matches!(access, Some(Rule::Permission(_)));
            ensure!(is_of_member || !route.is_message_stream, "{}: a stream needs a permission", method.full_name());
            routes.push(route);
        }
    }
    let mut seen = HashSet::new();
    let checks: Vec<bool> = routes.iter().map(|route| checks_version(route, &routes)).collect();
    let readable: HashSet<String> =
        routes.iter().filter(|route| route.verb == Method::GET).map(|route| route.template.clone()).collect();
    for (route, checks_version) in routes.iter_mut().zip(checks) {
        route.checks_version = checks_version;
        route.is_readable = readable.contains(&route.template);
    }
    for route in &routes {
        ensure!(seen.insert((&route.verb, &route.template)), "{} {} is defined twice", route.verb, route.template);
    }
    Ok(routes)
}

/// Whether the call changes one resource with a version that its service compares.
fn checks_version(route: &Route, all: &[Route]) -> bool {
    let has_version = |verb: Method, template: &str| {
        all.iter().find(|other| other.verb == verb && other.template == template && other.version.is_some())
    };
    let parent = route.template.rsplit_once('/').map_or("", |(parent, _)| parent);
    match route.verb {
        Method::GET => false,
        Method::PATCH => route.version.is_some(),
        Method::DELETE => has_version(Method::PATCH, &route.template).is_some(),
        // An action that returns the resource itself changes it; other actions change what belongs to it.
        _ => {
            has_version(Method::GET, parent).is_some_and(|parent| parent.response_message() == route.response_message())
        }
    }
}

/// Packages whose resources have live updates.
const LIVE_PACKAGES: [&str; 2] = ["baton.task.v1", "baton.notification.v1"];

impl Route {
    /// Whether responses say from which position a live subscription continues.
    pub(crate) fn has_live_position(&self) -> bool {
        self.verb == Method::GET
            && !self.is_message_stream
            && LIVE_PACKAGES.contains(&self.method.parent_file().package_name())
    }

    /// The message that REST returns.
    pub(crate) fn response_message(&self) -> MessageDescriptor {
        match self.response_field.as_ref().map(FieldDescriptor::kind) {
            Some(Kind::Message(of)) => of,
            _ => self.method.output(),
        }
    }

    /// Names of the request's fields that the path sets.
    pub(crate) fn url_fields(&self) -> Vec<&str> {
        self.path.iter().map(|parameter| parameter.name.as_str()).collect()
    }

    /// The path of a request's field in the REST request: without the field that holds the body (`task.title`) or that
    /// the query flattens (`page.per_page`).
    pub(crate) fn caller_path<'p>(&self, field: &'p str) -> Cow<'p, str> {
        let body = match &self.body {
            Body::Field(field) | Body::MergePatch { change: field, .. } => Some(field.name()),
            Body::None | Body::Whole => None,
        };
        let hidden = body.into_iter().chain(self.query.flattened());
        let shown = hidden.filter_map(|name| field.strip_prefix(name)?.strip_prefix('.')).next();
        Cow::Borrowed(shown.unwrap_or(field))
    }
}

fn route(method: &MethodDescriptor, rule: &DynamicMessage) -> Result<Route> {
    let text =
        |name: &str| rule.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    ensure!(!has_additional_bindings(rule), "additional_bindings are not supported: an RPC has one route");
    let (verb, template) = [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH]
        .into_iter()
        .map(|verb| (text(&verb.as_str().to_ascii_lowercase()), verb))
        .find_map(|(template, verb)| (!template.is_empty()).then_some((verb, template)))
        .context("the pattern is missing or custom")?;

    let (input, output) = (method.input(), method.output());
    supported::check(&input).map_err(anyhow::Error::msg)?;
    let is_file = match output.get_field_by_name(&text("response_body")).map(|field| field.kind()) {
        Some(Kind::Message(of)) => of.full_name() == HTTP_BODY,
        _ => false,
    };
    ensure!(!method.is_client_streaming(), "REST does not support request streams");
    let is_message_stream = method.is_server_streaming() && !is_file;
    ensure!(!is_message_stream || verb == Method::GET, "a stream of messages must be a GET");
    if !is_file {
        supported::check(&output).map_err(anyhow::Error::msg)?;
    }

    let path = path_parameters(&template, &input)?;
    let body = body(&verb, &text("body"), &input)?;
    let mut unbound: Vec<FieldDescriptor> = match &body {
        Body::Whole => Vec::new(),
        _ => input.fields().collect(),
    };
    unbound.retain(|field| match &body {
        Body::Field(body) => field != body,
        Body::MergePatch { change, mask } => field != change && field != mask,
        Body::None | Body::Whole => true,
    });
    unbound.retain(|field| path.iter().all(|parameter| parameter.fields.first() != Some(field)));

    let response_field = match text("response_body").as_str() {
        "" => None,
        name => Some(output.get_field_by_name(name).with_context(|| format!("no field {name} in the response"))?),
    };
    let message = match response_field.as_ref().map(FieldDescriptor::kind) {
        Some(Kind::Message(of)) => of,
        Some(_) => bail!("response_body must name a message"),
        None => output,
    };
    Ok(Route {
        rpc: PathAndQuery::try_from(format!("/{}/{}", method.parent_service().full_name(), method.name()))?,
        query: Query::of(&unbound).map_err(anyhow::Error::msg)?,
        version: message.get_field_by_name("version").filter(|field| !field.is_list() && field.kind() == Kind::Int32),
        method: method.clone(),
        is_file,
        is_message_stream,
        is_public: false,
        returns_secret: has_secret(&message, &mut HashSet::new()),
        checks_version: false,
        is_readable: false,
        verb,
        template,
        path,
        body,
        response_field,
    })
}

/// Whether the message, or one in it, has a secret field.
fn has_secret(message: &MessageDescriptor, seen: &mut HashSet<String>) -> bool {
    const SECRETS: [&str; 11] = [
        "token",
        "access_token",
        "refresh_token",
        "mfa_token",
        "browser_token",
        "secret",
        "recovery_codes",
        "otpauth_url",
        "authorization_url",
        "upload_url",
        "download_url",
    ];
    let is_secret = |name: &str| {
        // `key` is a secret in auth only: the key of a custom field is a name.
        SECRETS.contains(&name) || name == "key" && message.package_name() == "baton.auth.v1"
    };
    seen.insert(message.full_name().to_owned())
        && message.fields().any(|field| match field.kind() {
            Kind::Message(of) => has_secret(&of, seen),
            _ => is_secret(field.name()),
        })
}

fn has_additional_bindings(rule: &DynamicMessage) -> bool {
    let bindings = rule.get_field_by_name("additional_bindings");
    bindings.as_deref().and_then(Value::as_list).is_some_and(|list| !list.is_empty())
}

fn path_parameters(template: &str, input: &MessageDescriptor) -> Result<Vec<PathParameter>> {
    let mut parameters = Vec::new();
    for segment in template.split('/') {
        let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            ensure!(!segment.contains(['{', '}', '*', ':']), "{segment}: only whole segments can be parameters");
            continue;
        };
        let mut fields: Vec<FieldDescriptor> = Vec::new();
        for part in name.split('.') {
            let message = match fields.last().map(FieldDescriptor::kind) {
                None => input.clone(),
                Some(Kind::Message(of)) => of,
                Some(_) => bail!("{name}: the parent of {part} is a scalar"),
            };
            fields.push(message.get_field_by_name(part).with_context(|| format!("no field {name} in the request"))?);
        }
        let scalar = fields.last().is_some_and(|field| !field.is_list() && !matches!(field.kind(), Kind::Message(_)));
        ensure!(scalar, "{name} is not a scalar");
        parameters.push(PathParameter { name: name.to_owned(), fields });
    }
    Ok(parameters)
}

fn body(verb: &Method, name: &str, input: &MessageDescriptor) -> Result<Body> {
    if name.is_empty() {
        return Ok(Body::None);
    }
    // RFC 9110 (9.3.5) lets a server define a DELETE body. Baton's carries a proof, which must not be in the URL.
    ensure!(*verb != Method::GET, "{verb} must not have a body");
    if name == "*" {
        return Ok(Body::Whole);
    }
    let field = input.get_field_by_name(name).with_context(|| format!("no field {name} in the request"))?;
    ensure!(matches!(field.kind(), Kind::Message(_)) && !field.is_list(), "the body {name} must be a message");
    let mask = input.fields().find(|f| matches!(f.kind(), Kind::Message(of) if of.full_name() == FIELD_MASK));
    match mask {
        Some(mask) if *verb == Method::PATCH => Ok(Body::MergePatch { change: field, mask }),
        Some(mask) => bail!("{} without PATCH", mask.name()),
        None => Ok(Body::Field(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route_of(rpc: &str) -> Route {
        let found = routes().expect("the contract has a REST form");
        found.into_iter().find(|route| route.method.full_name() == rpc).expect(rpc)
    }

    #[test]
    fn every_annotated_rpc_is_a_route_and_no_other() {
        let routes = routes().expect("the contract has a REST form");
        let templates: Vec<String> = routes.iter().map(|r| format!("{} {}", r.verb, r.template)).collect();
        for expected in [
            "POST /v1/auth/register",
            "GET /.well-known/jwks.json",
            "PATCH /v1/notifications/read-all",
            "DELETE /v1/accounts/{account_id}/members/{user_id}",
        ] {
            assert!(templates.iter().any(|template| template == expected), "{expected}");
        }
        assert!(routes.iter().all(|route| route.method.name() != "CheckSession"));
    }

    #[test]
    fn first_segments_of_routes_are_reserved_slugs() {
        for route in routes().expect("the contract has a REST form") {
            let segments = route.template.split('/').filter(|segment| !segment.is_empty()).take(2);
            // Parameters are not names, and slugs have no dots.
            for segment in segments.filter(|segment| !segment.starts_with('{') && !segment.contains('.')) {
                assert!(baton_text::slug::is_reserved(segment), "{segment}: reserve it in crates/text");
            }
        }
        for segment in ["docs", "dev", "cable", "healthz", "readyz", "openapi", "files"] {
            assert!(baton_text::slug::is_reserved(segment), "{segment}");
        }
    }

    #[test]
    fn a_patch_with_a_mask_is_a_merge_patch_and_one_without_is_not() {
        assert!(matches!(route_of("baton.task.v1.TaskService.UpdateTask").body, Body::MergePatch { .. }));
        let read = route_of("baton.notification.v1.NotificationService.MarkNotificationRead");
        assert!(matches!(read.body, Body::Whole));
    }

    #[test]
    fn caller_paths_omit_the_body_and_flattened_fields() {
        let list = route_of("baton.task.v1.TaskService.ListTasks");
        assert_eq!(list.caller_path("filter.status[0]"), "status[0]");
        assert_eq!(list.caller_path("page.per_page"), "per_page");
        let update = route_of("baton.task.v1.TaskService.UpdateTask");
        assert_eq!(update.caller_path("task.title"), "title");
        assert_eq!(update.caller_path("id"), "id");
        assert_eq!(route_of("baton.task.v1.TaskService.CreateTask").caller_path("title"), "title");
    }

    #[test]
    fn only_files_may_be_streamed() {
        let export = route_of("baton.tenancy.v1.ActivityService.ExportActivityLogs");
        assert!(export.is_file && export.method.is_server_streaming());
        assert!(!route_of("baton.task.v1.TaskService.ListTasks").is_file);
    }

    #[test]
    fn routes_that_return_secrets_are_listed() {
        let found = routes().expect("the contract has a REST form");
        let mut secret: Vec<_> = found.iter().filter(|r| r.returns_secret).map(|r| r.method.name()).collect();
        secret.sort_unstable();
        assert_eq!(
            secret,
            [
                "Authorize",
                "Callback",
                "ConfirmTotp",
                "CreateApiKey",
                "CreateAttachment",
                "EnrollTotp",
                "GetAttachment",
                "LinkIdentity",
                "Login",
                "Refresh",
                "RenewRecoveryCodes",
                "VerifySecondFactor"
            ]
        );
    }

    /// Each of these was checked in its service: it compares the version in the transaction that writes.
    #[test]
    fn routes_that_compare_versions_are_listed() {
        let found = routes().expect("the contract has a REST form");
        let mut checks: Vec<_> = found.iter().filter(|r| r.checks_version).map(|r| r.method.name()).collect();
        checks.sort_unstable();
        assert_eq!(
            checks,
            [
                "AcceptTask",
                "AdoptAutomation",
                "ArchiveTask",
                "AssignTask",
                "CancelDeletion",
                "CancelTask",
                "CompleteTask",
                "DeleteAccount",
                "DeleteAutomation",
                "DeleteComment",
                "DeleteCustomField",
                "DeleteTask",
                "DeleteTimeEntry",
                "DeleteView",
                "MoveTask",
                "PauseTask",
                "ReactivateAccount",
                "ReassignTask",
                "RejectTask",
                "RemoveMember",
                "ReopenTask",
                "RestoreTask",
                "ResumeTask",
                "SkipTask",
                "StartTask",
                "SuspendAccount",
                "ToggleAutomation",
                "UnskipTask",
                "UpdateAccount",
                "UpdateAutomation",
                "UpdateComment",
                "UpdateCustomField",
                "UpdateMe",
                "UpdateMember",
                "UpdateOwnMember",
                "UpdateSettings",
                "UpdateTask",
                "UpdateTimeEntry",
                "UpdateView"
            ]
        );
    }

    #[test]
    fn routes_of_versioned_resources_have_a_version() {
        assert!(route_of("baton.task.v1.TaskService.GetTask").version.is_some());
        assert!(route_of("baton.task.v1.TaskService.ListTasks").version.is_none());
    }
}
