//! Mentions in comments.

use std::ops::Range;

use baton_text::handle::{MAX_LENGTH, MIN_LENGTH, is_character, is_separator};
use pulldown_cmark::{Event, Parser, Tag, TagEnd, TextMergeWithOffset};

/// Maximum number of members that a comment mentions.
pub(crate) const MAX_MENTIONS: usize = 50;

/// Handles mentioned as `@handle` in Markdown: lower case, without duplicates, in order. Code and parts of an address
/// or path are no mentions. A handle ends at the first character that handles cannot have, because many scripts write
/// no space after it. Stops after more than [`MAX_MENTIONS`].
pub(crate) fn handles(markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (event, place) in TextMergeWithOffset::new(Parser::new(markdown).into_offset_iter()) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Text(_) if !in_code => collect(markdown, place, &mut found),
            _ => {}
        }
    }
    found
}

/// Collects handles from the source of a text node. A handle may continue after the node, where its underscores look
/// like emphasis.
fn collect(markdown: &str, place: Range<usize>, found: &mut Vec<String>) {
    let text = &markdown[place.clone()];
    for (at, _) in text.match_indices('@') {
        if found.len() > MAX_MENTIONS {
            return;
        }
        if text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '@' | '+')) {
            continue;
        }
        let (run, rest) = read_handle(&markdown[place.start + at + 1..]);
        if rest.starts_with('@') {
            continue;
        }
        // A period that ends a sentence is not part of the handle.
        let handle = run.trim_end_matches(is_separator).to_ascii_lowercase();
        let begins = handle.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && (MIN_LENGTH..=MAX_LENGTH).contains(&handle.len()) && !found.contains(&handle) {
            found.push(handle);
        }
    }
}

/// Reads handle characters and returns the rest. They may be escaped: editors do that to underscores.
fn read_handle(source: &str) -> (String, &str) {
    let mut run = String::new();
    let mut rest = source;
    loop {
        let unescaped = rest.strip_prefix('\\').filter(|rest| rest.starts_with(is_separator)).unwrap_or(rest);
        let next = unescaped.chars().next().filter(|&c| is_character(c));
        let Some(next) = next else { return (run, rest) };
        run.push(next);
        rest = &unescaped[1..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn handles_are_found_in_prose() {
        for (markdown, expected) in [
            ("@anna, have a look", vec!["anna"]),
            ("ask (@Anna.Doe) or @bob_2 or @anna.doe.", vec!["anna.doe", "bob_2"]),
            ("**@anna** and [@bob](https://example.org) and\n> @carl-", vec!["anna", "bob", "carl"]),
            ("- @jo\n- @al", vec!["jo", "al"]),
            // Emphasis characters within a handle are part of it, those around it are not.
            ("_@anna_, __@bob__ and @a-_b_-c or @carl\\_d\\_e", vec!["anna", "bob", "a-_b_-c", "carl_d_e"]),
            ("mail anna@example.org or see https://example.org/@bob", vec![]),
            ("@a, @-anna, @, @@bob, @anna@example.org, a.@bob, a+@bob", vec![]),
            // Many scripts write no spaces between words.
            ("@johnさん、こんにちは@bobさん", vec!["john", "bob"]),
            ("@anna님 @bob.님 @carl的 (@dave)，@eve。", vec!["anna", "bob", "carl", "dave", "eve"]),
            ("@annaé, @bob’s @carl's", vec!["anna", "bob", "carl"]),
            ("@abcdefghijklmnopqrstuvwxyz12345", vec![]),
        ] {
            assert_eq!(handles(markdown), expected, "{markdown}");
        }
    }

    #[test]
    fn code_contains_no_mentions() {
        for markdown in
            ["`@anna`", "```\n@anna\n```", "~~~java\n@Override\n~~~", "    @anna", "``a ` @anna``", "```\n@anna"]
        {
            assert!(handles(markdown).is_empty(), "{markdown}");
        }
        assert_eq!(handles("`@anna` but @bob"), ["bob"]);
        assert_eq!(handles("`@anna but not closed"), ["anna"]);
    }

    proptest! {
        #[test]
        fn any_markdown_yields_valid_handles_only(markdown in r"[@a-cA-C0-9é`~*_<>\[\]()#&;:/. \n\\-]{0,80}") {
            for handle in handles(&markdown) {
                let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                prop_assert!((2..=30).contains(&handle.len()));
                prop_assert!(handle.starts_with(ends) && handle.ends_with(ends));
                prop_assert!(handle.chars().all(|c| ends(c) || matches!(c, '.' | '_' | '-')));
            }
        }

        #[test]
        fn handle_is_found_in_prose_and_not_in_code(
            before in "[a-z ,.!?]{0,20}", name in "[a-z0-9][a-z0-9_.-]{0,28}[a-z0-9]", after in "([ ,!?][a-z ,.!?]{0,20})?",
        ) {
            prop_assert_eq!(handles(&format!("x{before} @{name}{after}")), [name.clone()]);
            let code = [format!("x{before} `@{name}{after}`"), format!("x\n\n```\n{before} @{name}{after}\n```")];
            prop_assert!(code.iter().all(|text| handles(text).is_empty()));
        }
    }
}
