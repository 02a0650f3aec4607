//! What is wrong with a request, field by field.

use std::fmt;

/// Enough for anyone to mend a request; more would make the answer larger than the request.
const MAX_VIOLATIONS: usize = 20;
/// Longest name of an unknown field that is repeated to the caller, in characters.
const MAX_NAME_LEN: usize = 100;

/// All that is wrong with a request.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    found: Vec<Violation>,
    omitted: usize,
    any_unknown: bool,
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Where it is: `tags[3].name`.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

impl Violations {
    /// Notes a field whose value is wrong.
    pub(crate) fn invalid(&mut self, field: impl fmt::Display, message: impl Into<String>) {
        if self.found.len() < MAX_VIOLATIONS {
            self.found.push(Violation { field: field.to_string(), message: message.into() });
        } else {
            self.omitted += 1;
        }
    }

    /// Notes a field, or query parameter, that the call does not know.
    pub(crate) fn unknown(&mut self, field: impl fmt::Display) {
        self.any_unknown = true;
        let name: String = field.to_string().chars().take(MAX_NAME_LEN).collect();
        self.invalid(name, "is not known to this call");
    }

    /// Whether an unknown field is among them.
    pub(crate) fn any_unknown(&self) -> bool {
        self.any_unknown
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many more are wrong than are listed.
    pub(crate) fn omitted(&self) -> usize {
        self.omitted
    }

    /// The wrong fields, in the order in which they were found.
    pub(crate) fn into_vec(self) -> Vec<Violation> {
        self.found
    }
}

/// Where in the request the reader stands; made into text only when something is wrong there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The whole of the body.
    Root,
    /// A member of an object.
    Member(&'a Path<'a>, &'a str),
    /// An item of an array, from 0.
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Member(Path::Root, name) => f.write_str(name),
            Path::Member(parent, name) => write!(f, "{parent}.{name}"),
            Path::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
