//! The words of a text.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// A word, or a quoted part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    /// As it was written, without punctuation around it.
    pub(crate) text: &'a str,
    /// In lower case.
    pub(crate) lower: String,
    /// Where it begins in the text, and where it ends.
    pub(crate) span: (usize, usize),
    /// The punctuation mark after it.
    pub(crate) mark: Option<char>,
    /// Whether it stood in quotes.
    pub(crate) quoted: bool,
}

impl Word<'_> {
    /// Whether it ends a part of a sentence.
    pub(crate) fn ends_clause(&self) -> bool {
        self.mark.is_some()
    }

    /// Whether it is one of these.
    pub(crate) fn is_any(&self, of: &[&str]) -> bool {
        !self.quoted && of.contains(&self.lower.as_str())
    }
}

/// Pairs of quotation marks. A single quote opens at the beginning of a word only.
const QUOTES: [(char, char); 6] = [('"', '"'), ('“', '”'), ('„', '“'), ('«', '»'), ('‘', '’'), ('\'', '\'')];
/// Marks that end a part of a sentence.
const MARKS: [char; 8] = [',', '.', ';', ':', '!', '?', '…', '—'];

/// Splits a text into words.
pub(crate) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let trimmed = rest.trim_start();
        if trimmed.is_empty() {
            break;
        }
        at += rest.len() - trimmed.len();
        if let Some((inner, opening, length)) = quoted(trimmed) {
            let begins = at + opening;
            at += length;
            let (mark, marks) = mark(text.get(at..).unwrap_or_default());
            at += marks;
            words.push(Word {
                text: inner,
                lower: inner.to_lowercase(),
                span: (begins, begins + inner.len()),
                mark,
                quoted: true,
            });
            continue;
        }
        let length = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let raw = &trimmed[..length];
        let inner = raw.trim_start_matches(['(', '[', '"', '“', '„', '-', '–', '•', '*']);
        let begins = at + raw.len() - inner.len();
        if matches!(raw, "->" | "=>" | "→" | "=") {
            words.push(Word { text: raw, lower: "->".to_owned(), span: (at, at + length), mark: None, quoted: false });
            at += length;
            continue;
        }
        let core = inner.trim_end_matches(|c| MARKS.contains(&c) || matches!(c, ')' | ']' | '"' | '”' | '’'));
        let mark = inner[core.len()..].chars().find(|c| MARKS.contains(c));
        // The full stop of `1.12.` is the date's.
        let is_date = core.split('.').count() == 2
            && core.split('.').all(|part| matches!(part.len(), 1 | 2) && part.bytes().all(|c| c.is_ascii_digit()));
        let ends_text = text[at + length..].trim().is_empty();
        let mark = mark.filter(|mark| *mark != '.' || !is_date || ends_text);
        at += length;
        match core {
            // A dash between words.
            "" => {
                if let Some(last) = words.last_mut()
                    && matches!(raw, "-" | "–" | "—")
                {
                    last.mark = last.mark.or(Some('—'));
                }
            }
            core => words.push(Word {
                text: core,
                lower: spelt(core.to_lowercase().replace('’', "'")),
                span: (begins, begins + core.len()),
                mark,
                quoted: false,
            }),
        }
    }
    words
}

/// Common misspellings of words of time.
fn spelt(word: String) -> String {
    match word.as_str() {
        "tommorow" | "tommorrow" | "tomorow" | "tomorrw" | "tomorro" | "tmrw" | "tmr" | "2morrow" | "tomoro" => {
            "tomorrow".to_owned()
        }
        "wendesday" | "wednsday" | "wensday" => "wednesday".to_owned(),
        "thrusday" | "thurday" => "thursday".to_owned(),
        "firday" | "fryday" => "friday".to_owned(),
        "teh" => "the".to_owned(),
        "wht's" | "wats" | "whats" => "what's".to_owned(),
        _ => word,
    }
}

/// What a text begins with in quotes, the length of the opening one, and the length with both.
fn quoted(text: &str) -> Option<(&str, usize, usize)> {
    let first = text.chars().next()?;
    let (open, close) = QUOTES.into_iter().find(|(open, _)| *open == first)?;
    let inner = &text[open.len_utf8()..];
    let ends = |at: usize| inner[at + close.len_utf8()..].chars().next().is_none_or(|c| !c.is_alphanumeric());
    let end = inner.match_indices(close).map(|(at, _)| at).find(|at| *at > 0 && ends(*at))?;
    let length = open.len_utf8() + end + close.len_utf8();
    Some((&inner[..end], open.len_utf8(), length))
}

/// The first punctuation mark of those that a text begins with, and their length.
fn mark(text: &str) -> (Option<char>, usize) {
    let marks: &str = &text[..text.find(|c| !MARKS.contains(&c)).unwrap_or(text.len())];
    (marks.chars().next(), marks.len())
}

/// A word without case and diacritics, for comparison.
pub(crate) fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for character in word.nfd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        match character {
            'ß' => folded.push_str("ss"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' => folded.push('d'),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ı' => folded.push('i'),
            '’' => folded.push('\''),
            other => folded.push(other),
        }
    }
    folded
}

/// Edits from one word to another, where two neighbours that change places are one: none, one, two, or more.
pub(crate) fn edits(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) > 2 {
        return 3;
    }
    // Optimal string alignment, row by row.
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, a) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in other.iter().enumerate() {
            let mut least = (above[column] + usize::from(a != b)).min(above[column + 1] + 1).min(current[column] + 1);
            let is_swap = row > 0 && column > 0 && one[row - 1] == *b && *a == other[column - 1];
            if is_swap {
                least = least.min(before[column - 1] + 1);
            }
            current.push(least);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_at_spaces_and_quotes() {
        let text = "Assign “Ship it, now” to @dilip: (by 24.12.) it's “done”!";
        let found: Vec<_> = words(text).into_iter().map(|word| (word.text, word.mark, word.quoted)).collect();
        assert_eq!(
            found,
            [
                ("Assign", None, false),
                ("Ship it, now", None, true),
                ("to", None, false),
                ("@dilip", Some(':'), false),
                ("by", None, false),
                ("24.12", None, false),
                ("it's", None, false),
                ("done", Some('!'), true),
            ]
        );
        for word in words(text) {
            assert_eq!(&text[word.span.0..word.span.1], word.text);
        }
        assert_eq!(words("don't 'quote me' \"half").len(), 3);
    }

    #[test]
    fn comparison_ignores_case_and_diacritics() {
        assert_eq!((fold("ÉLODIE"), fold("Groß"), fold("Łukasz")), ("elodie".into(), "gross".into(), "lukasz".into()));
        for (one, other, expected) in [
            ("dilip", "dilip", 0),
            ("dilip", "dilpi", 1),
            ("dilip", "dlip", 1),
            ("anna", "hanne", 2),
            ("bob", "robert", 3),
        ] {
            assert_eq!(edits(one, other).min(3), expected, "{one} {other}");
        }
    }
}
