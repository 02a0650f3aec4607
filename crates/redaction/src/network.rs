//! Addresses of machines: IPv4, IPv6, and hardware addresses (EUI-48).

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use regex::Regex;

use crate::{Entity, Found};

/// Digits, colons and dots in a row: what addresses are made of.
static CANDIDATE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[0-9A-Fa-f]*(?:[:.-][0-9A-Fa-f]*){2,}").ok());

/// Adds the addresses of a text.
pub(crate) fn find(text: &str, found: &mut Vec<Found>) {
    let Some(candidate) = &*CANDIDATE else { return };
    // Every address has two of one of them.
    if !text.contains([':', '.', '-']) {
        return;
    }
    for matched in candidate.find_iter(text) {
        let start = matched.start() + matched.len() - matched.as_str().trim_start_matches(['.', '-']).len();
        let address = text[start..matched.end()].trim_end_matches(['.', '-']);
        // "::" at an end belongs to the address, a colon beyond that to the sentence.
        let is_extra = |rest: &str| !rest.is_empty() && !rest.starts_with(':') || rest.starts_with("::");
        let leading = usize::from(address.strip_prefix(':').is_some_and(is_extra));
        let (start, address) = (start + leading, &address[leading..]);
        let is_extra = |rest: &&str| !rest.ends_with(':') || rest.ends_with("::");
        let address = address.strip_suffix(':').filter(is_extra).unwrap_or(address);
        let end = start + address.len();
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        if text[..start].ends_with(is_part) || text[end..].starts_with(is_part) {
            continue;
        }
        let entity = if is_mac(address) {
            Entity::Mac
        } else if is_ipv4(address) || is_ipv6(address) {
            Entity::Ip
        } else {
            continue;
        };
        found.push(Found::new(start..end, entity));
    }
}

fn is_ipv4(address: &str) -> bool {
    address.parse::<Ipv4Addr>().is_ok()
}

/// Addresses with at least three parts: `::1` is everybody's, and `a::b` is a name in some languages.
fn is_ipv6(address: &str) -> bool {
    let parts = address.split([':', '.']).filter(|part| !part.is_empty()).count();
    parts >= 3 && address.parse::<Ipv6Addr>().is_ok()
}

/// Six pairs, or three groups of four as Cisco writes them.
fn is_mac(address: &str) -> bool {
    let is_made_of = |separator: char, parts: usize, len: usize| {
        let mut count = 0;
        address.split(separator).all(|part| {
            count += 1;
            part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        }) && count == parts
    };
    is_made_of(':', 6, 2)
        || is_made_of('-', 6, 2)
        || is_made_of('.', 3, 4) && address.contains(|c: char| c.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(Entity, &str)> {
        let mut found = Vec::new();
        find(text, &mut found);
        found.into_iter().map(|found| (found.entity, &text[found.start..found.end])).collect()
    }

    #[test]
    fn addresses_are_found() {
        for (entity, address) in [
            (Entity::Ip, "192.0.2.1"),
            (Entity::Ip, "2001:db8::1"),
            (Entity::Ip, "c8d5:7717:9055:a36f:4aa5:f9d4:335f:2f59"),
            (Entity::Ip, "fe80:1:2::"),
            (Entity::Ip, "::ffff:192.0.2.1"),
            (Entity::Mac, "00:1B:44:11:3a:b7"),
            (Entity::Mac, "00-1B-44-11-3A-B7"),
            (Entity::Mac, "001b.4411.3ab7"),
        ] {
            for text in [
                format!("from {address}."),
                format!("from: {address}: down"),
                format!("|{address}|%20"),
                format!("{address}/24"),
            ] {
                assert_eq!(all(&text), [(entity, address)], "{text}");
            }
        }
    }

    #[test]
    fn other_text_is_not_found() {
        for text in [
            "12:30:45",
            "1.2.3",
            "300.1.1.1",
            "std::vec",
            "a::b",
            "::1",
            "...",
            ":::",
            "2026-11-30",
            "a-b-c",
            "x1.2.3.4",
        ] {
            assert_eq!(all(text), [], "{text}");
        }
    }
}
