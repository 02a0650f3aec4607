//! Conditions as English sentences.

use std::fmt::Write as _;

use chrono::TimeDelta;

use crate::{
    condition::Condition,
    facts::{choice_name, rfc3339},
    field::{Field, Id, Kind, Scope},
    leaf::{Leaf, Op, Person, Value},
};

impl Condition {
    /// The condition in English, without a full stop: "the priority is high and the status is not completed". The owner
    /// of the rule is "you", another user `@` and their id. Texts of the rule are in quotation marks, as in JSON.
    pub fn sentence(&self) -> String {
        match self {
            Self::All(parts) => joined(parts, " and ", "always"),
            Self::Any(parts) => joined(parts, " or ", "never"),
            Self::Not(part) => format!("not ({})", part.sentence()),
            Self::Leaf(leaf) => leaf.sentence(),
        }
    }

    /// Whether its sentence has parts that need parentheses within another.
    fn is_compound(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => match parts.as_slice() {
                [one] => one.is_compound(),
                parts => !parts.is_empty(),
            },
            Self::Not(_) | Self::Leaf(_) => false,
        }
    }
}

fn joined(parts: &[Condition], conjunction: &str, nothing: &str) -> String {
    match parts {
        [] => nothing.to_owned(),
        [one] => one.sentence(),
        parts => {
            let part = |part: &Condition| match part.is_compound() {
                true => format!("({})", part.sentence()),
                false => part.sentence(),
            };
            parts.iter().map(part).collect::<Vec<_>>().join(conjunction)
        }
    }
}

impl Leaf {
    fn sentence(&self) -> String {
        let kind = self.field.definition().kind;
        if kind == Kind::Bool
            && let Some(sentence) = self.yes_or_no()
        {
            return sentence;
        }
        let value = shown(&self.value, kind);
        // Moments and weekdays follow each other; other values are more or less.
        let follows = kind == Kind::Time || self.field.id == Id::Weekday;
        let rank = matches!(kind, Kind::Choice { .. });
        let is = if kind.is_list() { "are" } else { "is" };
        let verb = match (self.op, &self.value) {
            (Op::Eq, Value::List(_)) => format!("are exactly {value}"),
            (Op::Ne, Value::List(_)) => format!("are not exactly {value}"),
            (Op::Eq, _) => format!("is {value}"),
            (Op::Ne, _) => format!("is not {value}"),
            (Op::In, _) => format!("is one of {value}"),
            (Op::NotIn, _) => format!("is none of {value}"),
            (Op::IsEmpty, Value::Bool(true)) => format!("{is} empty"),
            (Op::IsEmpty, _) => format!("{is} not empty"),
            (Op::Lt, _) if follows => format!("is before {value}"),
            (Op::Lte, _) if follows => format!("is not after {value}"),
            (Op::Gt, _) if follows => format!("is after {value}"),
            (Op::Gte, _) if follows => format!("is not before {value}"),
            (Op::Lt, _) if rank => format!("is below {value}"),
            (Op::Gt, _) if rank => format!("is above {value}"),
            (Op::Lt, _) => format!("is less than {value}"),
            (Op::Gt, _) => format!("is more than {value}"),
            (Op::Lte, _) => format!("is at most {value}"),
            (Op::Gte, _) => format!("is at least {value}"),
            (Op::Contains, _) if kind.is_list() => format!("include {value}"),
            (Op::Contains, _) => format!("contains {value}"),
            (Op::StartsWith, _) => format!("starts with {value}"),
            (Op::ContainsAny, _) => format!("include one of {value}"),
            (Op::ContainsAll, _) => format!("include all of {value}"),
            (Op::WithinSeconds, _) => format!("is within the next {value}"),
            (Op::OlderThanSeconds, _) => format!("is more than {value} ago"),
        };
        format!("{} {verb}", subject(&self.field))
    }

    /// A field that is true or false, compared with one value.
    fn yes_or_no(&self) -> Option<String> {
        let holds = match (self.op, &self.value) {
            (Op::Eq, Value::Bool(value)) => *value,
            (Op::Ne, Value::Bool(value)) => !value,
            _ => return None,
        };
        let row = self.field.definition();
        let subject = match (row.scope, self.field.of_parent) {
            (Scope::Task, true) => "the parent",
            (Scope::Task, false) => "the task",
            _ => "it",
        };
        Some(format!("{subject} is {}{}", if holds { "" } else { "not " }, row.phrase))
    }
}

fn subject(field: &Field) -> String {
    let row = field.definition();
    let mut subject = if field.of_parent { "the parent's ".to_owned() } else { "the ".to_owned() };
    if row.kind == Kind::Bool {
        subject = if field.of_parent { "whether the parent is ".to_owned() } else { "whether it is ".to_owned() };
    }
    subject.push_str(row.phrase);
    if let Some(key) = &field.key {
        subject.push(' ');
        subject.push_str(key);
    }
    subject
}

fn shown(value: &Value, kind: Kind) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => serde_json::Value::from(&**text).to_string(),
        Value::Choice(index) => choice_name(kind, *index).replace('_', " "),
        Value::Person(Person::Me) => "you".to_owned(),
        Value::Person(Person::Id(id)) => format!("@{id}"),
        Value::Time(time) => rfc3339(*time),
        Value::Seconds(seconds) => duration(*seconds),
        Value::List(values) => {
            let mut list = String::new();
            for (index, value) in values.iter().enumerate() {
                // Writing to a string never fails.
                let _ = write!(list, "{}{}", if index == 0 { "" } else { ", " }, shown(value, kind));
            }
            list
        }
    }
}

/// In the largest unit that needs no fraction.
fn duration(span: TimeDelta) -> String {
    const UNITS: [(&str, i64); 4] = [("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)];
    let seconds = span.num_seconds();
    let fits = |(_, length): &(&str, i64)| seconds >= *length && seconds % length == 0;
    let (unit, length) = UNITS.into_iter().find(fits).unwrap_or(("second", 1));
    let count = seconds / length;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}
