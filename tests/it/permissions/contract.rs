//! The RPCs of the contract and their access rules.

use prost_reflect::{DynamicMessage, MethodDescriptor, Value};

/// The access rule of an RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    Public,
    Authenticated,
    ServiceOnly,
    Operator,
    Permission(String),
}

/// All RPCs and their rules.
pub(crate) fn methods() -> Vec<(MethodDescriptor, Rule)> {
    let services = baton_proto::pool().services().filter(|service| service.full_name().starts_with("baton."));
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.map(|method| (method.clone(), rule(&method))).collect()
}

fn rule(method: &MethodDescriptor) -> Rule {
    let option = option(method, "baton.access.v1.rule").unwrap_or_else(|| panic!("{} has no rule", method.full_name()));
    let is = |name: &str| option.get_field_by_name(name).is_some_and(|value| value.as_bool() == Some(true));
    if let Some(number) = option.get_field_by_name("permission").and_then(|value| value.as_enum_number())
        && number != 0
    {
        let of = baton_proto::pool().get_enum_by_name("baton.access.v1.Permission").unwrap();
        return Rule::Permission(of.get_value(number).unwrap().name().to_owned());
    }
    match (is("public"), is("authenticated"), is("service_only"), is("operator")) {
        (true, false, false, false) => Rule::Public,
        (false, true, false, false) => Rule::Authenticated,
        (false, false, true, false) => Rule::ServiceOnly,
        (false, false, false, true) => Rule::Operator,
        _ => panic!("{} has an empty rule", method.full_name()),
    }
}

/// The HTTP method, in lower case, and the path of an RPC that has a REST form.
pub(crate) fn http_binding(method: &MethodDescriptor) -> Option<(&'static str, String)> {
    let option = option(method, "google.api.http")?;
    ["get", "put", "post", "delete", "patch"].into_iter().find_map(|verb| {
        let path = option.get_field_by_name(verb)?.as_str()?.to_owned();
        (!path.is_empty()).then_some((verb, path))
    })
}

/// Whether an RPC takes a body over REST.
pub(crate) fn takes_body(method: &MethodDescriptor) -> bool {
    let body = option(method, "google.api.http").and_then(|http| Some(http.get_field_by_name("body")?.into_owned()));
    body.is_some_and(|body| body.as_str().is_some_and(|name| !name.is_empty()))
}

fn option(method: &MethodDescriptor, name: &str) -> Option<DynamicMessage> {
    let extension = baton_proto::pool().get_extension_by_name(name).unwrap();
    let options = method.options();
    if !options.has_extension(&extension) {
        return None;
    }
    match options.get_extension(&extension).into_owned() {
        Value::Message(message) => Some(message),
        _ => None,
    }
}
