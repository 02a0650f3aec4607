//! What people may write, with one rule per kind of text.
//!
//! | rule | for | standard |
//! |---|---|---|
//! | [`line`] | titles, names of people, accounts, keys, fields | Unicode NFC (UAX #15), UTS #39 for what is invisible |
//! | [`name`] | names that are compared: tags, saved views | NFKC; equality by [`fold`] (NFKC_Casefold, UAX #31) |
//! | [`text`] | comments, descriptions, reasons, notes | NFC; line breaks as LF (Unicode 5.8) |
//! | [`query`] | search words | NFC; refuses nothing |
//! | [`file_name`] | names of attachments | [`line`], and no path |
//! | [`email::Address`] | e-mail addresses | RFC 5321, RFC 6531, UTS #46 |
//! | [`phone`] | phone numbers | E.164, separators of RFC 3966 |
//! | [`password`] | passwords, before they are hashed | OpaqueString, RFC 8265 |
//! | [`handle`], [`slug`] | what members and accounts are addressed by | ASCII, and a list of reserved names |
//!
//! Every rule is idempotent: what it returns is returned unchanged when it is given again. The contract names the rule of a
//! field (`baton.text.v1.kind`), and the codec of `baton-proto` applies it when it decodes a request. So a handler sees,
//! stores, compares and searches one and the same form.
//!
//! **Lengths** are counted in characters, that is in Unicode scalar values, after normalisation. That is also what
//! `buf.validate` and Postgres' `char_length` count.

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

/// Why a rule refuses a value: the end of a sentence that begins with the name of the field. It never contains the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem(&'static str);

impl Problem {
    /// What protobuf's doubles have and JSON has not.
    pub const NOT_A_NUMBER: Self = Self::new("must not contain NaN or infinity");

    pub(crate) const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// The words.
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

/// A rule, as the contract names it in `baton.text.v1.Kind`.
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
    /// Brings a value into its normal form. A value that is empty, or is nothing but white space, becomes empty and passes:
    /// whether the field may be empty is another rule's question (`min_len`).
    ///
    /// # Errors
    /// When the rule refuses the value, which then stays as it was.
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
            // Postgres and JSON differ about it, and nobody types it.
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
    fn white_space_alone_is_as_good_as_nothing() {
        for kind in ALL {
            for blank in ["", " ", "\t\r\n", "\u{a0}\u{3000}\u{2028}"] {
                let mut value = blank.to_owned();
                kind.apply(&mut value).unwrap();
                assert_eq!(value, "", "{kind:?} {blank:?}");
            }
        }
    }

    #[test]
    fn refused_values_stay_as_they_were() {
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
