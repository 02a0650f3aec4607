//! Conversions between protobuf's well-known types and those of chrono and serde_json.

use chrono::{DateTime, Utc};
use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};
use serde_json::{Map, Number};

/// Converts a time to protobuf.
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: time.timestamp_subsec_nanos() as i32 }
}

/// Converts a time to chrono. `None` outside of the years 1 to 9999 (RFC 3339).
pub fn datetime(time: &Timestamp) -> Option<DateTime<Utc>> {
    const YEAR_1: i64 = -62_135_596_800;
    const YEAR_10000: i64 = 253_402_300_800;
    let nanos = u32::try_from(time.nanos).ok()?;
    if !(YEAR_1..YEAR_10000).contains(&time.seconds) {
        return None;
    }
    DateTime::from_timestamp(time.seconds, nanos)
}

/// Converts a JSON object to a protobuf struct.
pub fn to_struct(object: Map<String, serde_json::Value>) -> Struct {
    Struct { fields: object.into_iter().map(|(k, v)| (k, to_value(v))).collect() }
}

/// Converts a protobuf struct to a JSON object. Numbers that JSON lacks (NaN, infinities) become null.
pub fn to_object(object: Struct) -> Map<String, serde_json::Value> {
    object.fields.into_iter().map(|(k, v)| (k, from_value(v))).collect()
}

fn to_value(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(b) => Kind::BoolValue(b),
        Json::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        Json::String(s) => Kind::StringValue(s),
        Json::Array(a) => Kind::ListValue(ListValue { values: a.into_iter().map(to_value).collect() }),
        Json::Object(o) => Kind::StructValue(to_struct(o)),
    };
    Value { kind: Some(kind) }
}

fn from_value(value: Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(b)) => Json::Bool(b),
        Some(Kind::NumberValue(n)) => number(n).map_or(Json::Null, Json::Number),
        Some(Kind::StringValue(s)) => Json::String(s),
        Some(Kind::ListValue(l)) => Json::Array(l.values.into_iter().map(from_value).collect()),
        Some(Kind::StructValue(s)) => Json::Object(to_object(s)),
    }
}

/// Writes whole numbers without a fraction: `3`, not `3.0`.
fn number(n: f64) -> Option<Number> {
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() <= MAX_EXACT { Some(Number::from(n as i64)) } else { Number::from_f64(n) }
}
