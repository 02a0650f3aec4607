//! JSON to message.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::{
    FIELD_MASK, STRUCT, TIMESTAMP, scalar,
    value::{Json, Members},
    violations::{Path, Violations},
};

/// Maximum nesting of a `google.protobuf.Struct`. Each level is three protobuf messages, and decoders stop at a
/// hundred.
pub(crate) const MAX_STRUCT_DEPTH: usize = 30;

/// Decodes an object. `bound` are the fields (dotted paths from here) that the URL sets; in the body they are unknown.
/// If there are violations, the message is incomplete.
pub(crate) fn message(
    of: &MessageDescriptor,
    members: Members<'_>,
    bound: &[&str],
    at: &Path<'_>,
    violations: &mut Violations,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for (name, json) in members {
        let here = Path::Member(at, &name);
        let Some(field) = find_field(of, &name, bound) else {
            violations.unknown(here);
            continue;
        };
        if json == Json::Null {
            continue;
        }
        if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
            && oneof.fields().any(|other| message.has_field(&other))
        {
            violations.invalid(here, format!("must not be set with another field of {}", oneof.name()));
            continue;
        }
        let below = nested_paths(bound, &name);
        if let Some(value) = value(&field, json, &below, &here, violations) {
            message.set_field(&field, value);
        }
    }
    message
}

/// Returns the field with this name if the body may set it. A mask may not be sent: it is derived from the body's keys.
pub(crate) fn find_field(of: &MessageDescriptor, name: &str, bound: &[&str]) -> Option<FieldDescriptor> {
    let field = of.get_field_by_name(name).filter(|_| !bound.contains(&name))?;
    let is_mask = matches!(field.kind(), Kind::Message(of) if of.full_name() == FIELD_MASK);
    (!is_mask).then_some(field)
}

/// Returns the paths of `bound` below the field `name`, relative to it.
pub(crate) fn nested_paths<'b>(bound: &[&'b str], name: &str) -> Vec<&'b str> {
    bound.iter().filter_map(|path| path.strip_prefix(name)?.strip_prefix('.')).collect()
}

/// Decodes a field, list or single. `None` if it is invalid.
pub(crate) fn value(
    field: &FieldDescriptor,
    json: Json<'_>,
    bound: &[&str],
    at: &Path<'_>,
    violations: &mut Violations,
) -> Option<Value> {
    if !field.is_list() {
        return single(&field.kind(), json, bound, at, violations);
    }
    let Json::Array(items) = json else {
        violations.invalid(at, format!("must be an array, not {}", json.type_name()));
        return None;
    };
    let mut values = Vec::with_capacity(items.len());
    for (i, item) in items.into_iter().enumerate() {
        values.extend(single(&field.kind(), item, &[], &Path::Item(at, i), violations));
    }
    Some(Value::List(values))
}

fn single(kind: &Kind, json: Json<'_>, bound: &[&str], at: &Path<'_>, violations: &mut Violations) -> Option<Value> {
    match (kind, json) {
        (Kind::Message(of), Json::Object(members)) if of.full_name() == STRUCT => {
            Some(Value::Message(struct_message(of, members, at, MAX_STRUCT_DEPTH, violations)))
        }
        (Kind::Message(of), Json::Object(members)) if of.full_name() != TIMESTAMP => {
            Some(Value::Message(message(of, members, bound, at, violations)))
        }
        (kind, json) => scalar::from_json(kind, json).map_err(|error| violations.invalid(at, error)).ok(),
    }
}

/// Decodes a `google.protobuf.Struct`.
pub(crate) fn struct_message(
    of: &MessageDescriptor,
    members: Members<'_>,
    at: &Path<'_>,
    levels: usize,
    violations: &mut Violations,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    let Some(fields) = of.get_field_by_name("fields") else { return message };
    let Kind::Message(entry) = fields.kind() else { return message };
    let Kind::Message(value_of) = entry.map_entry_value_field().kind() else { return message };
    let mut values = HashMap::with_capacity(members.len());
    for (name, json) in members {
        let here = Path::Member(at, &name);
        if let Some(value) = struct_value(&value_of, json, &here, levels, violations) {
            values.insert(MapKey::String(name.into_owned()), Value::Message(value));
        }
    }
    message.set_field(&fields, Value::Map(values));
    message
}

/// Decodes a `google.protobuf.Value`.
fn struct_value(
    of: &MessageDescriptor,
    json: Json<'_>,
    at: &Path<'_>,
    levels: usize,
    violations: &mut Violations,
) -> Option<DynamicMessage> {
    if levels == 0 {
        violations.invalid(at, format!("must have at most {MAX_STRUCT_DEPTH} levels"));
        return None;
    }
    let mut message = DynamicMessage::new(of.clone());
    let inner = |name| match of.get_field_by_name(name)?.kind() {
        Kind::Message(of) => Some(of),
        _ => None,
    };
    let (field, value) = match json {
        Json::Null => ("null_value", Value::EnumNumber(0)),
        Json::Bool(value) => ("bool_value", Value::Bool(value)),
        Json::String(text) => ("string_value", Value::String(text.into_owned())),
        Json::Number(number) => ("number_value", Value::F64(number.as_f64()?)),
        Json::Lossy => {
            violations.invalid(at, scalar::LOSSY_NUMBER);
            return None;
        }
        Json::Array(items) => {
            let mut list = DynamicMessage::new(inner("list_value")?);
            let mut values = Vec::with_capacity(items.len());
            for (i, item) in items.into_iter().enumerate() {
                values.extend(struct_value(of, item, &Path::Item(at, i), levels - 1, violations).map(Value::Message));
            }
            list.set_field_by_name("values", Value::List(values));
            ("list_value", Value::Message(list))
        }
        Json::Object(members) => (
            "struct_value",
            Value::Message(struct_message(&inner("struct_value")?, members, at, levels - 1, violations)),
        ),
    };
    message.set_field_by_name(field, value);
    Some(message)
}
