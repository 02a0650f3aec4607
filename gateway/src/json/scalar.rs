//! Scalars: from JSON, and from path and query parameters.

use baton_proto::convert;
use chrono::DateTime;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};
use serde_json::Number;

use super::{TIMESTAMP, enums, value::Json};

/// The violation of [`Json::Lossy`].
pub(crate) const LOSSY_NUMBER: &str = "has more digits than a double can represent; send it as a string";

/// Decodes a JSON scalar. The error completes "`field` ...".
pub(crate) fn from_json(kind: &Kind, json: Json<'_>) -> Result<Value, String> {
    match (kind, json) {
        (Kind::Bool, Json::Bool(value)) => Ok(Value::Bool(value)),
        (Kind::String, Json::String(text)) => Ok(Value::String(text.into_owned())),
        (Kind::Enum(_), Json::String(text)) => from_text(kind, &text),
        (Kind::Message(message), Json::String(text)) => parse_timestamp(message, &text),
        (Kind::Double, Json::Number(number)) => number.as_f64().map(Value::F64).ok_or_else(|| expected(kind, "?")),
        (Kind::Float, Json::Number(number)) => {
            let single = number.as_f64().map(|value| value as f32).filter(|value| value.is_finite());
            single.map(Value::F32).ok_or_else(|| "must be within the range of a float".to_owned())
        }
        (kind, Json::Number(number)) if is_integer(kind) => {
            let whole = whole_number(&number).ok_or_else(|| "must be a whole number".to_owned())?;
            integer(kind, whole).ok_or_else(|| out_of_range(kind))
        }
        (kind, Json::Lossy) if is_integer(kind) => Err(out_of_range(kind)),
        (Kind::Double | Kind::Float, Json::Lossy) => Err(LOSSY_NUMBER.to_owned()),
        (kind, json) => Err(expected(kind, json.type_name())),
    }
}

/// Decodes a path or query parameter. The error completes "`field` ...".
pub(crate) fn from_text(kind: &Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::String => Ok(Value::String(text.to_owned())),
        Kind::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("must be true or false".to_owned()),
        },
        Kind::Enum(of) => enums::number(of, text)
            .map(Value::EnumNumber)
            .ok_or_else(|| format!("must be one of {}", enums::names(of).join(", "))),
        Kind::Message(message) => {
            // An unescaped plus sign is decoded as a space.
            parse_timestamp(message, text)
                .map_err(|error| if text.contains(' ') { format!("{error}; in a query write + as %2B") } else { error })
        }
        Kind::Double => parse_finite(text).map(Value::F64),
        Kind::Float => parse_finite(text).map(|value| Value::F32(value as f32)),
        kind if is_integer(kind) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err("must be a whole number".to_owned());
            }
            let number = text.parse().ok().and_then(|whole| integer(kind, whole));
            number.ok_or_else(|| out_of_range(kind))
        }
        kind => Err(expected(kind, "a string")),
    }
}

/// Parses RFC 3339, years 1 to 9999, without leap seconds (protobuf has none).
fn parse_timestamp(message: &MessageDescriptor, text: &str) -> Result<Value, String> {
    if message.full_name() != TIMESTAMP {
        return Err(expected(&Kind::Message(message.clone()), "a string"));
    }
    let refused = || "must be an RFC 3339 time such as 2026-01-31T08:00:00Z".to_owned();
    let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| refused())?;
    let timestamp = convert::timestamp(parsed.to_utc());
    if convert::datetime(&timestamp).is_none() || timestamp.nanos > 999_999_999 {
        return Err(refused());
    }
    let mut value = DynamicMessage::new(message.clone());
    value.set_field_by_name("seconds", Value::I64(timestamp.seconds));
    value.set_field_by_name("nanos", Value::I32(timestamp.nanos));
    Ok(Value::Message(value))
}

fn parse_finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(|| "must be a number".to_owned())
}

/// JSON does not distinguish integers: `3.0` is 3.
fn whole_number(number: &Number) -> Option<i64> {
    let exact = |value: &f64| value.fract() == 0.0 && value.abs() < 9e15;
    number.as_i64().or_else(|| number.as_f64().map(|f| f.clamp(-8e15, 8e15)).filter(exact).map(|f| f as i64))
}

fn is_integer(kind: &Kind) -> bool {
    integer(kind, 0).is_some()
}

fn integer(kind: &Kind, whole: i64) -> Option<Value> {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => i32::try_from(whole).ok().map(Value::I32),
        Kind::Uint32 | Kind::Fixed32 => u32::try_from(whole).ok().map(Value::U32),
        _ => None,
    }
}

fn out_of_range(kind: &Kind) -> String {
    let (min, max) = match kind {
        Kind::Uint32 | Kind::Fixed32 => (0, i64::from(u32::MAX)),
        _ => (i64::from(i32::MIN), i64::from(i32::MAX)),
    };
    format!("must be a whole number between {min} and {max}")
}

fn expected(kind: &Kind, got: &str) -> String {
    let wanted = match kind {
        Kind::String => "a string",
        Kind::Bool => "true or false",
        Kind::Enum(of) => return format!("must be one of {}, not {got}", enums::names(of).join(", ")),
        Kind::Message(message) if message.full_name() == TIMESTAMP => "an RFC 3339 time in a string",
        Kind::Message(_) => "an object",
        _ => "a number",
    };
    format!("must be {wanted}, not {got}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Json<'static> {
        Json::Number(serde_json::from_str(text).expect("a number"))
    }

    #[test]
    fn whole_numbers_are_accepted_in_every_notation() {
        for (text, value) in [("3", 3), ("3.0", 3), ("3e0", 3), ("-0", 0), ("2147483647", i32::MAX)] {
            assert_eq!(from_json(&Kind::Int32, number(text)), Ok(Value::I32(value)), "{text}");
        }
    }

    #[test]
    fn fractions_overflows_and_strings_are_not_int32() {
        for text in ["3.5", "2147483648", "-2147483649", "1e300", "18446744073709551615", "4294967296.0"] {
            assert!(from_json(&Kind::Int32, number(text)).is_err(), "{text}");
        }
        assert!(from_json(&Kind::Int32, Json::String("3".into())).is_err());
        assert!(from_json(&Kind::Uint32, number("-1")).is_err());
        for text in ["", "-", "+3", "3.0", " 3", "0x3", "99999999999999999999"] {
            assert!(from_text(&Kind::Int32, text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_that_are_not_rfc_3339_are_refused() {
        let of = baton_proto::pool().get_message_by_name(TIMESTAMP).expect("a well-known type");
        for text in ["2026-01-31T08:00:00Z", "2026-01-31T08:00:00.123456789+02:00", "0001-01-01T00:00:00Z"] {
            parse_timestamp(&of, text).expect(text);
        }
        for text in [
            "",
            "2026-01-31",
            "2026-02-30T00:00:00Z",
            "2026-01-31T08:00:00",
            "0000-01-01T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "0001-01-01T00:00:00+01:00",
            "1767225600",
        ] {
            assert!(parse_timestamp(&of, text).is_err(), "{text}");
        }
        let hint = from_text(&Kind::Message(of), "2026-01-31T08:00:00 02:00").expect_err("a space");
        assert!(hint.contains("%2B"), "{hint}");
    }
}
