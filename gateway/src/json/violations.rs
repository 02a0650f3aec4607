//! The violations of a request, by field.

use std::fmt;

/// Maximum listed violations: more would make the response larger than the request.
const MAX_VIOLATIONS: usize = 20;
/// Maximum length of an unknown field's name in the response, in characters.
const MAX_NAME_LEN: usize = 100;

/// All violations of a request.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    found: Vec<Violation>,
    omitted: usize,
    any_unknown: bool,
}

/// One invalid field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The field's path: `tags[3].name`.
    pub(crate) field: String,
    /// The problem; completes "`field` ...".
    pub(crate) message: String,
}

impl Violations {
    /// Adds a field with an invalid value.
    pub(crate) fn invalid(&mut self, field: impl fmt::Display, message: impl Into<String>) {
        if self.found.len() < MAX_VIOLATIONS {
            self.found.push(Violation { field: field.to_string(), message: message.into() });
        } else {
            self.omitted += 1;
        }
    }

    /// Adds an unknown field or query parameter.
    pub(crate) fn unknown(&mut self, field: impl fmt::Display) {
        self.any_unknown = true;
        let name: String = field.to_string().chars().take(MAX_NAME_LEN).collect();
        self.invalid(name, "is unknown");
    }

    /// Whether there is an unknown field.
    pub(crate) fn any_unknown(&self) -> bool {
        self.any_unknown
    }

    /// Whether there are no violations.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Number of violations that are not listed.
    pub(crate) fn omitted(&self) -> usize {
        self.omitted
    }

    /// Returns the violations, in the order in which they were found.
    pub(crate) fn into_vec(self) -> Vec<Violation> {
        self.found
    }
}

/// A path in the request; formatted only for violations.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The body itself.
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
