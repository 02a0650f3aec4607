//! The rules of `buf.validate` as JSON Schema keywords.

use anyhow::{Context as _, Result};
use baton_proto::pool;
use prost_reflect::{DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, Value as Proto};
use regex::Regex;
use serde_json::{Map, Value, json};

/// Postgres cannot store NUL.
const NO_NUL: &str = r"^[^\u0000]*$";

/// Reads the rules of fields.
pub(super) struct Rules {
    /// The option `buf.validate.field`.
    option: ExtensionDescriptor,
}

impl Rules {
    pub(super) fn new() -> Result<Self> {
        let option = pool().get_extension_by_name("buf.validate.field").context("the contract lacks buf.validate")?;
        Ok(Self { option })
    }

    /// Returns the rules of a field.
    pub(super) fn of(&self, field: &FieldDescriptor) -> Option<DynamicMessage> {
        let options = field.options();
        options.has_extension(&self.option).then(|| options.get_extension(&self.option).as_message().cloned())?
    }

    /// Whether a request without the field violates a rule. A field without presence then has its zero value.
    pub(super) fn is_required(&self, field: &FieldDescriptor) -> bool {
        let Some(rules) = self.of(field) else { return false };
        flag(&rules, "required") || !field.supports_presence() && refuses_zero(field, &rules)
    }
}

/// Whether the zero value violates the field's rules.
fn refuses_zero(field: &FieldDescriptor, rules: &DynamicMessage) -> bool {
    if field.is_list() {
        return inner(rules, "repeated").and_then(|rules| number(&rules, "min_items")).is_some_and(|least| least > 0);
    }
    match field.kind() {
        Kind::String => inner(rules, "string").is_some_and(|rules| refuses_empty(&rules)),
        Kind::Bytes => inner(rules, "bytes").and_then(|rules| number(&rules, "min_len")).is_some_and(|least| least > 0),
        Kind::Enum(_) => inner(rules, "enum").is_some_and(|rules| {
            let refused = rules.get_field_by_name("not_in");
            refused.as_deref().and_then(Proto::as_list).is_some_and(|list| list.contains(&Proto::I32(0)))
        }),
        Kind::Int32 => inner(rules, "int32").is_some_and(|rules| {
            let limit = |name| int(&rules, name);
            limit("gte").is_some_and(|least| least > 0)
                || limit("gt").is_some_and(|below| below >= 0)
                || limit("lte").is_some_and(|most| most < 0)
                || limit("lt").is_some_and(|above| above <= 0)
        }),
        _ => false,
    }
}

fn refuses_empty(rules: &DynamicMessage) -> bool {
    let pattern = text(rules, "pattern").and_then(|pattern| Regex::new(&pattern).ok());
    flag(rules, "uuid")
        || flag(rules, "email")
        || number(rules, "min_len").is_some_and(|least| least > 0)
        || pattern.is_some_and(|pattern| !pattern.is_match(""))
}

/// Returns the schema of a string in a request.
pub(super) fn string(rules: Option<&DynamicMessage>) -> Map<String, Value> {
    let rules = rules.and_then(|rules| inner(rules, "string"));
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "string".into());
    // A string never has fewer bytes than characters.
    let limits =
        [("min_len", "minLength"), ("max_bytes", "maxLength"), ("max_len", "maxLength"), ("pattern", "pattern")];
    copy(rules.as_ref(), &mut schema, &limits);
    let format = ["uuid", "email"].into_iter().find(|name| rules.as_ref().is_some_and(|rules| flag(rules, name)));
    match format {
        Some(format) => {
            schema.insert("format".to_owned(), format.into());
        }
        None => {
            schema.entry("pattern").or_insert_with(|| NO_NUL.into());
        }
    }
    schema
}

/// Returns the schema of an integer in a request.
pub(super) fn integer(rules: Option<&DynamicMessage>) -> Map<String, Value> {
    let rules = rules.and_then(|rules| inner(rules, "int32"));
    let mut schema = Map::new();
    for (keyword, value) in [
        ("type", json!("integer")),
        ("format", json!("int32")),
        ("minimum", json!(i32::MIN)),
        ("maximum", json!(i32::MAX)),
    ] {
        schema.insert(keyword.to_owned(), value);
    }
    let limits = [("gte", "minimum"), ("gt", "exclusiveMinimum"), ("lte", "maximum"), ("lt", "exclusiveMaximum")];
    copy(rules.as_ref(), &mut schema, &limits);
    schema
}

/// Returns the schema of a list in a request, and the rules of its items.
pub(super) fn list(rules: Option<&DynamicMessage>) -> (Map<String, Value>, Option<DynamicMessage>) {
    let rules = rules.and_then(|rules| inner(rules, "repeated"));
    let mut schema = Map::new();
    copy(rules.as_ref(), &mut schema, &[("min_items", "minItems"), ("max_items", "maxItems")]);
    if rules.as_ref().is_some_and(|rules| flag(rules, "unique")) {
        schema.insert("uniqueItems".to_owned(), true.into());
    }
    (schema, rules.as_ref().and_then(|rules| inner(rules, "items")))
}

fn inner(rules: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    if !rules.has_field_by_name(name) {
        return None;
    }
    rules.get_field_by_name(name)?.as_message().cloned()
}

fn flag(rules: &DynamicMessage, name: &str) -> bool {
    rules.get_field_by_name(name).and_then(|value| value.as_bool()).unwrap_or_default()
}

fn number(rules: &DynamicMessage, name: &str) -> Option<u64> {
    rules.get_field_by_name(name)?.as_u64()
}

fn int(rules: &DynamicMessage, name: &str) -> Option<i32> {
    rules.has_field_by_name(name).then(|| rules.get_field_by_name(name)?.as_i32())?
}

fn text(rules: &DynamicMessage, name: &str) -> Option<String> {
    rules.has_field_by_name(name).then(|| rules.get_field_by_name(name)?.as_str().map(str::to_owned))?
}

/// Copies rules to JSON Schema keywords.
fn copy(rules: Option<&DynamicMessage>, schema: &mut Map<String, Value>, names: &[(&str, &str)]) {
    let Some(rules) = rules else { return };
    for (rule, keyword) in names.iter().filter(|(rule, _)| rules.has_field_by_name(rule)) {
        let value: Value = match rules.get_field_by_name(rule).as_deref() {
            Some(Proto::U64(value)) => (*value).into(),
            Some(Proto::I32(value)) => (*value).into(),
            Some(Proto::String(value)) => value.clone().into(),
            _ => continue,
        };
        schema.insert((*keyword).to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_required(field: &str) -> bool {
        let (message, field) = field.rsplit_once('.').expect("a path");
        let message = pool().get_message_by_name(message).expect("in the contract");
        Rules::new().expect("rules").is_required(&message.get_field_by_name(field).expect("in the message"))
    }

    #[test]
    fn fields_whose_absence_violates_a_rule_are_required() {
        for field in [
            "baton.task.v1.CreateTaskRequest.title",
            "baton.task.v1.CreateCustomFieldRequest.key",
            "baton.task.v1.CustomFieldOption.id",
            "baton.task.v1.CreateAttachmentRequest.content_type",
            "baton.task.v1.CreateAttachmentRequest.checksum_sha256",
            "baton.tenancy.v1.InviteMemberRequest.role",
        ] {
            assert!(is_required(field), "{field}");
        }
        for field in ["baton.task.v1.CreateTaskRequest.assigned_to", "baton.api.v1.Page.page"] {
            assert!(!is_required(field), "{field}");
        }
    }
}
