//! Messages as JSON Schema (the dialect of OpenAPI 3.1).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use baton_proto::{baton::text::v1::Kind as Text, pool};
use prost_reflect::{DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value as Proto};
use serde_json::{Map, Value, json};

use super::comments::Comments;
use crate::json::{STRUCT, TIMESTAMP, enums};

/// Whether JSON comes in, under the rules of `buf.validate`, or goes out with every field shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    In,
    /// A merge patch comes in: nothing in it is required.
    Patch,
    Out,
}

/// Makes schemas, and collects those of the messages that they name.
pub(super) struct Schemas {
    pub(super) comments: Comments,
    /// `buf.validate.field`, the option that holds the rules of a field.
    rules: ExtensionDescriptor,
    /// `baton.text.v1.kind`, the kind of text that people write in a field.
    text: ExtensionDescriptor,
    components: BTreeMap<String, Value>,
}

impl Schemas {
    pub(super) fn new() -> Result<Self> {
        let rules = pool().get_extension_by_name("buf.validate.field").context("the contract lacks buf.validate")?;
        let text = pool().get_extension_by_name("baton.text.v1.kind").context("the contract lacks baton.text")?;
        Ok(Self { comments: Comments::read(), rules, text, components: BTreeMap::new() })
    }

    /// The schemas of all messages that were named.
    pub(super) fn into_components(self) -> BTreeMap<String, Value> {
        self.components
    }

    /// A reference to the schema of a message, without the fields in `bound`.
    pub(super) fn message(&mut self, of: &MessageDescriptor, way: Way, bound: &[&str]) -> Value {
        let name = component_name(of, way);
        if !self.components.contains_key(&name) {
            // Before its fields: a message may hold itself.
            self.components.insert(name.clone(), Value::Null);
            let schema = self.object(of, way, bound);
            self.components.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn object(&mut self, of: &MessageDescriptor, way: Way, bound: &[&str]) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        // The order of the contract, which JSON objects do not keep.
        let mut order = Vec::new();
        for field in of.fields().filter(|field| !bound.contains(&field.name())) {
            order.push(field.name().to_owned());
            if way == Way::Out || way == Way::In && self.is_required(&field) {
                required.push(field.name().to_owned());
            }
            properties.insert(field.name().to_owned(), self.field(&field, way));
        }
        let mut schema = json!({"type": "object", "properties": properties, "x-order": order});
        let comment = self.comments.on(&of.parent_file(), of.path());
        if !comment.is_empty() {
            schema["description"] = comment.into();
        }
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if way != Way::Out {
            schema["additionalProperties"] = false.into();
        }
        schema
    }

    /// The schema of a field, its description included.
    pub(super) fn field(&mut self, field: &FieldDescriptor, way: Way) -> Value {
        let rules = if way == Way::Out { None } else { self.rules(field) };
        let nullable = match way {
            Way::In => !self.is_required(field),
            Way::Patch => true,
            Way::Out => !field.is_list() && (field.supports_presence() || matches!(field.kind(), Kind::Enum(_))),
        };
        let mut schema = if field.is_list() {
            let list = rules.as_ref().and_then(|rules| inner(rules, "repeated"));
            let items = list.as_ref().and_then(|list| inner(list, "items"));
            let mut schema = json!({"type": "array", "items": self.single(&field.kind(), items.as_ref(), way)});
            copy(list.as_ref(), &mut schema, &[("min_items", "minItems"), ("max_items", "maxItems")]);
            schema
        } else {
            self.single(&field.kind(), rules.as_ref(), way)
        };
        let text = if way == Way::Out { Text::Unspecified } else { self.text(field) };
        if text == Text::Email {
            schema["format"] = "email".into();
        }
        if nullable {
            schema = or_null(schema);
        }
        let comment = self.comments.on(&field.parent_file(), field.path());
        let values = schema["description"].as_str().unwrap_or_default();
        let told: Vec<&str> = [comment, values, rule_of(text)].into_iter().filter(|text| !text.is_empty()).collect();
        if !told.is_empty() {
            schema["description"] = told.join("\n\n").into();
        }
        schema
    }

    /// The schema of a query or path parameter, which is never null, and the parameter's description.
    pub(super) fn parameter(&mut self, field: &FieldDescriptor) -> (Value, Value) {
        let mut schema = self.field(field, Way::In);
        if let Some(types) = schema["type"].as_array() {
            schema["type"] = types[0].clone();
        }
        if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            values.retain(|value| !value.is_null());
        }
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        (schema, description.unwrap_or_default())
    }

    fn single(&mut self, kind: &Kind, rules: Option<&DynamicMessage>, way: Way) -> Value {
        match kind {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Double | Kind::Float => json!({"type": "number"}),
            Kind::String => {
                let rules = rules.and_then(|rules| inner(rules, "string"));
                let mut schema = json!({"type": "string"});
                copy(
                    rules.as_ref(),
                    &mut schema,
                    &[("min_len", "minLength"), ("max_len", "maxLength"), ("pattern", "pattern")],
                );
                if rules.as_ref().is_some_and(|rules| flag(rules, "uuid")) {
                    schema["format"] = "uuid".into();
                }
                schema
            }
            Kind::Enum(of) => {
                let values = enums::names(of);
                let told: Vec<String> = of
                    .values()
                    .filter_map(|value| {
                        let comment = self.comments.on(&value.parent_file(), value.path());
                        Some(format!("- `{}`: {comment}", enums::name(&value)?))
                    })
                    .collect();
                json!({"type": "string", "enum": values, "description": told.join("\n")})
            }
            Kind::Message(of) => match of.full_name() {
                TIMESTAMP => json!({"type": "string", "format": "date-time"}),
                STRUCT => json!({"type": "object", "additionalProperties": true}),
                _ => self.message(of, way, &[]),
            },
            _ => {
                let rules = rules.and_then(|rules| inner(rules, "int32"));
                let mut schema = json!({"type": "integer", "format": "int32"});
                let limits =
                    [("gte", "minimum"), ("gt", "exclusiveMinimum"), ("lte", "maximum"), ("lt", "exclusiveMaximum")];
                copy(rules.as_ref(), &mut schema, &limits);
                schema
            }
        }
    }

    /// Whether a request without the field breaks a rule: one without presence then has its zero value.
    pub(super) fn is_required(&self, field: &FieldDescriptor) -> bool {
        let Some(rules) = self.rules(field) else { return false };
        if flag(&rules, "required") {
            return true;
        }
        let string = inner(&rules, "string");
        let refuses_empty =
            |rules: &DynamicMessage| flag(rules, "uuid") || number(rules, "min_len").is_some_and(|least| least > 0);
        let refuses_zero = inner(&rules, "enum").is_some_and(|rules| {
            let refused = rules.get_field_by_name("not_in");
            refused.as_deref().and_then(Proto::as_list).is_some_and(|list| list.contains(&Proto::I32(0)))
        });
        let least = inner(&rules, "repeated").and_then(|rules| number(&rules, "min_items")).unwrap_or_default();
        !field.supports_presence() && (string.is_some_and(|r| refuses_empty(&r)) || refuses_zero || least > 0)
    }

    fn text(&self, field: &FieldDescriptor) -> Text {
        let number = field.options().get_extension(&self.text).as_enum_number();
        number.and_then(|number| Text::try_from(number).ok()).unwrap_or_default()
    }

    fn rules(&self, field: &FieldDescriptor) -> Option<DynamicMessage> {
        let options = field.options();
        options.has_extension(&self.rules).then(|| options.get_extension(&self.rules).as_message().cloned())?
    }
}

/// What JSON Schema has no words for: the rule of a kind of text (`crates/text`).
fn rule_of(text: Text) -> &'static str {
    match text {
        Text::Unspecified | Text::Query | Text::Phone => "",
        Text::Line => "One line with a visible character and no control characters. Kept in Unicode NFC, trimmed.",
        Text::Name => {
            "One line with a visible character and no control characters. Kept in Unicode NFKC, trimmed: spellings that look \
             the same are the same."
        }
        Text::Text => {
            "Text with a visible character; of control characters only line breaks and tabs. Kept in Unicode NFC, with LF as \
             line break."
        }
        Text::FileName => "One line with a visible character, without a path. Kept in Unicode NFC.",
        Text::Email => {
            "An address of RFC 5321 or, international, of RFC 6531; neither quoted nor with an address literal."
        }
    }
}

/// A message's own name; with its package when another has the same, and with its use when it has two.
fn component_name(of: &MessageDescriptor, way: Way) -> String {
    let ours = pool().all_messages().filter(|other| other.package_name().starts_with("baton."));
    let alone = ours.filter(|other| other.name() == of.name()).count() == 1;
    let package = of.package_name().split('.').nth(1).unwrap_or_default();
    let prefix = if alone { String::new() } else { package[..1].to_uppercase() + &package[1..] };
    let suffix = match way {
        Way::Patch if !of.name().ends_with("Change") => "Patch",
        Way::In if !of.name().ends_with("Request") => "Input",
        _ => "",
    };
    format!("{prefix}{}{suffix}", of.name())
}

/// The same, or null.
fn or_null(mut schema: Value) -> Value {
    if schema.get("$ref").is_some() {
        return json!({"anyOf": [schema, {"type": "null"}]});
    }
    schema["type"] = json!([schema["type"], "null"]);
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
    schema
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

/// Copies the rules that are set under the names that JSON Schema has for them.
fn copy(rules: Option<&DynamicMessage>, schema: &mut Value, names: &[(&str, &str)]) {
    let Some(rules) = rules else { return };
    for (rule, keyword) in names.iter().filter(|(rule, _)| rules.has_field_by_name(rule)) {
        schema[*keyword] = match rules.get_field_by_name(rule).as_deref() {
            Some(Proto::U64(value)) => (*value).into(),
            Some(Proto::I32(value)) => (*value).into(),
            Some(Proto::String(value)) => value.clone().into(),
            _ => continue,
        };
    }
}
