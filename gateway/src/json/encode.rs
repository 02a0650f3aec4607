//! Message to JSON.

use baton_proto::convert;
use chrono::SecondsFormat;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};
use prost_types::Timestamp;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::{STRUCT, TIMESTAMP, enums};

/// A message as JSON, with every field. Absent fields and unspecified enum values are null.
pub(crate) struct MessageJson<'a>(pub(crate) &'a DynamicMessage);

/// A message as JSON, with the fields that it has.
pub(crate) struct SparseMessageJson<'a>(pub(crate) &'a DynamicMessage);

impl Serialize for SparseMessageJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.fields();
        serializer.collect_map(fields.map(|(field, value)| (field.name().to_owned(), SparseValueJson(field, value))))
    }
}

struct SparseValueJson<'a>(FieldDescriptor, &'a Value);

impl Serialize for SparseValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.1, self.0.kind()) {
            (Value::Message(message), Kind::Message(of)) if ![TIMESTAMP, STRUCT].contains(&of.full_name()) => {
                SparseMessageJson(message).serialize(serializer)
            }
            (value, kind) => ElementJson { kind: &kind, value }.serialize(serializer),
        }
    }
}

/// The value of one field as JSON.
pub(crate) struct FieldJson<'a>(pub(crate) &'a DynamicMessage, pub(crate) &'a FieldDescriptor);

impl Serialize for MessageJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = self.0.descriptor();
        match of.full_name() {
            TIMESTAMP => return serializer.serialize_some(&format_timestamp(self.0)),
            STRUCT => return StructJson(self.0).serialize(serializer),
            _ => {}
        }
        let mut object = serializer.serialize_map(Some(of.fields().len()))?;
        for field in of.fields() {
            object.serialize_entry(field.name(), &FieldJson(self.0, &field))?;
        }
        object.end()
    }
}

impl Serialize for FieldJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(message, field) = self;
        if field.supports_presence() && !message.has_field(field) {
            return serializer.serialize_none();
        }
        let kind = field.kind();
        let value = message.get_field(field);
        match &*value {
            Value::List(items) => {
                let mut array = serializer.serialize_seq(Some(items.len()))?;
                for value in items {
                    array.serialize_element(&ElementJson { kind: &kind, value })?;
                }
                array.end()
            }
            value => ElementJson { kind: &kind, value }.serialize(serializer),
        }
    }
}

struct ElementJson<'a> {
    kind: &'a Kind,
    value: &'a Value,
}

impl Serialize for ElementJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.value, self.kind) {
            (Value::Bool(value), _) => serializer.serialize_bool(*value),
            (Value::I32(value), _) => serializer.serialize_i32(*value),
            (Value::U32(value), _) => serializer.serialize_u32(*value),
            (Value::F32(value), _) => serializer.serialize_f32(*value),
            (Value::F64(value), _) => serializer.serialize_f64(*value),
            (Value::String(value), _) => serializer.serialize_str(value),
            // A number without a name is of a newer service; this gateway treats it as unspecified.
            (Value::EnumNumber(number), Kind::Enum(of)) => {
                of.get_value(*number).as_ref().and_then(enums::name).serialize(serializer)
            }
            (Value::Message(message), _) => MessageJson(message).serialize(serializer),
            // `supported::check` refuses other kinds when the gateway starts.
            _ => serializer.serialize_none(),
        }
    }
}

fn format_timestamp(message: &DynamicMessage) -> Option<String> {
    let number = |name| message.get_field_by_name(name).map(|value| value.into_owned());
    let seconds = number("seconds")?.as_i64()?;
    let nanos = number("nanos")?.as_i32()?;
    let time = convert::datetime(&Timestamp { seconds, nanos })?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// A `google.protobuf.Struct`. Members are sorted by name, since protobuf maps have no order.
struct StructJson<'a>(&'a DynamicMessage);

impl Serialize for StructJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.get_field_by_name("fields");
        let mut members: Vec<(&str, &Value)> = fields
            .as_deref()
            .and_then(Value::as_map)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| if let MapKey::String(key) = key { Some((key.as_str(), value)) } else { None })
            .collect();
        members.sort_unstable_by_key(|(key, _)| *key);
        let mut object = serializer.serialize_map(Some(members.len()))?;
        for (key, value) in members {
            object.serialize_entry(key, &ValueJson(value))?;
        }
        object.end()
    }
}

/// A `google.protobuf.Value`.
struct ValueJson<'a>(&'a Value);

impl Serialize for ValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.0.as_message().and_then(|message| message.fields().next());
        match kind.map(|(_, value)| value) {
            Some(Value::Bool(value)) => serializer.serialize_bool(*value),
            Some(Value::F64(value)) => serialize_number(*value, serializer),
            Some(Value::String(value)) => serializer.serialize_str(value),
            Some(Value::Message(message)) if message.descriptor().full_name() == STRUCT => {
                StructJson(message).serialize(serializer)
            }
            Some(Value::Message(list)) => {
                let values = list.get_field_by_name("values");
                serializer.collect_seq(values.as_deref().and_then(Value::as_list).into_iter().flatten().map(ValueJson))
            }
            _ => serializer.serialize_none(),
        }
    }
}

/// Writes whole numbers without a fraction: `3`, not `3.0`.
fn serialize_number<S: Serializer>(value: f64, serializer: S) -> Result<S::Ok, S::Error> {
    const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= MAX_EXACT_INTEGER {
        serializer.serialize_i64(value as i64)
    } else {
        serializer.serialize_f64(value)
    }
}
