//! One comparison: a field, an operator, a value.

use std::{cmp::Ordering, fmt};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{
    facts::{Fact, Facts, choice_name, number, rfc3339},
    field::{Field, Kind},
    needs::Needs,
};

macro_rules! ops {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// An operator.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Op {
            $($(#[$doc])* $variant),+
        }

        impl Op {
            /// All operators.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in conditions.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }

            /// The operator with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

ops! {
    /// The field has the value. Texts are equal to the letter, lists as sets.
    Eq = "eq",
    /// The opposite of `eq`, also for null.
    Ne = "ne",
    /// The field has one of the values.
    In = "in",
    /// The opposite of `in`, also for null.
    NotIn = "not_in",
    /// The field is null, an empty list or an empty text, or with the value `false`: it is not.
    IsEmpty = "is_empty",
    /// Less, or before.
    Lt = "lt",
    /// Less or equal, or not after.
    Lte = "lte",
    /// Greater, or after.
    Gt = "gt",
    /// Greater or equal, or not before.
    Gte = "gte",
    /// A text contains the text in any case, or a list the value.
    Contains = "contains",
    /// A text starts with the text, in any case.
    StartsWith = "starts_with",
    /// A list contains at least one of the values.
    ContainsAny = "contains_any",
    /// A list contains all of the values.
    ContainsAll = "contains_all",
    /// A time is now or in the future, at most so many seconds from now.
    WithinSeconds = "within_seconds",
    /// A time is in the past, by more than so many seconds.
    OlderThanSeconds = "older_than_seconds",
}

impl Op {
    /// Whether conditions may use it with this field.
    pub fn allows(self, field: &Field) -> bool {
        let kind = field.definition().kind;
        match self {
            Self::Eq | Self::Ne => true,
            Self::In | Self::NotIn => !kind.is_list(),
            Self::IsEmpty => field.is_nullable() || kind.is_list() || kind == Kind::Text,
            Self::Lt | Self::Lte | Self::Gt | Self::Gte => {
                matches!(kind, Kind::Choice { ordered: true, .. } | Kind::Number | Kind::Time | Kind::Custom)
            }
            Self::Contains => kind.is_list() || matches!(kind, Kind::Text | Kind::Custom),
            Self::StartsWith => matches!(kind, Kind::Text | Kind::Custom),
            Self::ContainsAny | Self::ContainsAll => kind.is_list(),
            Self::WithinSeconds | Self::OlderThanSeconds => kind == Kind::Time,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A user in a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Person {
    Me,
    Id(Uuid),
}

impl Person {
    fn is(self, id: Uuid, me: Uuid) -> bool {
        id == match self {
            Self::Me => me,
            Self::Id(id) => id,
        }
    }
}

/// The value of a leaf. The parser makes only those that fit the field and the operator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    /// The index of a name.
    Choice(u8),
    Person(Person),
    Time(DateTime<Utc>),
    Seconds(TimeDelta),
    List(Vec<Value>),
}

impl Value {
    pub(crate) fn to_json(&self, kind: Kind) -> Json {
        match self {
            Self::Bool(value) => (*value).into(),
            Self::Number(value) => number(*value),
            Self::Text(text) => (&**text).into(),
            Self::Choice(index) => choice_name(kind, *index).into(),
            Self::Person(Person::Me) => "me".into(),
            Self::Person(Person::Id(id)) => id.to_string().into(),
            Self::Time(time) => rfc3339(*time).into(),
            Self::Seconds(seconds) => seconds.num_seconds().into(),
            Self::List(values) => values.iter().map(|value| value.to_json(kind)).collect(),
        }
    }

    fn items(&self) -> &[Self] {
        match self {
            Self::List(values) => values,
            other => std::slice::from_ref(other),
        }
    }
}

/// A comparison. Only the parser makes one, so the operator fits the field, and the value both.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    pub(crate) field: Field,
    pub(crate) op: Op,
    pub(crate) value: Value,
}

impl Leaf {
    /// The field.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// The operator.
    pub fn op(&self) -> Op {
        self.op
    }

    /// The value as JSON, in its canonical form.
    pub fn value(&self) -> Json {
        self.value.to_json(self.field.definition().kind)
    }

    /// The leaf as JSON.
    pub fn to_json(&self) -> Json {
        json!({"field": self.field.to_string(), "op": self.op.name(), "value": self.value()})
    }

    /// The facts that it reads.
    pub fn needs(&self) -> Needs {
        match self.op {
            Op::WithinSeconds | Op::OlderThanSeconds => self.field.needs() | Needs::CLOCK,
            _ => self.field.needs(),
        }
    }

    /// Whether it holds. `None` if the fact is unknown.
    pub fn evaluate(&self, facts: &Facts) -> Option<bool> {
        match facts.get(&self.field) {
            Fact::Unknown => None,
            Fact::NoParent => Some(self.op == Op::IsEmpty && self.value == Value::Bool(true)),
            fact => Some(self.holds(fact, facts)),
        }
    }

    fn holds(&self, fact: Fact<'_>, facts: &Facts) -> bool {
        let value = &self.value;
        let equal = |value: &Value| equals(fact, value, facts.me);
        let has = |value: &Value| contains(fact, value, facts.me);
        match self.op {
            Op::Eq => match value {
                Value::List(values) => values.iter().all(has) && has_no_other(fact, values, facts.me),
                value => equal(value),
            },
            Op::Ne => match value {
                Value::List(values) => !(values.iter().all(has) && has_no_other(fact, values, facts.me)),
                value => !equal(value),
            },
            Op::In => value.items().iter().any(equal),
            Op::NotIn => !value.items().iter().any(equal),
            Op::IsEmpty => *value == Value::Bool(is_empty(fact)),
            Op::Lt => compare(fact, value).is_some_and(Ordering::is_lt),
            Op::Lte => compare(fact, value).is_some_and(Ordering::is_le),
            Op::Gt => compare(fact, value).is_some_and(Ordering::is_gt),
            Op::Gte => compare(fact, value).is_some_and(Ordering::is_ge),
            Op::Contains => has(value),
            Op::StartsWith => match (fact, value) {
                (Fact::Text(text), Value::Text(start)) => starts_with(text, start),
                _ => false,
            },
            Op::ContainsAny => value.items().iter().any(has),
            Op::ContainsAll => value.items().iter().all(has),
            Op::WithinSeconds => match (fact, value) {
                (Fact::Time(time), Value::Seconds(seconds)) => {
                    let ahead = time.signed_duration_since(facts.now);
                    ahead >= TimeDelta::zero() && ahead <= *seconds
                }
                _ => false,
            },
            Op::OlderThanSeconds => match (fact, value) {
                (Fact::Time(time), Value::Seconds(seconds)) => facts.now.signed_duration_since(time) > *seconds,
                _ => false,
            },
        }
    }
}

fn equals(fact: Fact<'_>, value: &Value, me: Uuid) -> bool {
    match (fact, value) {
        (Fact::Bool(fact), Value::Bool(value)) => fact == *value,
        (Fact::Number(fact), Value::Number(value)) => fact == *value,
        (Fact::Text(fact), Value::Text(value)) => *fact == **value,
        (Fact::Choice(fact), Value::Choice(value)) => fact == *value,
        (Fact::Person(fact), Value::Person(value)) => value.is(fact, me),
        (Fact::Time(fact), Value::Time(value)) => fact == *value,
        _ => false,
    }
}

/// None for a null or a value of another type.
fn compare(fact: Fact<'_>, value: &Value) -> Option<Ordering> {
    match (fact, value) {
        (Fact::Number(fact), Value::Number(value)) => fact.partial_cmp(value),
        (Fact::Choice(fact), Value::Choice(value)) => Some(fact.cmp(value)),
        (Fact::Time(fact), Value::Time(value)) => Some(fact.cmp(value)),
        _ => None,
    }
}

fn contains(fact: Fact<'_>, value: &Value, me: Uuid) -> bool {
    match (fact, value) {
        (Fact::Text(text), Value::Text(part)) => contains_text(text, part),
        (Fact::Texts(texts), Value::Text(text)) => texts.iter().any(|other| **other == **text),
        (Fact::People(ids), Value::Person(person)) => ids.iter().any(|id| person.is(*id, me)),
        (Fact::Json(Json::Array(items)), Value::Text(text)) => items.iter().any(|item| item.as_str() == Some(text)),
        _ => false,
    }
}

/// Whether a list has only these values.
fn has_no_other(fact: Fact<'_>, values: &[Value], me: Uuid) -> bool {
    match fact {
        Fact::Texts(texts) => texts.iter().all(|text| values.iter().any(|value| equals(Fact::Text(text), value, me))),
        Fact::People(ids) => ids.iter().all(|id| values.iter().any(|value| equals(Fact::Person(*id), value, me))),
        _ => false,
    }
}

fn is_empty(fact: Fact<'_>) -> bool {
    match fact {
        Fact::Null => true,
        Fact::Text(text) => text.is_empty(),
        Fact::Texts(texts) => texts.is_empty(),
        Fact::People(ids) => ids.is_empty(),
        Fact::Json(Json::Array(items)) => items.is_empty(),
        _ => false,
    }
}

/// Character by character, so that nothing is allocated.
fn starts_with(text: &str, start: &str) -> bool {
    let mut text = text.chars().flat_map(char::to_lowercase);
    start.chars().flat_map(char::to_lowercase).all(|char| text.next() == Some(char))
}

fn contains_text(text: &str, part: &str) -> bool {
    let first = part.chars().flat_map(char::to_lowercase).next();
    let mut starts = text.char_indices().filter(|(_, char)| char.to_lowercase().next() == first);
    starts.any(|(at, _)| starts_with(&text[at..], part))
}
