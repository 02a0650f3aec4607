//! Text in the form that names are compared in: without case, marks, invisible characters, and with single spaces.

use icu_casemap::CaseMapper;
use unicode_normalization::char::{decompose_canonical, is_combining_mark};

/// A folded text, and where each of its bytes comes from.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    pub(crate) text: String,
    /// For each byte of the folded text, where its character begins in the original; and the original's length.
    offsets: Vec<usize>,
}

impl Folded {
    /// Folds a text.
    pub(crate) fn new(text: &str) -> Self {
        let mut folded = Self { text: String::with_capacity(text.len()), offsets: Vec::with_capacity(text.len() + 1) };
        let mut at_space = false;
        for (at, c) in text.char_indices() {
            // Spaces that follow a space are dropped.
            let is_space = c.is_whitespace();
            if !(is_space && at_space) {
                push_folded(if is_space { ' ' } else { c }, &mut folded.text);
                folded.offsets.resize(folded.text.len(), at);
            }
            at_space = is_space;
        }
        folded.offsets.push(text.len());
        folded
    }

    /// Where a byte of the folded text is in the original.
    pub(crate) fn origin(&self, at: usize) -> usize {
        self.offsets.get(at).or(self.offsets.last()).copied().unwrap_or_default()
    }
}

/// The folded form.
pub(crate) fn fold(text: &str) -> String {
    Folded::new(text.trim()).text
}

fn push_folded(c: char, folded: &mut String) {
    if c.is_ascii() {
        folded.push(c.to_ascii_lowercase());
        return;
    }
    decompose_canonical(c, |part| {
        if is_combining_mark(part) || is_invisible(part) {
            return;
        }
        let part = CaseMapper::new().simple_fold(part);
        match base_letters(part) {
            Some(letters) => folded.push_str(letters),
            None => folded.push(part),
        }
    });
}

/// What is written instead of letters that have no canonical decomposition, where keyboards lack them.
fn base_letters(c: char) -> Option<&'static str> {
    Some(match c {
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ı' => "i",
        'ħ' => "h",
        '’' | 'ʼ' | '‘' => "'",
        '‐' | '‑' | '–' => "-",
        _ => return None,
    })
}

/// Characters without a shape, which could hide a name.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_name_fold_alike() {
        for (spelling, folded) in [
            ("Søren Ægir", "soren aegir"),
            ("JOSÉ\u{a0}\tÁlvarez", "jose alvarez"),
            ("jose\u{301} a\u{301}lvarez", "jose alvarez"),
            ("Ad\u{200b}a", "ada"),
            ("O’Brien", "o'brien"),
            ("Straße", "strasse"),
            ("Σίσυφος", "σισυφοσ"),
        ] {
            assert_eq!(fold(spelling), folded);
        }
    }

    #[test]
    fn bytes_have_their_origin() {
        let folded = Folded::new("Ü  ß e\u{301}x");
        assert_eq!(folded.text, "u ss ex");
        let origins: Vec<_> = (0..=folded.text.len()).map(|at| folded.origin(at)).collect();
        assert_eq!(origins, [0, 2, 4, 4, 6, 7, 10, 11]);
    }
}
