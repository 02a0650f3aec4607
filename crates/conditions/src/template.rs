//! Texts with fields in them.

use baton_errors::{Error, Result};
use chrono::SecondsFormat;

use crate::{
    facts::{Fact, Facts, choice_name, number},
    field::{Field, Kind},
    needs::Needs,
};

/// Bytes of a template, at most.
pub const MAX_LEN: usize = 16 * 1024;
/// Fields in a template, at most: each may be a long text.
pub const MAX_FIELDS: usize = 50;
/// What stands for null, and for an empty list.
const NOTHING: &str = "none";

/// A text with fields, such as `{{title}} is due at {{due_at}}`. There is nothing else to write in double braces: no
/// expressions, no escapes.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(Box<str>),
    Field(Field),
}

impl Template {
    /// Reads a template. `path` is where it stands in the request, for errors. Spaces within the braces are ignored.
    ///
    /// # Errors
    /// VALIDATION_FAILED for an unknown field, for `{{` or `}}` without the other, for more than [`MAX_FIELDS`] fields
    /// or [`MAX_LEN`] bytes.
    pub fn parse(text: &str, path: &str) -> Result<Self> {
        let invalid = |problem: String| Err(Error::invalid(path, problem));
        if text.len() > MAX_LEN {
            return invalid(format!("must have at most {MAX_LEN} bytes"));
        }
        let (mut pieces, mut fields, mut rest) = (Vec::new(), 0, text);
        loop {
            let (before, after) = match rest.split_once("{{") {
                Some((before, after)) => (before, Some(after)),
                None => (rest, None),
            };
            if before.contains("}}") {
                return invalid("must have `{{` before each `}}`".to_owned());
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            let Some(after) = after else {
                return Ok(Self(pieces));
            };
            let Some((name, after)) = after.split_once("}}") else {
                return invalid("must have `}}` after each `{{`".to_owned());
            };
            let Some(field) = Field::from_name(name.trim()) else {
                return invalid(format!("in double braces {}", Field::unknown()));
            };
            fields += 1;
            if fields > MAX_FIELDS {
                return invalid(format!("must have at most {MAX_FIELDS} fields"));
            }
            pieces.push(Piece::Field(field));
            rest = after;
        }
    }

    /// The text with the values of the fields. `None` if one of them is unknown. Values are never read as templates.
    ///
    /// Null and an empty list are "none". Times are RFC 3339 with the offset of the rule's timezone, lists are joined
    /// by ", ", users are their ids, and other values are as in conditions.
    pub fn render(&self, facts: &Facts) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Field(field) => push(&mut text, facts.get(field), field.definition().kind, facts)?,
            }
        }
        Some(text)
    }

    /// The groups of facts that it reads.
    pub fn needs(&self) -> Needs {
        self.0.iter().fold(Needs::NONE, |needs, piece| match piece {
            Piece::Text(_) => needs,
            Piece::Field(field) => needs | field.needs(),
        })
    }
}

fn push(text: &mut String, fact: Fact<'_>, kind: Kind, facts: &Facts) -> Option<()> {
    match fact {
        Fact::Unknown => return None,
        Fact::NoParent | Fact::Null => text.push_str(NOTHING),
        Fact::Bool(value) => text.push_str(if value { "true" } else { "false" }),
        Fact::Number(value) => text.push_str(&number(value).to_string()),
        Fact::Text(value) => text.push_str(value),
        Fact::Choice(index) => text.push_str(choice_name(kind, index)),
        Fact::Person(id) => text.push_str(&id.to_string()),
        Fact::People(ids) => push_list(text, ids.iter().map(ToString::to_string)),
        Fact::Texts(texts) => push_list(text, texts.iter()),
        Fact::Time(time) => {
            text.push_str(&time.with_timezone(&facts.timezone).to_rfc3339_opts(SecondsFormat::Secs, true));
        }
        Fact::Json(serde_json::Value::Array(items)) => {
            push_list(text, items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)));
        }
        Fact::Json(value) => text.push_str(&value.to_string()),
    }
    Some(())
}

fn push_list(text: &mut String, items: impl Iterator<Item = impl AsRef<str>>) {
    let start = text.len();
    for (index, item) in items.enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(item.as_ref());
    }
    if text.len() == start {
        text.push_str(NOTHING);
    }
}
