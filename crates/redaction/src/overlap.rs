//! Which of several overlapping findings counts.

use std::{cmp::Reverse, collections::BTreeMap, ops::Range};

use crate::{Entity, Found};

/// The findings in order, without overlaps. The longest counts, of equally long ones the most specific. What a loser covers
/// beyond the winner is redacted too, on its own.
pub(crate) fn resolve(text: &str, mut found: Vec<Found>) -> Vec<Found> {
    found.retain(|found| found.len() > 0);
    // A member's name counts within a longer name, so that the member keeps one placeholder.
    let mut members = BTreeMap::new();
    for name in found.iter().filter(|found| found.member.is_some()) {
        let longest = members.entry(name.start).or_insert(*name);
        if name.end > longest.end {
            *longest = *name;
        }
    }
    let mut candidates = Vec::with_capacity(found.len());
    for next in found {
        if next.entity == Entity::Name && next.member.is_none() {
            candidates.extend(remainders(text, next, &members));
        } else {
            candidates.push(next);
        }
    }
    candidates.sort_unstable_by_key(|found| (Reverse(found.len()), rank(found), found.start));
    let mut result = BTreeMap::new();
    for next in candidates {
        for part in remainders(text, next, &result) {
            result.insert(part.start, part);
        }
    }
    result.into_values().collect()
}

/// What a finding covers that others do not, without punctuation at the ends. The others are keyed by where they begin.
fn remainders(text: &str, next: Found, others: &BTreeMap<usize, Found>) -> Vec<Found> {
    let mut overlapping: Vec<Range<usize>> = others
        .range(..next.end)
        .rev()
        .map(|(_, other)| other.start..other.end)
        .take_while(|other| other.end > next.start)
        .collect();
    if overlapping.is_empty() {
        return vec![next];
    }
    overlapping.reverse();
    let mut parts = Vec::new();
    let mut start = next.start;
    for other in overlapping {
        parts.push(start..other.start.max(start));
        start = start.max(other.end);
    }
    parts.push(start..next.end.max(start));
    // A part of a member's name is the member's no longer.
    let part = |range: Range<usize>| trim(text, range).map(|range| Found::new(range, next.entity));
    parts.into_iter().filter_map(part).collect()
}

/// The range from its first letter or digit to its last one.
fn trim(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = &text[range.clone()];
    let first = part.find(char::is_alphanumeric)?;
    let kept = part[first..].trim_end_matches(|c: char| !c.is_alphanumeric());
    let start = range.start + first;
    Some(start..start + kept.len())
}

/// The most specific first.
fn rank(found: &Found) -> u8 {
    match found.entity {
        Entity::Name if found.member.is_some() => 0,
        Entity::Email | Entity::Iban | Entity::Card => 1,
        Entity::Uuid | Entity::Mac | Entity::Ip | Entity::Url => 2,
        Entity::Id => 3,
        Entity::Secret => 4,
        Entity::Phone => 5,
        Entity::Name => 6,
        Entity::Address => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(range: Range<usize>, entity: Entity) -> Found {
        Found::new(range, entity)
    }

    #[test]
    fn longest_finding_wins() {
        let text = "mail ada@example.org now";
        let email = found(5..20, Entity::Email);
        assert_eq!(resolve(text, vec![found(5..8, Entity::Name), email, found(9..20, Entity::Url)]), [email]);
    }

    #[test]
    fn more_specific_finding_wins_when_equally_long() {
        let card = found(0..16, Entity::Card);
        assert_eq!(resolve("4111111111111111", vec![found(0..16, Entity::Phone), card]), [card]);
    }

    #[test]
    fn rest_of_a_loser_is_redacted_without_punctuation() {
        let text = "Main Street 12, (650 253 0000)";
        let result = resolve(text, vec![found(0..20, Entity::Address), found(16..30, Entity::Phone)]);
        assert_eq!(result, [found(0..20, Entity::Address), found(21..29, Entity::Phone)]);
    }

    #[test]
    fn member_counts_within_a_longer_name() {
        let member = Found { member: Some(0), ..found(0..12, Entity::Name) };
        let result = resolve("Ada Lovelace King", vec![found(0..17, Entity::Name), member]);
        assert_eq!(result, [member, found(13..17, Entity::Name)]);
    }
}
