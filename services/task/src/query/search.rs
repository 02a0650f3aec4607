//! Parsing of search queries, and languages.

use baton_errors::{Error, Result};

use crate::task::fields::text;

/// Maximum number of tasks that one search ranks.
pub(crate) const MAX_RANKED: i32 = 1_000;
/// Maximum number of candidates of a list with `search`.
pub(crate) const MAX_LISTED: i32 = 10_000;

/// Languages with word forms in Postgres, and the names of their configurations.
const LANGUAGES: &[(&str, &str)] = &[
    ("ar", "arabic"),
    ("ca", "catalan"),
    ("da", "danish"),
    ("de", "german"),
    ("el", "greek"),
    ("en", "english"),
    ("es", "spanish"),
    ("eu", "basque"),
    ("fi", "finnish"),
    ("fr", "french"),
    ("ga", "irish"),
    ("hi", "hindi"),
    ("hu", "hungarian"),
    ("hy", "armenian"),
    ("id", "indonesian"),
    ("it", "italian"),
    ("lt", "lithuanian"),
    ("ne", "nepali"),
    ("nl", "dutch"),
    ("no", "norwegian"),
    ("pt", "portuguese"),
    ("ro", "romanian"),
    ("ru", "russian"),
    ("sr", "serbian"),
    ("sv", "swedish"),
    ("ta", "tamil"),
    ("tr", "turkish"),
    ("yi", "yiddish"),
];

/// A word, a compound, or adjacent words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    pub(crate) text: String,
    /// The alternative that the term belongs to. All terms of one alternative must match, and one alternative suffices.
    pub(crate) alternative: i32,
    /// Excludes tasks with this term.
    pub(crate) is_negated: bool,
}

/// A parsed query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SearchTerms {
    /// The query as typed.
    pub(crate) typed: String,
    pub(crate) terms: Vec<Term>,
    /// The last term may be incomplete.
    pub(crate) is_open: bool,
}

impl SearchTerms {
    /// Parses a query with the syntax of web search engines: `two words`, `"two words"` adjacent, `-word`, `one or
    /// other`. `field` names it in errors.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn parse(typed: &str, field: &str) -> Result<Self> {
        let typed = text(typed.trim().to_owned(), field)?;
        let mut terms: Vec<Term> = Vec::new();
        let (mut alternative, mut is_open, mut after_or) = (0, false, false);
        let mut rest = typed.as_str();
        while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
            rest = &rest[start..];
            let after_minus = rest.strip_prefix('-').filter(|after| after.starts_with(|c: char| !c.is_whitespace()));
            let is_negated = after_minus.is_some();
            rest = after_minus.unwrap_or(rest);
            let term = if let Some(quoted) = rest.strip_prefix('"') {
                let (term, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                (rest, is_open) = (after, false);
                term
            } else {
                let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
                let (term, after) = rest.split_at(end);
                // Punctuation ends a word.
                (rest, is_open) = (after, !is_negated && !term.ends_with(|c: char| c.is_ascii_punctuation()));
                // `or` between two terms is an operator; elsewhere it is a term.
                if !is_negated
                    && term.eq_ignore_ascii_case("or")
                    && !terms.is_empty()
                    && !after_or
                    && !after.trim().is_empty()
                {
                    after_or = true;
                    continue;
                }
                term
            };
            if after_or {
                (alternative, after_or) = (alternative + 1, false);
            }
            terms.push(Term { text: term.to_owned(), alternative, is_negated });
        }
        Ok(Self { typed, terms, is_open })
    }
}

/// The text search configuration of a language (BCP 47). Subtags after the first are ignored.
///
/// # Errors
/// VALIDATION_FAILED for an unknown language.
pub(crate) fn text_search_config(language: &str) -> Result<String> {
    if language.is_empty() {
        return Ok("pg_catalog.simple".to_owned());
    }
    let primary = language.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let known = LANGUAGES.iter().find(|(tag, _)| *tag == primary);
    known
        .map(|(_, name)| format!("pg_catalog.{name}"))
        .ok_or_else(|| Error::invalid("language", "is not one whose word forms are known"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(typed: &str) -> (Vec<String>, bool) {
        let words = SearchTerms::parse(typed, "q").unwrap();
        let mut formatted: Vec<String> = Vec::new();
        for (n, term) in words.terms.iter().enumerate() {
            if n > 0 && words.terms[n - 1].alternative != term.alternative {
                formatted.push("|".to_owned());
            }
            formatted.push(format!("{}{}", if term.is_negated { "!" } else { "" }, term.text));
        }
        (formatted, words.is_open)
    }

    #[test]
    fn queries_are_parsed_like_web_searches() {
        for (typed, expected, is_open) in [
            ("broom", &["broom"][..], true),
            ("  new   broom ", &["new", "broom"], true),
            ("new -broom", &["new", "!broom"], false),
            ("\"new broom", &["new broom"], false),
            ("\"new broom\"", &["new broom"], false),
            ("\"new broom\" sw", &["new broom", "sw"], true),
            ("-\"new broom\" sw", &["!new broom", "sw"], true),
            ("new\"broom\"", &["new", "broom"], false),
            ("broom or mop", &["broom", "|", "mop"], true),
            ("a b OR c d", &["a", "b", "|", "c", "d"], true),
            ("broom or", &["broom", "or"], true),
            ("or broom", &["or", "broom"], true),
            ("a or or b", &["a", "|", "or", "b"], true),
            ("dev-east", &["dev-east"], true),
            ("100%", &["100%"], false),
            ("dev - east", &["dev", "-", "east"], true),
            ("über", &["über"], true),
            ("", &[], false),
        ] {
            let expected: Vec<String> = expected.iter().map(|&term| term.to_owned()).collect();
            assert_eq!(terms(typed), (expected, is_open), "{typed}");
        }
        assert!(SearchTerms::parse("a\0", "q").is_err());
    }

    #[test]
    fn language_is_determined_by_its_first_subtag() {
        assert_eq!(text_search_config("de-AT").unwrap(), "pg_catalog.german");
        assert_eq!(text_search_config("PT").unwrap(), "pg_catalog.portuguese");
        assert_eq!(text_search_config("").unwrap(), "pg_catalog.simple");
        assert!(text_search_config("tlh").is_err());
    }

    proptest! {
        #[test]
        fn no_letter_of_a_query_is_lost(typed in "[a-z\" -]{0,20}") {
            let words = SearchTerms::parse(&typed, "q").unwrap();
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            let letters_kept: String = words.terms.iter().map(|term| letters(&term.text)).collect();
            let ors = words.terms.last().map_or(0, |term| term.alternative) as usize;
            prop_assert_eq!(letters_kept.len() + 2 * ors, letters(&typed).len());
        }
    }
}
