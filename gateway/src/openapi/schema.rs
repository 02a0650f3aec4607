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

/// The use of a message: in a request, under the rules of `buf.validate`, or in a response, with every field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    Request,
    /// In a merge patch, which has no required fields.
    Patch,
    Response,
}

/// Formats of string fields that no rule of the contract expresses. A JSON Schema validator that does not know a format
/// accepts any string (JSON Schema 2020-12, validation, 7.1).
const FORMATS: &[(&str, &str)] = &[
    ("page_token", "page-token"),
    ("timezone", "time-zone"),
    ("recurrence_timezone", "time-zone"),
    ("recurrence_rule", "recurrence-rule"),
    ("emoji", "emoji"),
    ("avatar_url", "uri"),
    ("logo_url", "uri"),
];

/// Requests with alternative fields, and the minimum and maximum number of them.
const ALTERNATIVES: &[(&str, u32, u32)] = &[("CreateReminderRequest", 1, 1), ("MoveTaskRequest", 1, 1)];

/// Builds schemas, and collects those of referenced messages and enums.
pub(super) struct Schemas {
    pub(super) comments: Comments,
    rules: Rules,
    /// The option `baton.text.v1.kind`: the kind of text in a field.
    text: ExtensionDescriptor,
    /// Messages that clients send: an optional enum in them may be null in responses.
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

    /// Returns the schemas of all referenced messages and enums.
    pub(super) fn into_components(self) -> BTreeMap<String, Value> {
        self.components
    }

    /// Returns a reference to the schema of a message, without the fields in `bound`.
    pub(super) fn message(&mut self, of: &MessageDescriptor, direction: Direction, bound: &[&str]) -> Value {
        let name = component_name(of, direction);
        if !self.components.contains_key(&name) {
            // Before its fields: a message may contain itself.
            self.components.insert(name.clone(), Value::Null);
            let schema = self.object(of, direction, bound);
            self.components.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// Returns a reference to the merge patch of a message. An empty patch is refused.
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
        // The order of the contract; JSON objects have none.
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
        if let Some((_, min, max)) = ALTERNATIVES.iter().find(|(name, ..)| *name == of.name()) {
            schema["minProperties"] = (*min).into();
            schema["maxProperties"] = (*max).into();
            schema["properties"].as_object_mut().into_iter().flat_map(Map::values_mut).for_each(remove_null);
        }
        schema
    }

    /// Returns the schema of a field with its description.
    fn field(&mut self, field: &FieldDescriptor, direction: Direction) -> Value {
        let nullable = match direction {
            Direction::Request => !self.rules.is_required(field),
            Direction::Patch => !self.comment_contains(field, "Cannot be cleared"),
            // An enum that the client may omit is null in the response.
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
        let rule = if direction == Direction::Response { "" } else { text_rule(self.text(field)) };
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

    /// Adds the part of the rule of the field's kind of text (`crates/text`) that JSON Schema can express.
    fn restrict(&self, schema: &mut Value, field: &FieldDescriptor) {
        let text = self.text(field);
        if text == Text::Email {
            schema["format"] = "email".into();
        }
        if let Some(pattern) = text_pattern(text)
            && schema.get("pattern").is_none()
        {
            schema["pattern"] = pattern.into();
        }
    }

    /// Whether the comment on a field contains these words.
    fn comment_contains(&self, field: &FieldDescriptor, words: &str) -> bool {
        self.comments.on(&field.parent_file(), field.path()).contains(words)
    }

    /// Returns the schema of a field's value, without null.
    fn value(&mut self, field: &FieldDescriptor, direction: Direction) -> Value {
        let rules = if direction == Direction::Response { None } else { self.rules.of(field) };
        if !field.is_list() {
            let mut schema = self.single(&field.kind(), rules.as_ref(), direction);
            if schema["type"] == "string" {
                let known = FORMATS.iter().find(|(name, _)| *name == field.name());
                if let Some((_, format)) = known.filter(|_| direction != Direction::Response) {
                    schema["format"] = (*format).into();
                }
                if direction != Direction::Response {
                    self.restrict(&mut schema, field);
                }
            }
            return schema;
        }
        let (mut schema, items) = validation_rules::list(rules.as_ref());
        // A patch replaces a list as a whole (RFC 7396).
        let direction = if direction == Direction::Patch { Direction::Request } else { direction };
        schema.insert("type".to_owned(), "array".into());
        let mut items = self.single(&field.kind(), items.as_ref(), direction);
        if items["type"] == "string" && direction != Direction::Response {
            self.restrict(&mut items, field);
        }
        schema.insert("items".to_owned(), items);
        schema.into()
    }

    /// Returns the schema and description of a query or path parameter, which is never null.
    pub(super) fn parameter(&mut self, field: &FieldDescriptor) -> (Value, Value) {
        let schema = self.value(field, Direction::Request);
        (schema, self.comments.on(&field.parent_file(), field.path()).into())
    }

    /// Whether a request must contain the field.
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

    /// Returns a reference to the schema of an enum.
    fn enumeration(&mut self, of: &EnumDescriptor) -> Value {
        let name = unique_name(of.package_name(), of.name(), |name| {
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

/// The characters of a kind of text, as a regular expression of ECMA-262: no control characters, and none that override the
/// direction of text. Space around a line is trimmed.
fn text_pattern(text: Text) -> Option<&'static str> {
    match text {
        Text::Line | Text::Name | Text::FileName => {
            Some(r"^\s*[^\u0000-\u001F\u007F-\u009F\u2028-\u202E\u2066-\u2069]*\s*$")
        }
        Text::Text => Some(r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]*$"),
        Text::Unspecified | Text::Query | Text::Phone | Text::Email => None,
    }
}

/// Describes the rule of a kind of text (`crates/text`), which JSON Schema cannot express in full.
fn text_rule(text: Text) -> &'static str {
    match text {
        Text::Unspecified | Text::Query | Text::Phone => "",
        Text::Line => "One line with a visible character and no control characters. Stored in Unicode NFC, trimmed.",
        Text::Name => {
            "One line with a visible character and no control characters. Stored in Unicode NFKC, trimmed: spellings that \
             look the same are equal."
        }
        Text::Text => {
            "Text with a visible character; of control characters only line breaks and tabs. Stored in Unicode NFC, with LF \
             as line break."
        }
        Text::FileName => "One line with a visible character, without a path. Stored in Unicode NFC.",
        Text::Email => {
            "An address of RFC 5321, or RFC 6531 if international; not quoted and without an address literal."
        }
    }
}

/// Returns the component's name: the message's, with its package if the name is not unique, and with its use if it has
/// two.
fn component_name(of: &MessageDescriptor, direction: Direction) -> String {
    let name = unique_name(of.package_name(), of.name(), |name| {
        pool().all_messages().filter(|other| is_ours(other.package_name()) && other.name() == name).count() == 1
    });
    let suffix = match direction {
        Direction::Patch if !of.name().ends_with("Change") => "Patch",
        Direction::Request if !of.name().ends_with("Request") => "Input",
        _ => "",
    };
    format!("{name}{suffix}")
}

/// Returns the name, prefixed by its package's if it is not unique.
fn unique_name(package: &str, name: &str, is_unique: impl Fn(&str) -> bool) -> String {
    if is_unique(name) {
        return name.to_owned();
    }
    let service = package.split('.').nth(1).unwrap_or_default();
    service[..1].to_uppercase() + &service[1..] + name
}

/// Adds null to a schema.
fn nullable_schema(mut schema: Value) -> Value {
    if schema.get("$ref").is_some() {
        return json!({"anyOf": [schema, {"type": "null"}]});
    }
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

/// Removes null from a schema.
fn remove_null(schema: &mut Value) {
    if let Some(first) = schema["type"].as_array().and_then(|types| types.first()).cloned() {
        schema["type"] = first;
    } else if let Some(first) = schema.get("anyOf").and_then(|choices| choices.get(0)).cloned() {
        let description = schema["description"].take();
        *schema = first;
        schema["description"] = description;
    }
}
