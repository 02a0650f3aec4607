//! A JSON value that borrows from the request's bytes and has no repeated keys.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::number;

/// A JSON value. Objects keep the order of their members, and their keys are unique.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    /// A number that a double cannot represent exactly.
    Lossy,
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Members<'a>),
}

/// The members of an object.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

impl Json<'_> {
    /// The type's name, for error messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) | Json::Lossy => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }
}

/// Parses a text, and marks lossy numbers. The error is for the caller: it has the position, and no part of the text.
pub(crate) fn parse(text: &[u8]) -> Result<Json<'_>, String> {
    let mut json = serde_json::from_slice(text).map_err(|error| {
        let message = match error.classify() {
            // serde_json has no category for this error.
            _ if error.to_string().starts_with("number out of range") => "a number is out of range",
            serde_json::error::Category::Data => "an object has the same key twice",
            serde_json::error::Category::Eof => "the JSON is incomplete",
            _ => "the JSON is invalid or nested too deeply",
        };
        format!("{message} (line {}, column {})", error.line(), error.column())
    })?;
    number::mark_lossy(&mut json, text);
    Ok(json)
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json<'de>, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let mut members = Members::new();
        while let Some(Key(key)) = entries.next_key()? {
            members.push((key, entries.next_value()?));
        }
        // RFC 8259 leaves repeated keys undefined. If two readers interpret them differently, checks can be bypassed.
        let mut keys: Vec<&str> = members.iter().map(|(key, _)| &**key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom("repeated key"));
        }
        Ok(Json::Object(members))
    }
}

/// A borrowed key: `Cow<str>` itself never borrows when deserialized without `#[serde(borrow)]`.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyKey;
        impl<'de> Visitor<'de> for AnyKey {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(AnyKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_is_refused_with_its_position_and_not_quoted() {
        let error = parse(br#"{"a": {"secret": 1, "b": 2, "secret": 3}}"#).expect_err("repeated");
        assert!(error.contains("same key twice") && error.contains("line 1"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn invalid_json_is_refused_and_not_quoted() {
        for text in ["", "{", "{'hunter2'}", "{\"a\":hunter2}", "[1,]", "{} hunter2", "nul", "\"\u{1}\""] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
        }
        assert!(parse(&[b'[', 0xff, b']']).is_err());
        assert!(parse(b"1e999").is_err());
        let deep = [b"[".repeat(200), b"]".repeat(200)].concat();
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn strings_and_keys_without_escapes_are_borrowed() {
        let parsed = parse(br#"{"key": "text"}"#).expect("JSON");
        let Json::Object(members) = parsed else { panic!("an object") };
        assert!(matches!(&members[0], (Cow::Borrowed("key"), Json::String(Cow::Borrowed("text")))));
    }
}
