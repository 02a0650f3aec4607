//! Access rule and weight of an operation, from `baton.access.v1`.

use anyhow::{Context as _, Result};
use baton_proto::pool;
use prost_reflect::{DynamicMessage, Kind as FieldKind, ReflectMessage as _, Value as Proto};

use crate::routes::Route;

/// The access rule and weight of an RPC.
pub(super) struct Access {
    pub(super) kind: Kind,
    /// Whether API keys are refused.
    pub(super) requires_session: bool,
    /// Whether it is allowed in a suspended account.
    pub(super) while_suspended: bool,
    /// Requests that a call counts as.
    pub(super) weight: i32,
}

/// The callers that the rule allows.
pub(super) enum Kind {
    Public,
    Authenticated,
    ServiceOnly,
    Operator,
    /// The permission's name, in lower case.
    Permission(String),
}

impl Access {
    /// Reads the rule of a route.
    pub(super) fn of(route: &Route) -> Result<Self> {
        let method = &route.method;
        let options = method.options();
        let extension = |name: &str| pool().get_extension_by_name(name).with_context(|| format!("no option {name}"));
        let rule = options.get_extension(&extension("baton.access.v1.rule")?);
        let rule = rule.as_message().with_context(|| format!("{} has no rule", method.full_name()))?;
        let kind = kind(rule).with_context(|| format!("{} has no rule", method.full_name()))?;
        let weight = extension("baton.access.v1.weight")?;
        let weight = if options.has_extension(&weight) { options.get_extension(&weight).as_i32() } else { Some(1) };
        let has_scope = rule.get_field_by_name("key_scope").is_some_and(|scope| scope.as_str() != Some(""));
        Ok(Self {
            requires_session: matches!(kind, Kind::Authenticated) && !has_scope,
            while_suspended: rule.get_field_by_name("while_suspended").and_then(|v| v.as_bool()).unwrap_or_default(),
            weight: weight.unwrap_or(1),
            kind,
        })
    }

    /// The rule in a sentence.
    pub(super) fn description(&self) -> String {
        match &self.kind {
            Kind::Public => "Needs no sign-in.".to_owned(),
            Kind::Authenticated if self.requires_session => {
                "Needs an access token; API keys are not accepted.".to_owned()
            }
            Kind::Authenticated => "Needs an access token.".to_owned(),
            Kind::ServiceOnly => "For Baton services only.".to_owned(),
            Kind::Operator => "For operators of the installation, signed in with two factors.".to_owned(),
            Kind::Permission(name) => format!("Needs the permission `{name}` in the account."),
        }
    }
}

fn kind(rule: &DynamicMessage) -> Option<Kind> {
    if rule.has_field_by_name("permission") {
        let FieldKind::Enum(of) = rule.descriptor().get_field_by_name("permission")?.kind() else { return None };
        let Some(Proto::EnumNumber(number)) = rule.get_field_by_name("permission").as_deref().cloned() else {
            return None;
        };
        return Some(Kind::Permission(of.get_value(number).as_ref().and_then(crate::json::enums::name)?));
    }
    let set = |name: &str| rule.has_field_by_name(name);
    if set("operator") {
        return Some(Kind::Operator);
    }
    Some(match (set("public"), set("service_only"), set("authenticated")) {
        (true, ..) => Kind::Public,
        (_, true, _) => Kind::ServiceOnly,
        (_, _, true) => Kind::Authenticated,
        _ => return None,
    })
}
