//! Messages as JSON Schema (the dialect of OpenAPI 3.1).

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, Result};
use baton_proto::{baton::text::v1::Kind as Text, pool};
use prost_reflect::{DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{
    comments::Comments,
    validation_rules::{self, Rules},
};
use crate::{
    json::{STRUCT, TIMESTAMP, enums},
    routes::Route,
};

/// Whether JSON comes in, under the rules of `buf.validate`, or goes out with every field shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    Request,
    /// A merge patch comes in: nothing in it is required.
    Patch,
    Response,
}

/// Fields of text whose form no rule of the contract states, and the form's name. A JSON Schema validator that does not
/// know a format takes any text (JSON Schema 2020-12, validation, 7.1).
const FORMATS: &[(&str, &str)] = &[
    ("page_token", "page-token"),
    ("timezone", "time-zone"),
    ("recurrence_timezone", "time-zone"),
    ("recurrence_rule", "recurrence-rule"),
    ("emoji", "emoji"),
    ("avatar_url", "uri"),
    ("logo_url", "uri"),
];

/// Requests with alternatives, and the least and the most of their members that go together.
const ALTERNATIVES: &[(&str, u32, u32)] = &[("CreateReminderRequest", 1, 1), ("MoveTaskRequest", 1, 1)];

/// Makes schemas, and collects those of the messages and enums that they name.
pub(super) struct Schemas {
    pub(super) comments: Comments,
    rules: Rules,
    /// `baton.text.v1.kind`, the kind of text that people write in a field.
    text: ExtensionDescriptor,
    /// Messages that clients send: an enum in what they sent may be absent when it comes back.
    sent: HashSet<String>,
    components: BTreeMap<String, Value>,
}

impl Schemas {
    pub(super) fn new(routes: &[Route]) -> Result<Self> {
        let mut sent = HashSet::new();
        for route in routes {
            collect(&route.method.input(), &mut sent);
        }
        let text = pool().get_extension_by_name("baton.text.v1.kind").context("the contract lacks baton.text")?;
        Ok(Self { comments: Comments::read(), rules: Rules::new()?, text, sent, components: BTreeMap::new() })
    }

    /// The schemas of all messages and enums that were named.
    pub(super) fn into_components(self) -> BTreeMap<String, Value> {
        self.components
    }

    /// A reference to the schema of a message, without the fields in `bound`.
    pub(super) fn message(&mut self, of: &MessageDescriptor, direction: Direction, bound: &[&str]) -> Value {
        let name = component_name(of, direction);
        if !self.components.contains_key(&name) {
            // Before its fields: a message may hold itself.
            self.components.insert(name.clone(), Value::Null);
            let schema = self.object(of, direction, bound);
            self.components.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// A reference to the merge patch of a message: one that changes nothing is refused.
    pub(super) fn patch(&mut self, of: &MessageDescriptor) -> Value {
        let schema = self.message(of, Direction::Patch, &[]);
        if let Some(component) = self.components.get_mut(&component_name(of, Direction::Patch)) {
            component["minProperties"] = 1.into();
        }
        schema
    }

    fn object(&mut self, of: &MessageDescriptor, direction: Direction, bound: &[&str]) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        // The order of the contract, which JSON objects do not keep.
        let mut order = Vec::new();
        for field in of.fields().filter(|field| !bound.contains(&field.name())) {
            order.push(field.name().to_owned());
            if direction == Direction::Response || direction == Direction::Request && self.rules.is_required(&field) {
                required.push(field.name().to_owned());
            }
            properties.insert(field.name().to_owned(), self.field(&field, direction));
        }
        let mut schema = json!({"type": "object", "properties": properties, "x-order": order});
        let comment = self.comments.on(&of.parent_file(), of.path());
        if !comment.is_empty() {
            schema["description"] = comment.into();
        }
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if direction != Direction::Response {
            schema["additionalProperties"] = false.into();
        }
        if let Some((_, least, most)) = ALTERNATIVES.iter().find(|(name, ..)| *name == of.name()) {
            schema["minProperties"] = (*least).into();
            schema["maxProperties"] = (*most).into();
            schema["properties"].as_object_mut().into_iter().flat_map(Map::values_mut).for_each(remove_null);
        }
        schema
    }

    /// The schema of a field, its description included.
    fn field(&mut self, field: &FieldDescriptor, direction: Direction) -> Value {
        let nullable = match direction {
            Direction::Request => !self.rules.is_required(field),
            Direction::Patch => !self.comment_contains(field, "Cannot be cleared"),
            // What the client may leave out is null when it comes back.
            Direction::Response if matches!(field.kind(), Kind::Enum(_)) && !field.is_list() => {
                let sent = self.sent.contains(field.parent_message().full_name());
                field.supports_presence()
                    || sent && !self.rules.is_required(field)
                    || self.comment_contains(field, "absent")
            }
            Direction::Response => !field.is_list() && field.supports_presence(),
        };
        let mut schema = self.value(field, direction);
        if nullable {
            schema = nullable_schema(schema);
        }
        let comment = self.comments.on(&field.parent_file(), field.path());
        let rule = if direction == Direction::Response { "" } else { rule_of(self.text(field)) };
        let described: Vec<&str> = [comment, rule].into_iter().filter(|text| !text.is_empty()).collect();
        if !described.is_empty() {
            schema["description"] = described.join("\n\n").into();
        }
        schema
    }

    fn text(&self, field: &FieldDescriptor) -> Text {
        let number = field.options().get_extension(&self.text).as_enum_number();
        number.and_then(|number| Text::try_from(number).ok()).unwrap_or_default()
    }

    /// Whether the comment on a field has these words.
    fn comment_contains(&self, field: &FieldDescriptor, words: &str) -> bool {
        self.comments.on(&field.parent_file(), field.path()).contains(words)
    }

    /// The schema of a field's value that is not null.
    fn value(&mut self, field: &FieldDescriptor, direction: Direction) -> Value {
        let rules = if direction == Direction::Response { None } else { self.rules.of(field) };
        if !field.is_list() {
            let mut schema = self.single(&field.kind(), rules.as_ref(), direction);
            if schema["type"] == "string" {
                let known = FORMATS.iter().find(|(name, _)| *name == field.name());
                if let Some((_, format)) = known.filter(|_| direction != Direction::Response) {
                    schema["format"] = (*format).into();
                }
                if direction != Direction::Response && self.text(field) == Text::Email {
                    schema["format"] = "email".into();
                }
            }
            return schema;
        }
        let (mut schema, items) = validation_rules::list(rules.as_ref());
        // A patch replaces a list as a whole (RFC 7396).
        let direction = if direction == Direction::Patch { Direction::Request } else { direction };
        schema.insert("type".to_owned(), "array".into());
        schema.insert("items".to_owned(), self.single(&field.kind(), items.as_ref(), direction));
        schema.into()
    }

    /// The schema of a query or path parameter, which is never null, and the parameter's description.
    pub(super) fn parameter(&mut self, field: &FieldDescriptor) -> (Value, Value) {
        let schema = self.value(field, Direction::Request);
        (schema, self.comments.on(&field.parent_file(), field.path()).into())
    }

    /// Whether a request needs the parameter.
    pub(super) fn is_required(&self, field: &FieldDescriptor) -> bool {
        self.rules.is_required(field)
    }

    fn single(&mut self, kind: &Kind, rules: Option<&DynamicMessage>, direction: Direction) -> Value {
        match kind {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Double | Kind::Float => json!({"type": "number"}),
            Kind::String if direction == Direction::Response => json!({"type": "string"}),
            Kind::String => validation_rules::string(rules).into(),
            Kind::Enum(of) => self.enumeration(of),
            Kind::Message(of) => match of.full_name() {
                TIMESTAMP => json!({"type": "string", "format": "date-time"}),
                STRUCT => json!({"type": "object", "additionalProperties": true}),
                _ => self.message(of, direction, &[]),
            },
            _ if direction == Direction::Response => json!({"type": "integer", "format": "int32"}),
            _ => validation_rules::integer(rules).into(),
        }
    }

    /// A reference to the schema of an enum.
    fn enumeration(&mut self, of: &EnumDescriptor) -> Value {
        let name = unique(of.package_name(), of.name(), |name| {
            pool().all_enums().filter(|other| is_ours(other.package_name()) && other.name() == name).count() == 1
        });
        let comment = self.comments.on(&of.parent_file(), of.path());
        let values = of.values().filter_map(|value| {
            let comment = self.comments.on(&value.parent_file(), value.path());
            Some(format!("- `{}`: {comment}", enums::name(&value)?))
        });
        let lines: Vec<String> = [format!("{comment}\n")].into_iter().chain(values).collect();
        self.components.entry(name.clone()).or_insert_with(
            || json!({"type": "string", "enum": enums::names(of), "description": lines.join("\n").trim()}),
        );
        reference(&name)
    }
}

fn collect(of: &MessageDescriptor, found: &mut HashSet<String>) {
    if found.insert(of.full_name().to_owned()) {
        for field in of.fields() {
            if let Kind::Message(inner) = field.kind() {
                collect(&inner, found);
            }
        }
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn is_ours(package: &str) -> bool {
    package.starts_with("baton.")
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
fn component_name(of: &MessageDescriptor, direction: Direction) -> String {
    let name = unique(of.package_name(), of.name(), |name| {
        pool().all_messages().filter(|other| is_ours(other.package_name()) && other.name() == name).count() == 1
    });
    let suffix = match direction {
        Direction::Patch if !of.name().ends_with("Change") => "Patch",
        Direction::Request if !of.name().ends_with("Request") => "Input",
        _ => "",
    };
    format!("{name}{suffix}")
}

/// The name, after its package's when it is not alone.
fn unique(package: &str, name: &str, is_alone: impl Fn(&str) -> bool) -> String {
    if is_alone(name) {
        return name.to_owned();
    }
    let service = package.split('.').nth(1).unwrap_or_default();
    service[..1].to_uppercase() + &service[1..] + name
}

/// The same, or null.
fn nullable_schema(mut schema: Value) -> Value {
    if schema.get("$ref").is_some() {
        return json!({"anyOf": [schema, {"type": "null"}]});
    }
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

/// The same without null.
fn remove_null(schema: &mut Value) {
    if let Some(first) = schema["type"].as_array().and_then(|types| types.first()).cloned() {
        schema["type"] = first;
    } else if let Some(first) = schema.get("anyOf").and_then(|choices| choices.get(0)).cloned() {
        let description = schema["description"].take();
        *schema = first;
        schema["description"] = description;
    }
}
