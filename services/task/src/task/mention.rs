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
    for (_, handle) in mentions(markdown) {
        if found.len() > MAX_MENTIONS {
            break;
        }
        if !found.contains(&handle) {
            found.push(handle);
        }
    }
    found
}

/// Replaces the mentions of these handles, wherever [`handles`] finds them.
pub(crate) fn replace(markdown: &str, erased: &[&str], by: &str) -> String {
    let mut text = markdown.to_owned();
    let found: Vec<_> = mentions(markdown).filter(|(_, handle)| erased.contains(&handle.as_str())).collect();
    for (place, _) in found.into_iter().rev() {
        text.replace_range(place, by);
    }
    text
}

/// The mentions in Markdown, each with its place from the `@` on.
fn mentions(markdown: &str) -> impl Iterator<Item = (Range<usize>, String)> {
    let mut in_code = false;
    let texts = TextMergeWithOffset::new(Parser::new(markdown).into_offset_iter()).filter_map(move |(event, place)| {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Text(_) if !in_code => return Some(place),
            _ => {}
        }
        None
    });
    texts.flat_map(move |place| {
        let text = &markdown[place.clone()];
        text.match_indices('@').filter_map(move |(at, _)| mention(markdown, text, place.start, at))
    })
}

/// The mention at a byte of a text node. A handle may continue after the node, where its underscores look like emphasis.
fn mention(markdown: &str, text: &str, start: usize, at: usize) -> Option<(Range<usize>, String)> {
    if text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '@' | '+')) {
        return None;
    }
    let source = &markdown[start + at + 1..];
    let (run, ends) = read_handle(source);
    if source[ends.last().copied().unwrap_or_default()..].starts_with('@') {
        return None;
    }
    // A period that ends a sentence is not part of the handle.
    let handle = run.trim_end_matches(is_separator).to_ascii_lowercase();
    let begins = handle.starts_with(|c: char| c.is_ascii_alphanumeric());
    let end = ends.get(handle.len().checked_sub(1)?)?;
    let fits = begins && (MIN_LENGTH..=MAX_LENGTH).contains(&handle.len());
    fits.then(|| (start + at..start + at + 1 + end, handle))
}

/// Reads handle characters; returns them, and where each ends in the source. They may be escaped: editors do that to
/// underscores.
fn read_handle(source: &str) -> (String, Vec<usize>) {
    let (mut run, mut ends) = (String::new(), Vec::new());
    let mut rest = source;
    loop {
        let unescaped = rest.strip_prefix('\\').filter(|rest| rest.starts_with(is_separator)).unwrap_or(rest);
        let next = unescaped.chars().next().filter(|&c| is_character(c));
        let Some(next) = next else { return (run, ends) };
        run.push(next);
        rest = &unescaped[1..];
        ends.push(source.len() - rest.len());
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

    #[test]
    fn mentions_are_replaced_where_they_are_found() {
        for (markdown, expected) in [
            ("@anna.doe, ask @bob or @ANNA.doe. And @anna.doer.", "X, ask @bob or X. And @anna.doer."),
            ("`@anna.doe` mail anna.doe@example.org", "`@anna.doe` mail anna.doe@example.org"),
            ("**@anna.doe** (@anna.doe)", "**X** (X)"),
        ] {
            assert_eq!(replace(markdown, &["anna.doe"], "X"), expected);
        }
        assert_eq!(replace("@carl\\_d\\_e\\_ and _@carl_d_", &["carl_d_e", "carl_d"], "X"), "X\\_ and _X_");
    }

    proptest! {
        #[test]
        fn replaced_handles_are_not_found_any_more(markdown in r"[@a-cA-C0-9é`~*_<>\[\]()#&;:/. \n\\-]{0,80}") {
            let found = handles(&markdown);
            let erased: Vec<&str> = found.iter().map(String::as_str).collect();
            if found.len() <= MAX_MENTIONS {
                prop_assert!(handles(&replace(&markdown, &erased, "(erased)")).iter().all(|handle| !found.contains(handle)));
            }
        }

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
