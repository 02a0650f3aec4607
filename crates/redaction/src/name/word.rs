//! Words of a text, as far as names need them.

use unicode_normalization::char::is_combining_mark;

use super::lexicon::{self, Meaning};

/// A word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) case: Case,
    /// What it means, if it has a capital.
    pub(crate) meaning: Option<Meaning>,
    /// Whether it begins a sentence or a line, where every word has a capital.
    pub(crate) begins_sentence: bool,
    /// How it is separated from the word before it.
    pub(crate) gap: Gap,
}

/// The case of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// No capital first.
    Lower,
    /// A single capital.
    Initial,
    /// One capital first.
    Capitalised,
    /// Several, and nothing else.
    Upper,
}

/// What stands between two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gap {
    /// Spaces.
    Space,
    /// A dot and spaces, or only a dot.
    Dot,
    /// A comma and spaces.
    Comma,
    /// A line break, with anything.
    Line,
    /// A colon and spaces.
    Colon,
    /// Anything else.
    Other,
}

/// The words of a text.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut end = 0;
    let mut at = 0;
    while let Some(skipped) = text[at..].find(char::is_alphabetic) {
        let start = skip_escape(text, at + skipped);
        at = start + word_len(&text[start..]);
        let word = &text[start..at];
        // A digit or the like beside it makes it a part of something else: of an id, a URL, a file's name.
        let is_part = text[..start].ends_with(is_joint) || text[at..].starts_with(is_joint);
        let case = if is_part { Case::Lower } else { case(word) };
        let gap = gap(&text[end..start]);
        let after_abbreviation = words.last().is_some_and(|before| is_abbreviation(&text[before.start..before.end]));
        let begins_sentence = match gap {
            _ if words.is_empty() => true,
            Gap::Dot => !after_abbreviation,
            Gap::Line => true,
            Gap::Other => text[end..start].contains(['!', '?', '"', '“', '•', '*', '>']),
            Gap::Colon | Gap::Comma | Gap::Space => false,
        };
        let meaning = matches!(case, Case::Capitalised | Case::Upper).then(|| lexicon::look_up(word));
        words.push(Word { start, end: at, case, meaning, begins_sentence, gap });
        end = at;
    }
    words
}

/// Skips the letter of an escape such as `\n`, which belongs to no word.
fn skip_escape(text: &str, start: usize) -> usize {
    let is_escape = text[..start].ends_with('\\') && text[start..].starts_with(['n', 'r', 't']);
    if is_escape && text[start + 1..].starts_with(char::is_uppercase) { start + 1 } else { start }
}

/// Bytes of the word that the text begins with: letters, and hyphens and apostrophes between letters. It ends before "'s".
fn word_len(text: &str) -> usize {
    let mut end = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_alphabetic() || is_combining_mark(c) {
            end = at + c.len_utf8();
            continue;
        }
        let joins = matches!(c, '-' | '\'' | '’' | '\u{2010}' | '\u{2011}');
        if !joins || !chars.peek().is_some_and(|(_, next)| next.is_alphabetic()) {
            break;
        }
        let rest = &text[at + c.len_utf8()..];
        let letters = rest.chars().take_while(|c| c.is_alphabetic()).count();
        let is_suffix = matches!(c, '\'' | '’')
            && (letters == 1 || matches!(rest.get(..2), Some("re" | "ve" | "ll")) && letters == 2);
        if is_suffix {
            break;
        }
    }
    end
}

fn is_joint(c: char) -> bool {
    c.is_numeric() || matches!(c, '_' | '@' | '#' | '/' | '\\' | '$')
}

fn case(word: &str) -> Case {
    let mut letters = word.chars().filter(|c| c.is_alphabetic());
    if !letters.next().is_some_and(char::is_uppercase) {
        return Case::Lower;
    }
    let (upper, all) = letters.fold((0, 0), |(upper, all), c| (upper + usize::from(c.is_uppercase()), all + 1));
    match (upper, all) {
        (_, 0) => Case::Initial,
        (upper, all) if upper == all => Case::Upper,
        // Words such as "iOS" and "OpenAPI" are no names; "McDonald" and "Yli-Sirniö" are.
        (0..=2, _) => Case::Capitalised,
        _ => Case::Lower,
    }
}

fn is_abbreviation(word: &str) -> bool {
    word.chars().count() == 1
        || matches!(word, "Mr" | "Mrs" | "Ms" | "Dr" | "Prof" | "St" | "Jr" | "Sr" | "vs" | "cc" | "ca" | "No")
}

fn gap(between: &str) -> Gap {
    let sign = between.trim_matches([' ', '\t', '\u{a0}']);
    match sign {
        "" => Gap::Space,
        "." => Gap::Dot,
        "," => Gap::Comma,
        ":" => Gap::Colon,
        _ if between.contains(['\n', '\r']) || between.contains("\\n") => Gap::Line,
        _ => Gap::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_into_words() {
        let text = "Hi, I'm Jean-Luc O'Brien. Ada's v2Beta\\nBo\nMcKay iOS JOHN";
        let all: Vec<_> = words(text).iter().map(|word| (&text[word.start..word.end], word.case)).collect();
        let expected = [
            ("Hi", Case::Capitalised),
            ("I", Case::Initial),
            ("m", Case::Lower),
            ("Jean-Luc", Case::Capitalised),
            ("O'Brien", Case::Capitalised),
            ("Ada", Case::Capitalised),
            ("s", Case::Lower),
            ("v", Case::Lower),
            ("Beta", Case::Lower),
            ("Bo", Case::Capitalised),
            ("McKay", Case::Capitalised),
            ("iOS", Case::Lower),
            ("JOHN", Case::Upper),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn sentences_begin_after_dots_and_lines() {
        let text = "One two. Three Dr. Four\nFive: Six, Seven";
        let begin: Vec<_> =
            words(text).iter().filter(|word| word.begins_sentence).map(|word| &text[word.start..word.end]).collect();
        assert_eq!(begin, ["One", "Three", "Five"]);
    }
}
