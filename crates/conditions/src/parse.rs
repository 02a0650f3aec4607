//! Conditions from JSON.

use std::io;

use baton_errors::{Error, Result};
use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::{
    condition::Condition,
    field::{Field, Kind},
    leaf::{Leaf, Op, Person, Value},
};

/// How deep `all`, `any` and `not` may be nested. The short form of several fields counts as an `all`.
pub const MAX_DEPTH: usize = 5;
/// Leaves in a condition, at most.
pub const MAX_LEAVES: usize = 50;
/// Bytes of the JSON of a condition without whitespace, at most: as it is given, and in its canonical form.
pub const MAX_JSON_LEN: usize = 8 * 1024;
/// The value of `within_seconds` and `older_than_seconds`, at most: ten years.
pub const MAX_SECONDS: i64 = 10 * 365 * 24 * 60 * 60;

const COMBINATORS: [&str; 3] = ["all", "any", "not"];

impl Condition {
    /// Reads a condition. `path` is where it stands in the request, for errors. `extra_keys` are keys of the outermost
    /// object that belong to the trigger, and are ignored.
    ///
    /// The forms are `{"all": […]}`, `{"any": […]}`, `{"not": {…}}`, `{"field": …, "op": …, "value": …}`, and the short
    /// form: an object whose keys are fields, all of which must be equal to their values or, if they are lists, contain
    /// them. The empty object always holds.
    ///
    /// # Errors
    /// VALIDATION_FAILED with the path of what is wrong, such as `trigger_conditions.all[2].value`.
    pub fn parse(json: &Json, path: &str, extra_keys: &[&str]) -> Result<Self> {
        let within_limit = |json: &Json| {
            let fits = json_len(json) <= MAX_JSON_LEN;
            fits.then_some(()).ok_or_else(|| Error::invalid(path, format!("must have at most {MAX_JSON_LEN} bytes")))
        };
        within_limit(json)?;
        let condition = Parser { leaves: 0 }.condition(json, path, 0, extra_keys)?;
        within_limit(&condition.to_json())?;
        Ok(condition)
    }
}

struct Parser {
    leaves: usize,
}

impl Parser {
    /// `depth`: how many `all`, `any` and `not` are around it.
    fn condition(&mut self, json: &Json, path: &str, depth: usize, extra: &[&str]) -> Result<Condition> {
        let object = json.as_object().ok_or_else(|| Error::invalid(path, "must be an object"))?;
        let keys = || object.keys().map(String::as_str).filter(|key| !extra.contains(key));
        if let Some(combinator) = keys().find(|key| COMBINATORS.contains(key)) {
            if let Some(other) = keys().find(|key| *key != combinator) {
                let message = format!("must not stand beside `{combinator}`");
                return Err(Error::invalid(at(path, other), message));
            }
            let depth = deeper(path, depth)?;
            return self.combination(combinator, &object[combinator], &at(path, combinator), depth);
        }
        if keys().any(|key| key == "field") {
            if let Some(other) = keys().find(|key| !["field", "op", "value"].contains(key)) {
                return Err(Error::invalid(at(path, other), "must not stand beside `field`, `op` and `value`"));
            }
            return self.long(object, path).map(Condition::Leaf);
        }
        let several = keys().count() > 1;
        let mut leaves = Vec::new();
        for key in keys() {
            leaves.push(Condition::Leaf(self.short(key, &object[key], &at(path, key))?));
        }
        match leaves.pop() {
            Some(leaf) if !several => Ok(leaf),
            last => {
                deeper(path, depth)?;
                leaves.extend(last);
                Ok(Condition::All(leaves))
            }
        }
    }

    fn combination(&mut self, combinator: &str, json: &Json, path: &str, depth: usize) -> Result<Condition> {
        if combinator == "not" {
            return Ok(Condition::Not(Box::new(self.condition(json, path, depth, &[])?)));
        }
        let parts = json.as_array().ok_or_else(|| Error::invalid(path, "must be a list of conditions"))?;
        let parts: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(index, part)| self.condition(part, &format!("{path}[{index}]"), depth, &[]))
            .collect::<Result<_>>()?;
        match combinator {
            "all" => Ok(Condition::All(parts)),
            _ if parts.is_empty() => Err(Error::invalid(path, "must have at least one condition: it would never hold")),
            _ => Ok(Condition::Any(parts)),
        }
    }

    fn long(&mut self, object: &Map<String, Json>, path: &str) -> Result<Leaf> {
        let field = object.get("field").and_then(Json::as_str).and_then(Field::from_name);
        let field = field.ok_or_else(|| Error::invalid(at(path, "field"), Field::unknown()))?;
        let op = object.get("op").and_then(Json::as_str).and_then(Op::from_name).filter(|op| op.allows(&field));
        let op = op.ok_or_else(|| Error::invalid(at(path, "op"), wrong_op(&field)))?;
        let path = at(path, "value");
        let value = object.get("value").ok_or_else(|| Error::invalid(&path, "is required"))?;
        self.leaf(field, op, value, &path)
    }

    fn short(&mut self, name: &str, json: &Json, path: &str) -> Result<Leaf> {
        let field = Field::from_name(name).ok_or_else(|| Error::invalid(path, Field::unknown()))?;
        let op = if field.definition().kind.is_list() { Op::Contains } else { Op::Eq };
        self.leaf(field, op, json, path)
    }

    fn leaf(&mut self, field: Field, op: Op, json: &Json, path: &str) -> Result<Leaf> {
        self.leaves += 1;
        if self.leaves > MAX_LEAVES {
            return Err(Error::invalid(path, format!("must not be after the first {MAX_LEAVES} comparisons")));
        }
        let value = value(field.definition().kind, op, json, path)?;
        Ok(Leaf { field, op, value })
    }
}

fn at(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn deeper(path: &str, depth: usize) -> Result<usize> {
    let message = || format!("must not be nested more than {MAX_DEPTH} levels deep");
    (depth < MAX_DEPTH).then_some(depth + 1).ok_or_else(|| Error::invalid(path, message()))
}

fn wrong_op(field: &Field) -> String {
    let allowed: Vec<_> = Op::ALL.iter().filter(|op| op.allows(field)).map(|op| op.name()).collect();
    format!("must be one of {} for this field", allowed.join(", "))
}

fn value(kind: Kind, op: Op, json: &Json, path: &str) -> Result<Value> {
    match op {
        Op::IsEmpty => scalar(Kind::Bool, json, path),
        Op::WithinSeconds | Op::OlderThanSeconds => {
            let seconds = json.as_i64().filter(|seconds| (0..=MAX_SECONDS).contains(seconds));
            seconds.and_then(TimeDelta::try_seconds).map(Value::Seconds).ok_or_else(|| {
                Error::invalid(path, format!("must be a whole number of seconds, from 0 to {MAX_SECONDS}"))
            })
        }
        Op::In | Op::NotIn | Op::ContainsAny | Op::ContainsAll => list(kind, json, path),
        Op::Eq | Op::Ne if kind.is_list() => list(kind, json, path),
        Op::Contains | Op::StartsWith if !kind.is_list() => {
            let text = scalar(Kind::Text, json, path)?;
            if text == Value::Text("".into()) { Err(Error::invalid(path, "must not be empty")) } else { Ok(text) }
        }
        Op::Lt | Op::Lte | Op::Gt | Op::Gte if kind == Kind::Custom => scalar(Kind::Number, json, path),
        Op::Eq | Op::Ne | Op::Lt | Op::Lte | Op::Gt | Op::Gte | Op::Contains | Op::StartsWith => {
            scalar(kind, json, path)
        }
    }
}

fn list(kind: Kind, json: &Json, path: &str) -> Result<Value> {
    let items = json.as_array().filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| Error::invalid(path, "must be a list of at least one value"))?;
    let item = |(index, item)| scalar(kind, item, &format!("{path}[{index}]"));
    items.iter().enumerate().map(item).collect::<Result<_>>().map(Value::List)
}

/// One value. Of a list field: one of its items.
fn scalar(kind: Kind, json: &Json, path: &str) -> Result<Value> {
    let (value, expected) = match kind {
        Kind::Choice { names, .. } => {
            let index = json.as_str().and_then(|name| names.iter().position(|other| *other == name));
            let value = index.and_then(|index| u8::try_from(index).ok()).map(Value::Choice);
            (value, format!("must be one of {}", names.join(", ")))
        }
        Kind::Person | Kind::People => {
            let person = json.as_str().and_then(|text| match text {
                "me" => Some(Person::Me),
                id => Uuid::try_parse(id).ok().map(Person::Id),
            });
            (person.map(Value::Person), "must be the id of a user (a UUID) or \"me\"".to_owned())
        }
        Kind::Time => (json.as_str().and_then(time).map(Value::Time), "must be a time of RFC 3339".to_owned()),
        Kind::Bool => (json.as_bool().map(Value::Bool), "must be true or false".to_owned()),
        Kind::Number => (json.as_f64().map(Value::Number), "must be a number".to_owned()),
        Kind::Text | Kind::Texts => (text(json), "must be a text".to_owned()),
        Kind::Custom => {
            let number = || json.as_f64().map(Value::Number);
            let value = text(json).or_else(number).or_else(|| json.as_bool().map(Value::Bool));
            (value, "must be a text, a number, true or false".to_owned())
        }
    };
    value.ok_or_else(|| {
        let hint = if json.is_null() { "; for no value, use the operator is_empty" } else { "" };
        Error::invalid(path, format!("{expected}{hint}"))
    })
}

fn text(json: &Json) -> Option<Value> {
    json.as_str().map(|text| Value::Text(text.into()))
}

/// Only of years with four digits, in UTC too: others have no RFC 3339 form.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (0..=9999).contains(&time.year()).then_some(time)
}

/// Bytes of the JSON without whitespace.
fn json_len(json: &Json) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Neither a value nor the counter fails.
    serde_json::to_writer(&mut counter, json).map_or(usize::MAX, |()| counter.0)
}
