//! Highlights of search hits.
//!
//! Postgres finds the tasks; this marks the words in their texts. It tokenizes texts as `task.search_words` does
//! (migration 0017), and keeps the position of each token. Its cost is bounded per task and per page.

use std::{collections::HashMap, ops::Range};

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::char::{decompose_compatible, is_combining_mark};
use uuid::Uuid;

use crate::query::search::SearchTerms;

/// Maximum length of a searched description, in characters.
pub(crate) const MAX_DESCRIPTION_CHARS: i32 = 5_000;
/// Maximum length of a searched comment, in characters.
pub(crate) const MAX_COMMENT_CHARS: i32 = 2_000;
/// Searched comments per task, newest first.
const MAX_COMMENTS_OF_A_TASK: i64 = 10;
/// Searched comments per page.
const MAX_COMMENTS_OF_A_PAGE: i64 = 200;
/// Maximum number of extracts of a long text, followed by their words before the first hit and in total.
const MAX_EXTRACTS: usize = 2;
const WORDS_BEFORE: usize = 8;
const WORDS_OF_AN_EXTRACT: usize = 20;
/// Separator of two extracts.
const GAP: &str = " … ";

/// Searched comments per task on a page with this many tasks.
pub(crate) fn comments_each(tasks: usize) -> i64 {
    let tasks = i64::try_from(tasks).unwrap_or(i64::MAX).max(1);
    (MAX_COMMENTS_OF_A_PAGE / tasks).clamp(1, MAX_COMMENTS_OF_A_TASK)
}

/// The texts of a hit.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) id: Uuid,
    pub(crate) title: String,
    /// Beginning of the description.
    pub(crate) description: String,
    /// Beginnings of the comments, newest first.
    pub(crate) comments: Vec<String>,
    /// The account's text search configuration, such as `english`.
    pub(crate) config: String,
}

/// A text of a hit, or extracts of it, with its hits marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Highlight {
    /// `title`, `description` or `comment`.
    pub(crate) field: &'static str,
    pub(crate) parts: Vec<HighlightPart>,
}

/// A part of a highlight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HighlightPart {
    pub(crate) text: String,
    pub(crate) hit: bool,
}

/// Highlights of these tasks.
pub(crate) fn of_tasks(words: &SearchTerms, tasks: Vec<Texts>) -> HashMap<Uuid, Vec<Highlight>> {
    let Some(config) = tasks.first().map(|task| task.config.clone()) else { return HashMap::new() };
    let finder = Finder::new(words, &config);
    let of_task = |task: Texts| {
        let Texts { id, title, description, comments, .. } = task;
        let comment = || comments.iter().find_map(|body| finder.extract("comment", body));
        let found = [finder.mark_all("title", &title), finder.extract("description", &description), comment()];
        (id, found.into_iter().flatten().collect())
    };
    tasks.into_iter().map(of_task).collect()
}

/// A folded word, or a part of a compound word.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    text: String,
    /// Its byte range in the text.
    at: Range<usize>,
    /// A single character of a script without spaces.
    is_lone: bool,
    /// It directly follows the previous token.
    is_joined: bool,
}

/// A term of the query.
struct SearchedTerm {
    tokens: Vec<Token>,
    stems: Vec<Option<String>>,
    is_open: bool,
}

struct Finder {
    terms: Vec<SearchedTerm>,
    stemmer: Option<Stemmer>,
}

impl Finder {
    fn new(words: &SearchTerms, config: &str) -> Self {
        let stemmer = algorithm(config.trim_start_matches("pg_catalog.")).map(Stemmer::create);
        let last = words.terms.len().saturating_sub(1);
        let positive = words.terms.iter().enumerate().filter(|(_, term)| !term.is_negated);
        let mut terms = Vec::new();
        for (n, term) in positive {
            let parts = tokens(&term.text);
            let compounds = joined(&parts);
            let mut readings = vec![parts];
            readings.extend((compounds != readings[0]).then_some(compounds));
            for tokens in readings.into_iter().filter(|tokens| !tokens.is_empty()) {
                let stems = tokens.iter().map(|token| stem(stemmer.as_ref(), token)).collect();
                terms.push(SearchedTerm { tokens, stems, is_open: words.is_open && n == last });
            }
        }
        Self { terms, stemmer }
    }

    /// The whole text with marked hits; `None` without a hit.
    fn mark_all(&self, field: &'static str, text: &str) -> Option<Highlight> {
        let marks = self.marks(text, &tokens(text));
        let mut parts = Parts::default();
        parts.add(text, 0..text.len(), &marks);
        (!marks.is_empty()).then_some(Highlight { field, parts: parts.0 })
    }

    /// Extracts of the text around the first hits; `None` without a hit.
    fn extract(&self, field: &'static str, text: &str) -> Option<Highlight> {
        let tokens = tokens(text);
        let marks = self.marks(text, &tokens);
        let mut parts = Parts::default();
        let mut end = 0;
        for _ in 0..MAX_EXTRACTS {
            // The first token after the extracts so far.
            let from = tokens.get(end).map_or(text.len(), |token| token.at.start);
            let Some(mark) = marks.iter().find(|mark| mark.start >= from) else { break };
            let first = tokens.partition_point(|token| token.at.start < mark.start);
            let begin = first.saturating_sub(WORDS_BEFORE).max(end);
            if begin > end || end == 0 && begin > 0 {
                parts.push(GAP, false);
            }
            let begins_at = if begin == 0 { 0 } else { tokens[begin].at.start };
            end = (begin + WORDS_OF_AN_EXTRACT).min(tokens.len());
            let ends_at = if end == tokens.len() { text.len() } else { tokens[end - 1].at.end };
            parts.add(text, begins_at..ends_at, &marks);
        }
        (!marks.is_empty()).then_some(Highlight { field, parts: parts.0 })
    }

    /// Ranges of the hits, in order. Adjacent ranges are merged.
    fn marks(&self, text: &str, tokens: &[Token]) -> Vec<Range<usize>> {
        let compounds = joined(tokens);
        let mut marks: Vec<Range<usize>> = Vec::new();
        for tokens in [tokens, &compounds] {
            let stems: Vec<Option<String>> = tokens.iter().map(|token| stem(self.stemmer.as_ref(), token)).collect();
            for terms in &self.terms {
                let size = terms.tokens.len();
                let fits = (0..(tokens.len() + 1).saturating_sub(size))
                    .filter(|&n| terms.is_at(&tokens[n..n + size], &stems[n..n + size]));
                marks.extend(fits.flat_map(|n| tokens[n..n + size].iter().map(|token| token.at.clone())));
            }
        }
        marks.sort_by_key(|mark| (mark.start, mark.end));
        marks.dedup_by(|next, before| {
            let touches = next.start <= before.end;
            if touches {
                before.end = before.end.max(next.end);
            }
            touches
        });
        debug_assert!(marks.iter().all(|mark| text.get(mark.clone()).is_some()));
        marks
    }
}

impl SearchedTerm {
    fn is_at(&self, tokens: &[Token], stems: &[Option<String>]) -> bool {
        let last = self.tokens.len() - 1;
        self.tokens.iter().enumerate().all(|(n, terms)| {
            tokens[n].text == terms.text
                || self.is_open && n == last && !terms.is_lone && tokens[n].text.starts_with(&terms.text)
                || self.stems[n].is_some() && self.stems[n] == stems[n]
        })
    }
}

/// Builds a highlight; neighbouring parts of one kind are merged.
#[derive(Default)]
struct Parts(Vec<HighlightPart>);

impl Parts {
    fn push(&mut self, text: &str, hit: bool) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(last) if last.hit == hit => last.text.push_str(text),
            _ => self.0.push(HighlightPart { text: text.to_owned(), hit }),
        }
    }

    /// Adds this range of the text.
    fn add(&mut self, text: &str, range: Range<usize>, marks: &[Range<usize>]) {
        let mut at = range.start;
        for mark in marks.iter().filter(|mark| mark.start < range.end && mark.end > range.start) {
            let (start, end) = (mark.start.max(at), mark.end.min(range.end));
            self.push(&text[at..start], false);
            self.push(&text[start..end], true);
            at = end;
        }
        self.push(&text[at..range.end], false);
    }
}

/// The class of a character for tokenization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CharClass {
    Separator,
    /// An accent or an invisible character: belongs to the character before it.
    Mark,
    /// A character of a script without spaces, or a pictograph.
    Lone,
    Large,
    Small,
    Digit,
    /// Any other letter.
    Letter,
}

impl CharClass {
    fn of(c: char) -> Self {
        match c {
            '\u{300}'..='\u{36f}'
            | '\u{591}'..='\u{5bd}'
            | '\u{610}'..='\u{61a}'
            | '\u{64b}'..='\u{65f}'
            | '\u{640}'
            | '\u{670}'
            | '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}' => Self::Mark,
            '\u{30fb}' => Self::Separator,
            '\u{e00}'..='\u{109f}'
            | '\u{1100}'..='\u{11ff}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{2600}'..='\u{27bf}'
            | '\u{2b00}'..='\u{2bff}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3041}'..='\u{318f}'
            | '\u{3200}'..='\u{a4cf}'
            | '\u{ac00}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff66}'..='\u{ff9f}'
            | '\u{1f000}'..='\u{1faff}'
            | '\u{20000}'..='\u{3ffff}' => Self::Lone,
            c if c.is_uppercase() => Self::Large,
            c if c.is_lowercase() => Self::Small,
            c if c.is_numeric() => Self::Digit,
            c if c.is_alphabetic() || is_combining_mark(c) => Self::Letter,
            _ => Self::Separator,
        }
    }

    fn is_cased(self) -> bool {
        matches!(self, Self::Large | Self::Small)
    }
}

/// The words of a text, and the parts of compound words: fooBar, HTTPServer, v2.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut before = CharClass::Separator;
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let end = start + c.len_utf8();
        let kind = CharClass::of(c);
        match kind {
            CharClass::Separator => before = kind,
            CharClass::Mark => {
                if let (Some(last), true) = (tokens.last_mut(), before != CharClass::Separator) {
                    last.at.end = end;
                }
            }
            _ => {
                let next = chars.peek().map_or(CharClass::Separator, |&(_, next)| CharClass::of(next));
                let is_boundary = kind == CharClass::Large
                    && (before == CharClass::Small || before == CharClass::Large && next == CharClass::Small)
                    || kind == CharClass::Digit && before.is_cased()
                    || kind.is_cased() && before == CharClass::Digit;
                let is_apart = matches!(before, CharClass::Separator | CharClass::Lone) || kind == CharClass::Lone;
                match tokens.last_mut() {
                    Some(last) if !is_apart && !is_boundary => {
                        fold(c, &mut last.text);
                        last.at.end = end;
                    }
                    _ => {
                        let mut text = String::new();
                        fold(c, &mut text);
                        let is_lone = kind == CharClass::Lone;
                        tokens.push(Token { text, at: start..end, is_lone, is_joined: !is_apart });
                    }
                }
                before = kind;
            }
        }
    }
    tokens
}

/// Tokens with compound words merged into one.
fn joined(tokens: &[Token]) -> Vec<Token> {
    let mut compounds: Vec<Token> = Vec::with_capacity(tokens.len());
    for token in tokens {
        match compounds.last_mut() {
            Some(joined) if token.is_joined => {
                joined.text.push_str(&token.text);
                joined.at.end = token.at.end;
            }
            _ => compounds.push(Token { is_joined: false, ..token.clone() }),
        }
    }
    compounds
}

/// Folds case, accents and compatibility forms.
fn fold(c: char, to: &mut String) {
    decompose_compatible(c, |c| {
        if CharClass::of(c) == CharClass::Mark {
            return;
        }
        for c in c.to_lowercase().filter(|&c| CharClass::of(c) != CharClass::Mark) {
            match c {
                'ß' => to.push_str("ss"),
                'æ' => to.push_str("ae"),
                'œ' => to.push_str("oe"),
                'þ' => to.push_str("th"),
                'ø' => to.push('o'),
                'đ' | 'ð' => to.push('d'),
                'ħ' => to.push('h'),
                'ı' => to.push('i'),
                'ł' => to.push('l'),
                'ŧ' => to.push('t'),
                'ς' => to.push('σ'),
                c => to.push(c),
            }
        }
    });
}

fn stem(stemmer: Option<&Stemmer>, token: &Token) -> Option<String> {
    let stemmer = stemmer.filter(|_| !token.is_lone)?;
    Some(stemmer.stem(&token.text).into_owned())
}

/// The stemmer for a text search configuration. Without one, words match unstemmed.
fn algorithm(config: &str) -> Option<Algorithm> {
    Some(match config {
        "arabic" => Algorithm::Arabic,
        "danish" => Algorithm::Danish,
        "dutch" => Algorithm::Dutch,
        "english" => Algorithm::English,
        "finnish" => Algorithm::Finnish,
        "french" => Algorithm::French,
        "german" => Algorithm::German,
        "greek" => Algorithm::Greek,
        "hungarian" => Algorithm::Hungarian,
        "italian" => Algorithm::Italian,
        "norwegian" => Algorithm::Norwegian,
        "portuguese" => Algorithm::Portuguese,
        "romanian" => Algorithm::Romanian,
        "russian" => Algorithm::Russian,
        "spanish" => Algorithm::Spanish,
        "swedish" => Algorithm::Swedish,
        "tamil" => Algorithm::Tamil,
        "turkish" => Algorithm::Turkish,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finder(q: &str, config: &str) -> Finder {
        Finder::new(&SearchTerms::parse(q, "q").unwrap(), config)
    }

    fn hits(highlight: Option<Highlight>) -> Vec<String> {
        let parts = highlight.map(|highlight| highlight.parts).unwrap_or_default();
        parts.into_iter().filter(|part| part.hit).map(|part| part.text).collect()
    }

    #[test]
    fn all_forms_of_a_term_are_marked() {
        for (q, text, marked) in [
            ("sweep", "Sweep the yard, sweeping", &["Sweep", "sweeping"][..]),
            ("yard swe", "Sweep the yard", &["Sweep", "yard"]),
            ("sweep -yard", "Sweep the yard", &["Sweep"]),
            ("\"the yard\"", "the sweep of the yard", &["the", "yard"]),
            ("dev-east", "east germany-dev-east dev", &["dev", "east"]),
            ("4711", "JIRA-4711 x4711y", &["4711", "4711"]),
            ("cafe", "Café menu", &["Café"]),
            ("café", "cafe\u{301} menu", &["cafe\u{301}"]),
            ("strasse", "Die Straße", &["Straße"]),
            ("user", "getUserName", &["User"]),
            ("github", "GitHub", &["GitHub"]),
            ("GitHub", "github gitHub", &["github", "gitHub"]),
            ("準備", "来週の会議の準備", &["準備"]),
            ("회의", "주간회의를", &["회의"]),
            ("istanbul", "İstanbul", &["İstanbul"]),
            ("final", "ﬁnal", &["ﬁnal"]),
            ("mop", "Sweep", &[]),
        ] {
            assert_eq!(hits(finder(q, "english").mark_all("title", text)), marked, "{q} in {text}");
        }
        assert_eq!(hits(finder("streichst", "german").mark_all("title", "Häuser streichen")), ["streichen"]);
        assert!(hits(finder("sweeping", "simple").mark_all("title", "sweep")).is_empty());
    }

    #[test]
    fn extract_is_short_and_contains_the_hit() {
        let long = format!("{}broom {}broom {}", "far ".repeat(60), "away ".repeat(60), "off ".repeat(60));
        let found = finder("broom", "english").extract("comment", &long).unwrap();
        assert_eq!(hits(Some(found.clone())), ["broom", "broom"]);
        let text: String = found.parts.iter().map(|part| part.text.as_str()).collect();
        assert!(text.len() < 250 && text.matches('…').count() == 2, "{text}");
    }

    #[test]
    fn searched_comments_per_page_are_bounded() {
        assert_eq!([0, 1, 20, 50, 100, 1_000].map(comments_each), [10, 10, 10, 4, 2, 1]);
        assert!((1..=100).all(|tasks| comments_each(tasks) * tasks as i64 <= MAX_COMMENTS_OF_A_PAGE));
    }

    proptest! {
        #[test]
        fn highlight_contains_the_whole_text_in_order(text in ".{0,60}", q in "[^\"\0-]{1,10}") {
            if let Some(found) = finder(&q, "english").mark_all("title", &text) {
                let read: String = found.parts.iter().map(|part| part.text.as_str()).collect();
                prop_assert_eq!(read, text);
                prop_assert!(found.parts.iter().any(|part| part.hit));
            }
        }

        #[test]
        fn every_word_of_a_text_is_found(words in prop::collection::vec("[a-zà-öø-ÿA-Z0-9準備会議]{1,8}", 1..6), n in any::<prop::sample::Index>()) {
            let text = words.join(" - ");
            let q = &words[n.index(words.len())];
            prop_assert!(finder(q, "english").mark_all("title", &text).is_some(), "{} in {}", q, text);
            prop_assert!(finder(q, "english").extract("comment", &text).is_some());
        }
    }
}
