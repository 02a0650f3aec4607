//! Groups of digits, from which numbers of cards and phones are put together.

use std::ops::Range;

/// Bytes between two groups of one number, at most: " (" and ") " are two, and so is a no-break space.
const MAX_SEPARATOR: usize = 3;

/// Groups of digits that separators of numbers join: spaces, `-`, `.`, `/` and brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// The bytes of each group.
    pub(crate) groups: Vec<Range<usize>>,
}

/// The runs of a text.
pub(crate) fn runs(text: &str) -> Vec<Run> {
    let bytes = text.as_bytes();
    let mut runs: Vec<Run> = Vec::new();
    let mut end = 0;
    let mut at = 0;
    while let Some(skipped) = bytes[at..].iter().position(u8::is_ascii_digit) {
        let start = at + skipped;
        at = start + bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let joined = start - end <= MAX_SEPARATOR && start > end && text[end..start].chars().all(is_separator);
        let run = match runs.last_mut() {
            Some(run) if joined => run,
            _ => runs.push_mut(Run { groups: Vec::new() }),
        };
        run.groups.push(start..at);
        end = at;
    }
    runs
}

/// Whether a character may stand within a number.
pub(crate) fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '-' | '.' | '/' | '(' | ')' | '\u{a0}' | '\u{202f}' | '\u{2009}' | '\u{2010}'..='\u{2013}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_joined_by_separators() {
        let text = "(650) 253-0000, 12:30 or 06\u{a0}98";
        let groups = |run: Run| run.groups.into_iter().map(|group| &text[group]).collect::<Vec<_>>();
        let runs: Vec<_> = runs(text).into_iter().map(groups).collect();
        assert_eq!(runs, [vec!["650", "253", "0000"], vec!["12"], vec!["30"], vec!["06", "98"]]);
    }
}
