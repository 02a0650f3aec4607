//! JSON -> message.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::{
    FIELD_MASK, STRUCT, TIMESTAMP, scalar,
    value::{Json, Members},
    violations::{Path, Violations},
};

/// How deep a `google.protobuf.Struct` may nest. Each level is three of protobuf's messages, and
/// readers stop at a hundred.
pub(crate) const MAX_STRUCT_DEPTH: usize = 30;

/// The message that these members make. `bound` are the fields (dotted paths from here) that the URL
/// sets: in the body they are unknown. What is wrong goes to `wrong`; the message is then not whole.
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
            violations.invalid(here, format!("excludes the other fields of {}", oneof.name()));
            continue;
        }
        let below = nested_paths(bound, &name);
        if let Some(value) = value(&field, json, &below, &here, violations) {
            message.set_field(&field, value);
        }
    }
    message
}

/// The field with this name, if the body may set it. A mask is never sent: it comes from the body's keys.
pub(crate) fn find_field(of: &MessageDescriptor, name: &str, bound: &[&str]) -> Option<FieldDescriptor> {
    let field = of.get_field_by_name(name).filter(|_| !bound.contains(&name))?;
    let is_mask = matches!(field.kind(), Kind::Message(of) if of.full_name() == FIELD_MASK);
    (!is_mask).then_some(field)
}

/// The paths of `bound` that lie below the field `name`, seen from there.
pub(crate) fn nested_paths<'b>(bound: &[&'b str], name: &str) -> Vec<&'b str> {
    bound.iter().filter_map(|path| path.strip_prefix(name)?.strip_prefix('.')).collect()
}

/// The value of a field, list or single. `None` when it is wrong.
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

/// A `google.protobuf.Struct` with these members.
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

/// A `google.protobuf.Value`.
fn struct_value(
    of: &MessageDescriptor,
    json: Json<'_>,
    at: &Path<'_>,
    levels: usize,
    violations: &mut Violations,
) -> Option<DynamicMessage> {
    if levels == 0 {
        violations.invalid(at, format!("is nested deeper than {MAX_STRUCT_DEPTH} levels"));
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
