//! What people look for, and where it was found.

use anyhow::Context as _;
use baton_errors::{Error, Result};
use baton_proto::baton::task::v1::{Highlight, HighlightPart};
use baton_store::{Db, jobs::Job};
use uuid::Uuid;

use crate::{store, task::fields::text};

/// Tasks that one search ranks.
pub(crate) const RANKED: i32 = 1_000;
/// Tasks that a list with words to search for looks among.
pub(crate) const LISTED: i32 = 10_000;
/// Job: read an account's tasks anew, in another language.
pub(crate) const REINDEX: &str = "search.reindex";
/// Tasks that are read with a statement.
const BATCH: i64 = 500;

/// The marks around what was found. They are taken out of texts before, so a text cannot pretend.
pub(crate) const MARKS: [char; 2] = ['\u{2}', '\u{3}'];

/// Languages with word forms that Postgres knows, and what it calls them.
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

/// Words to look for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Words {
    /// As web search engines read them.
    pub(crate) typed: String,
    /// The last one, which may go on; empty when it is no plain word.
    pub(crate) last: String,
}

impl Words {
    /// What somebody typed into `field`.
    ///
    /// # Errors
    /// VALIDATION_FAILED.
    pub(crate) fn of(typed: &str, field: &str) -> Result<Self> {
        let typed = text(typed.trim().to_owned(), field)?;
        let (before, last) = typed.rsplit_once(char::is_whitespace).unwrap_or(("", &typed));
        let quoted = before.matches('"').count() % 2 == 1;
        let joined = before.split_whitespace().next_back().is_some_and(|word| word.eq_ignore_ascii_case("or"));
        let plain = !last.is_empty() && last.chars().all(char::is_alphanumeric) && !last.eq_ignore_ascii_case("or");
        if plain && !quoted && !joined {
            return Ok(Self { typed: before.trim_end().to_owned(), last: last.to_owned() });
        }
        Ok(Self { typed, last: String::new() })
    }

    /// All of it.
    pub(crate) fn all(&self) -> String {
        format!("{} {}", self.typed, self.last).trim().to_owned()
    }
}

/// What Postgres calls the configuration for a language (BCP 47); what follows the first hyphen has no say.
///
/// # Errors
/// VALIDATION_FAILED for a language that is not known.
pub(crate) fn configuration(language: &str) -> Result<String> {
    if language.is_empty() {
        return Ok("pg_catalog.simple".to_owned());
    }
    let primary = language.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let known = LANGUAGES.iter().find(|(tag, _)| *tag == primary);
    known
        .map(|(_, name)| format!("pg_catalog.{name}"))
        .ok_or_else(|| Error::invalid("language", "is not one whose word forms are known"))
}

/// A marked text, cut at its marks; `None` when nothing in it is marked.
pub(crate) fn highlight(field: &str, marked: &str) -> Option<Highlight> {
    let [begin, end] = MARKS;
    if !marked.contains(begin) {
        return None;
    }
    let mut parts = Vec::new();
    let mut add = |text: &str, hit| {
        if !text.is_empty() {
            parts.push(HighlightPart { text: text.to_owned(), hit });
        }
    };
    for piece in marked.split(end) {
        let (before, hit) = piece.split_once(begin).unwrap_or((piece, ""));
        add(before, false);
        add(hit, true);
    }
    Some(Highlight { field: field.to_owned(), parts })
}

/// Does the job. Each statement commits by itself, so one that runs again does the same once more.
pub(crate) async fn reindex(db: Db, job: Job) -> anyhow::Result<()> {
    let account_id: Uuid = job.payload()?;
    let mut after = Some(Uuid::nil());
    while let Some(last) = after {
        after = store::search::reindex(&db, account_id, last, BATCH).await.context("reading tasks anew")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(typed: &str) -> (String, String) {
        let words = Words::of(typed, "q").unwrap();
        (words.typed, words.last)
    }

    #[test]
    fn the_last_word_may_go_on_when_it_is_a_plain_one() {
        for (typed, before, last) in [
            ("broom", "", "broom"),
            ("  new   broom ", "new", "broom"),
            ("new -broom", "new -broom", ""),
            ("\"new broom", "\"new broom", ""),
            ("\"new broom\"", "\"new broom\"", ""),
            ("\"new broom\" sw", "\"new broom\"", "sw"),
            ("broom or mop", "broom or mop", ""),
            ("broom or", "broom or", ""),
            ("100%", "100%", ""),
            ("über", "", "über"),
        ] {
            assert_eq!(words(typed), (before.to_owned(), last.to_owned()), "{typed}");
        }
        assert!(Words::of("a\0", "q").is_err());
    }

    #[test]
    fn languages_are_known_by_their_first_subtag() {
        assert_eq!(configuration("de-AT").unwrap(), "pg_catalog.german");
        assert_eq!(configuration("PT").unwrap(), "pg_catalog.portuguese");
        assert_eq!(configuration("").unwrap(), "pg_catalog.simple");
        assert!(configuration("tlh").is_err());
    }

    proptest! {
        #[test]
        fn a_highlight_is_the_whole_text_in_order(pieces in prop::collection::vec(("[a-z<&]{0,5}", any::<bool>()), 1..8)) {
            let [begin, end] = MARKS;
            let marked: String = pieces
                .iter()
                .map(|(text, hit)| if *hit { format!("{begin}{text}{end}") } else { text.clone() })
                .collect();
            let plain: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
            match highlight("title", &marked) {
                Some(found) => {
                    let read: String = found.parts.iter().map(|part| part.text.as_str()).collect();
                    prop_assert_eq!(read, plain);
                    let hits: String = found.parts.iter().filter(|part| part.hit).map(|part| part.text.as_str()).collect();
                    let expected: String = pieces.iter().filter(|(_, hit)| *hit).map(|(text, _)| text.as_str()).collect();
                    prop_assert_eq!(hits, expected);
                }
                None => prop_assert!(pieces.iter().all(|(_, hit)| !hit)),
            }
        }
    }
}
