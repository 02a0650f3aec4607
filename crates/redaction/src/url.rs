//! URLs: they carry names, tokens, and credentials.

use crate::{Entity, Found};

/// Bytes of a scheme, at most.
const MAX_SCHEME: usize = 20;

/// Adds the URLs of a text.
pub(crate) fn find(text: &str, found: &mut Vec<Found>) {
    let mut begin = 0;
    for (at, _) in text.match_indices("://") {
        if at < begin {
            continue;
        }
        let before = &text.as_bytes()[begin..at];
        let is_scheme = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let scheme = before.iter().rev().take(MAX_SCHEME).take_while(is_scheme).count();
        // In "://://" each end would be looked for through all that follows.
        if scheme == 0 {
            continue;
        }
        let end = end(text, at + 3);
        if end > at + 3 {
            found.push(Found::new(at - scheme..end, Entity::Url));
            begin = end;
        }
    }
    begin = 0;
    for (at, _) in text.match_indices(['w', 'W']) {
        let is_www = text.as_bytes().get(at..at + 4).is_some_and(|start| start.eq_ignore_ascii_case(b"www."));
        if at < begin || !is_www || text[..at].ends_with(char::is_alphanumeric) {
            continue;
        }
        let end = end(text, at + 4);
        if text[at + 4..end].contains('.') {
            found.push(Found::new(at..end, Entity::Url));
            begin = end;
        }
    }
}

/// Where a URL ends: before a space or bracket, and before punctuation that belongs to the sentence.
fn end(text: &str, start: usize) -> usize {
    let rest = &text[start..];
    let is_end = |c: char| c.is_whitespace() || c.is_control() || "<>\"`[]{}|\\^".contains(c);
    let mut url = &rest[..rest.find(is_end).unwrap_or(rest.len())];
    // Brackets that close what the URL has not opened belong to the sentence.
    let mut extra = url.matches(')').count().saturating_sub(url.matches('(').count());
    loop {
        let trimmed = url.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '…', '’', '”', '。', '、']);
        let trimmed = match trimmed.strip_suffix(')').filter(|_| extra > 0) {
            Some(inner) => {
                extra -= 1;
                inner
            }
            None => trimmed,
        };
        if trimmed.len() == url.len() {
            return start + url.len();
        }
        url = trimmed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_found_without_the_punctuation_of_the_sentence() {
        for (text, url) in [
            ("See https://example.org/a?b=c#d.", "https://example.org/a?b=c#d"),
            ("(https://en.example.org/wiki/Ada_(name))", "https://en.example.org/wiki/Ada_(name)"),
            ("[docs](http://example.org/x)", "http://example.org/x"),
            ("DATABASE_URL=postgres://ada:secret@db:5432/baton", "postgres://ada:secret@db:5432/baton"),
            ("open www.example.org, please", "www.example.org"),
            ("HTTPS://EXAMPLE.ORG!", "HTTPS://EXAMPLE.ORG"),
        ] {
            let mut found = Vec::new();
            find(text, &mut found);
            assert_eq!(found.iter().map(|found| &text[found.start..found.end]).collect::<Vec<_>>(), [url]);
        }
    }

    #[test]
    fn other_text_is_not_found() {
        for text in ["://", "https://", "www.", "www", "a://", "bwww.x.org", "and/or: x", "https:// x", "http://)))))"]
        {
            let mut found = Vec::new();
            find(text, &mut found);
            assert_eq!(found, [], "{text}");
        }
    }
}
