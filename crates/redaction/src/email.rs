//! E-mail addresses, by the form of RFC 5321 and RFC 6531.

use unicode_normalization::char::is_combining_mark;

use crate::{Entity, Found};

/// Octets before the `@`, at most (RFC 5321, 4.5.3.1.1), with room for what is trimmed.
const MAX_LOCAL: usize = 128;
/// Octets of a domain, at most (RFC 5321, 4.5.3.1.2).
const MAX_DOMAIN: usize = 255;

/// Adds the addresses of a text.
pub(crate) fn find(text: &str, found: &mut Vec<Found>) {
    let mut begin = 0;
    for (at, _) in text.match_indices('@') {
        let (start, end) = (local_start(text, begin, at), domain_end(text, at + 1));
        if let (Some(start), Some(end)) = (start, end) {
            found.push(Found::new(start..end, Entity::Email));
            begin = end;
        } else {
            begin = at + 1;
        }
    }
}

/// Where the part before the `@` begins.
fn local_start(text: &str, begin: usize, at: usize) -> Option<usize> {
    let mut start = at;
    for (index, c) in text.get(begin..at)?.char_indices().rev() {
        if !is_local(c) || at - (begin + index) > MAX_LOCAL {
            break;
        }
        start = begin + index;
    }
    // RFC 5321 allows these, but they are nearly always markup, the end of a URL, or an assignment before the address.
    let local = &text[start..at];
    if let Some(separator) = local.rfind(['=', '/', '|']) {
        start += separator + 1;
    }
    let local = &text[start..at];
    let trimmed = local.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_' && c != '+' && c != '-');
    (!trimmed.is_empty() && !local.ends_with('.')).then(|| at - trimmed.len())
}

/// Where the domain ends: names with letters or digits, of which the last one is no number.
fn domain_end(text: &str, start: usize) -> Option<usize> {
    let mut end = start;
    let mut previous = '.';
    for (index, c) in text[start..].char_indices() {
        let is_name = c.is_alphanumeric() || is_combining_mark(c);
        let allowed = is_name || c == '_' || matches!(c, '.' | '-') && (previous != '.' || c == '-') || c == '。';
        if !allowed || index > MAX_DOMAIN {
            break;
        }
        if is_name {
            end = start + index + c.len_utf8();
        }
        previous = c;
    }
    let domain = &text[start..end];
    let last = domain.rsplit(['.', '。']).next().filter(|last| last.len() < domain.len())?;
    (last.chars().filter(|c| c.is_alphabetic()).count() >= 1 && last.chars().count() >= 2).then_some(end)
}

/// `atext` of RFC 5322, the dot, and letters of RFC 6531.
fn is_local(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
    } else {
        c.is_alphanumeric() || is_combining_mark(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        find(text, &mut found);
        found.into_iter().map(|found| &text[found.start..found.end]).collect()
    }

    #[test]
    fn addresses_are_found() {
        for (text, addresses) in [
            ("Mail ada@example.org.", vec!["ada@example.org"]),
            ("<Ada.L+tag@Sub.Example.co.uk>,(eve@x.de)", vec!["Ada.L+tag@Sub.Example.co.uk", "eve@x.de"]),
            ("mailto:ada@example.org?subject=x", vec!["ada@example.org"]),
            ("email=ada@example.org&x=1", vec!["ada@example.org"]),
            ("**ada@example.org**", vec!["ada@example.org"]),
            ("'ada@example.org'", vec!["ada@example.org"]),
            ("schreib an jörg@müller.example!", vec!["jörg@müller.example"]),
            ("用户@例え.jp", vec!["用户@例え.jp"]),
            ("a@b.org@c.org", vec!["a@b.org"]),
        ] {
            assert_eq!(all(text), addresses, "{text}");
        }
    }

    #[test]
    fn other_signs_are_not_found() {
        for text in
            ["@ada", "ada@", "meet @ 5.30", "3 apples @ 2.50", "a@b", "ping @ada.", "@", "x @example.org", "a.@b.org"]
        {
            assert_eq!(all(text), [""; 0], "{text}");
        }
    }
}
