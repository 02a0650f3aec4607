//! Text that users write, with one rule per kind of text.
//!
//! | rule | for | standard |
//! |---|---|---|
//! | [`line`] | titles, names of people, accounts, keys, fields | Unicode NFC (UAX #15), UTS #39 for invisible characters |
//! | [`name`] | names that are compared: tags, saved views | NFKC; equality by [`fold`] (NFKC_Casefold, UAX #31) |
//! | [`text`] | comments, descriptions, reasons, notes | NFC; line breaks as LF (Unicode 5.8) |
//! | [`query`] | search terms | NFC; never rejected |
//! | [`file_name`] | names of attachments | [`line`], without a path |
//! | [`email::Address`] | e-mail addresses | RFC 5321, RFC 6531, UTS #46 |
//! | [`phone`] | phone numbers | E.164, separators of RFC 3966 |
//! | [`password`] | passwords, before hashing | OpaqueString, RFC 8265 |
//! | [`handle`], [`slug`] | names of members and accounts in mentions and URLs | ASCII, and a list of reserved names |
//!
//! Every rule is idempotent: its result passes it unchanged. The contract names the rule of a field
//! (`baton.text.v1.kind`), and the codec of `baton-proto` applies it when it decodes a request. So handlers see, store,
//! compare and search one form only.
//!
//! **Lengths** are in characters, that is Unicode scalar values, after normalization. `buf.validate` and Postgres'
//! `char_length` count the same way.

mod characters;
pub mod email;
pub mod handle;
pub mod mail;
pub mod password;
pub mod person;
pub mod phone;
pub mod slug;
mod visible;

use std::fmt;

pub use visible::{file_name, fold, line, name, query, text};

/// Why a rule rejects a value: the end of a sentence that begins with the field name. It never contains the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem(&'static str);

impl Problem {
    /// A number that protobuf doubles allow and JSON does not.
    pub const NOT_A_NUMBER: Self = Self::new("must not contain NaN or infinity");

    pub(crate) const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Problem {}

impl From<Problem> for String {
    fn from(problem: Problem) -> Self {
        problem.0.to_owned()
    }
}

/// A rule, by its name in the contract (`baton.text.v1.Kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`line`]
    Line,
    /// [`name`]
    Name,
    /// [`text`]
    Text,
    /// [`query`]
    Query,
    /// [`file_name`]
    FileName,
    /// [`email::Address`]
    Email,
    /// [`phone::parse`]
    Phone,
}

impl Kind {
    /// Normalizes a value. An empty value, or one of only white space, becomes empty and passes: another rule
    /// (`min_len`) decides whether the field may be empty.
    ///
    /// # Errors
    /// If the rule rejects the value, which then stays unchanged.
    pub fn apply(self, value: &mut String) -> Result<(), Problem> {
        if value.is_empty() {
            return Ok(());
        }
        if characters::is_blank(value) {
            value.clear();
            return Ok(());
        }
        let normal = match self {
            Self::Line => line(value)?,
            Self::Name => name(value)?,
            Self::Text => text(value)?,
            // Postgres and JSON disagree about NUL, and nobody types it.
            Self::Query if value.contains('\0') => return Err(visible::CONTROL_IN_TEXT),
            Self::Query => query(value),
            Self::FileName => file_name(value)?,
            Self::Email => value.parse::<email::Address>()?.to_string(),
            Self::Phone => phone::parse(value)?,
        };
        *value = normal;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Kind; 7] = [Kind::Line, Kind::Name, Kind::Text, Kind::Query, Kind::FileName, Kind::Email, Kind::Phone];

    #[test]
    fn blank_value_becomes_empty() {
        for kind in ALL {
            for blank in ["", " ", "\t\r\n", "\u{a0}\u{3000}\u{2028}"] {
                let mut value = blank.to_owned();
                kind.apply(&mut value).unwrap();
                assert_eq!(value, "", "{kind:?} {blank:?}");
            }
        }
    }

    #[test]
    fn rejected_value_stays_unchanged() {
        let mut value = " a\u{1b} ".to_owned();
        Kind::Line.apply(&mut value).unwrap_err();
        assert_eq!(value, " a\u{1b} ");
    }

    proptest! {
        #[test]
        fn every_rule_is_idempotent(value in any::<String>(), kind in prop::sample::select(ALL.to_vec())) {
            let mut once = value;
            if kind.apply(&mut once).is_ok() {
                let mut twice = once.clone();
                prop_assert_eq!(kind.apply(&mut twice), Ok(()));
                prop_assert_eq!(once, twice);
            }
        }
    }
}
