//! Text of other users in mails to strangers.

use crate::{
    characters::{is_ignorable, is_space},
    visible::{line, nfkc},
};

/// Characters of another user's text in a mail, at most.
const MAX_QUOTED: usize = 60;

/// Quotes another user's text for a mail: short, in quotation marks, and without anything that mail clients turn into a
/// link. They link text with a dot, a colon, an at sign or a slash inside it, and long numbers; all of these become
/// spaces. Empty if nothing is left.
pub fn quoted(text: &str) -> String {
    let mut words = String::new();
    let mut digits = 0;
    for c in nfkc(text).chars().filter(|&c| !is_ignorable(c)) {
        digits = if c.is_numeric() { digits + 1 } else { 0 };
        // Mail clients link phone numbers, too.
        let kept = if digits > 4 { None } else { Some(c).filter(|&c| is_harmless(c) && !is_space(c)) };
        match kept {
            Some(c) => words.push(c),
            None if words.is_empty() || words.ends_with(' ') => {}
            None => words.push(' '),
        }
    }
    let short: String = words.trim().chars().take(MAX_QUOTED).collect();
    let Ok(short_line) = line(&short) else { return String::new() };
    let more = if words.trim().chars().count() > MAX_QUOTED { "…" } else { "" };
    format!("“{}{more}”", short_line.trim_end())
}

fn is_harmless(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || crate::characters::is_mark(c) || "&'’-,!?()".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_stay_readable_and_links_are_removed() {
        for (text, shown) in [
            ("Acme & Sons, Inc.", "“Acme & Sons, Inc”"),
            ("Ada Lovelace", "“Ada Lovelace”"),
            ("株式会社", "“株式会社”"),
            ("You won. http://evil.example", "“You won http evil example”"),
            ("www.evil.example/a?b", "“www evil example a?b”"),
            ("evil。example", "“evil example”"),
            ("evil．example", "“evil example”"),
            ("pay@evil.example", "“pay evil example”"),
            ("Call +1 800 5551234", "“Call 1 800 5551”"),
            ("\"><a href=x>", "“a href x”"),
            ("...", ""),
        ] {
            assert_eq!(quoted(text), shown, "{text}");
        }
        assert_eq!(quoted(&"x".repeat(100)), format!("“{}…”", "x".repeat(60)));
    }

    proptest! {
        #[test]
        fn quoted_text_never_contains_a_link(text in any::<String>()) {
            let quoted = quoted(&text);
            prop_assert!(!quoted.contains(['.', ':', '/', '\\', '@', '<', '>', '"', '\n', '\r', '。', '．', '｡', '%', '#']));
            prop_assert!(quoted.chars().count() <= MAX_QUOTED + 3);
            let mut run = 0;
            for c in quoted.chars() {
                run = if c.is_numeric() { run + 1 } else { 0 };
                prop_assert!(run <= 4);
            }
        }
    }
}
