//! Names of the account's members, which are found in every spelling that folds alike.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use aho_corasick::AhoCorasick;

use crate::{
    Entity, Found,
    fold::{Folded, fold},
    name::lexicon,
};

/// Characters of a name, at least: single letters are initials, and everywhere.
const MIN_CHARS: usize = 2;

/// A member of the account. Empty parts are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// The first name, or all of them.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The handle, without its `@`.
    pub handle: String,
}

/// The names of all members, compiled.
pub(crate) struct Members {
    names: Option<AhoCorasick>,
    patterns: Vec<Pattern>,
    full_names: Vec<String>,
}

struct Pattern {
    /// The member, unless several have this name.
    member: Option<usize>,
    /// Whether the name is a word of English as well, such as "Mark", so that it counts only with a capital.
    is_word: bool,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

impl Members {
    /// Compiles the names.
    pub(crate) fn new(members: &[Member]) -> Self {
        let mut owners: HashMap<String, HashSet<usize>> = HashMap::new();
        for (index, member) in members.iter().enumerate() {
            for name in spellings(member) {
                owners.entry(name).or_default().insert(index);
            }
        }
        let mut names: Vec<String> = owners.keys().cloned().collect();
        names.sort_unstable();
        let pattern = |name: &String| Pattern {
            member: owners[name].iter().next().copied().filter(|_| owners[name].len() == 1),
            // In "will mark" both are words, too.
            is_word: name.split([' ', ',']).all(|part| part.is_empty() || lexicon::is_common(part)),
        };
        let patterns = names.iter().map(pattern).collect();
        let full_names = members.iter().map(full_name).collect();
        // Too many names for an automaton are more than memory has.
        let automaton = AhoCorasick::new(&names).ok().filter(|_| !names.is_empty());
        Self { names: automaton, patterns, full_names }
    }

    /// The full name of a member, in its normal form.
    pub(crate) fn full_name(&self, index: usize) -> Option<&str> {
        self.full_names.get(index).map(String::as_str)
    }

    /// Adds the names in a text.
    pub(crate) fn find(&self, text: &str, found: &mut Vec<Found>) {
        let Some(names) = &self.names else { return };
        let folded = Folded::new(text);
        // Overlapping, because the longest name at a place may turn out to be a part of a word.
        for name in names.find_overlapping_iter(&folded.text) {
            let (start, end) = (folded.origin(name.start()), folded.origin(name.end()));
            let Some(pattern) = self.patterns.get(name.pattern().as_usize()) else { continue };
            let is_capital = text[start..end].chars().next().is_some_and(|first| !first.is_lowercase());
            let is_mention = text[..start].ends_with('@');
            if start < end && is_whole(text, start, end) && (!pattern.is_word || is_capital || is_mention) {
                found.push(Found { start, end, entity: Entity::Name, member: pattern.member });
            }
        }
    }
}

/// The ways to write a member's name, folded.
fn spellings(member: &Member) -> HashSet<String> {
    let (first, last) = (fold(&member.first_name), fold(&member.last_name));
    let mut spellings =
        HashSet::from([first.clone(), last.clone(), fold(member.handle.trim_start_matches('@')), full_name(member)]);
    if !first.is_empty() && !last.is_empty() {
        spellings.extend([format!("{last} {first}"), format!("{last}, {first}")]);
    }
    // Of several first names the first is used alone; double names are used in parts.
    spellings.extend(first.split(' ').map(str::to_owned));
    spellings.extend(last.split([' ', '-']).filter(|part| part.chars().count() > 3).map(str::to_owned));
    spellings.retain(|name| name.chars().filter(|c| c.is_alphanumeric()).count() >= MIN_CHARS);
    spellings
}

fn full_name(member: &Member) -> String {
    fold(&format!("{} {}", member.first_name, member.last_name))
}

/// Whether no word goes on beyond the range. Scripts without spaces have no words in this sense.
fn is_whole(text: &str, start: usize, end: usize) -> bool {
    let continues = |one: Option<char>, other: Option<char>| match (one, other) {
        (Some(one), Some(other)) => {
            one.is_alphanumeric() && other.is_alphanumeric() && !is_unspaced(one) && !is_unspaced(other)
        }
        _ => false,
    };
    let name = &text[start..end];
    !continues(text[..start].chars().next_back(), name.chars().next())
        && !continues(name.chars().next_back(), text[end..].chars().next())
}

/// Letters of scripts that are written without spaces, or with particles at names (Thai to Myanmar, Kana, Han, Hangul).
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(first: &str, last: &str, handle: &str) -> Member {
        Member { first_name: first.to_owned(), last_name: last.to_owned(), handle: handle.to_owned() }
    }

    fn all<'a>(text: &'a str, members: &[Member]) -> Vec<(&'a str, Option<usize>)> {
        let mut found = Vec::new();
        Members::new(members).find(text, &mut found);
        let found = crate::overlap::resolve(text, found);
        found.into_iter().map(|found| (&text[found.start..found.end], found.member)).collect()
    }

    #[test]
    fn names_are_found_in_every_spelling() {
        let members = [member("Zoë", "Müller-Strauß", "zms"), member("Bo", "Øst", "")];
        for (text, name) in [
            ("ask zoe now", "zoe"),
            ("ZOË MÜLLER-STRAUSS", "ZOË MÜLLER-STRAUSS"),
            ("Zoe\u{308}\n Müller-Strauß's", "Zoe\u{308}\n Müller-Strauß"),
            ("müller-strauß, zoë", "müller-strauß, zoë"),
            ("Frau Müller kommt", "Müller"),
            ("(@zms)", "zms"),
        ] {
            assert_eq!(all(text, &members), [(name, Some(0))], "{text}");
        }
        assert_eq!(all("bo_ost; Bo Ost", &members), [("bo", Some(1)), ("ost", Some(1)), ("Bo Ost", Some(1))]);
        assert_eq!(all("Bob boost Zoeys müllers", &members), []);
    }

    #[test]
    fn shared_first_name_belongs_to_nobody_alone() {
        let members = [member("Ada", "Byron", ""), member("Ada", "King", "")];
        assert_eq!(all("Ada or Ada Byron", &members), [("Ada", None), ("Ada Byron", Some(0))]);
    }

    #[test]
    fn shorter_name_is_found_where_the_longer_one_goes_on() {
        let members = [member("Ann", "", ""), member("Ann", "Lee", "")];
        assert_eq!(all("Ann Leeson", &members), [("Ann", None)]);
    }

    #[test]
    fn common_word_counts_with_a_capital_only() {
        let members = [member("Mark", "Will", "")];
        assert_eq!(all("I will mark it, Mark", &members), [("Mark", Some(0))]);
        assert_eq!(all("@mark", &members), [("mark", Some(0))]);
        let members = [member("Mark", "Kowalski", "")];
        assert_eq!(all("mark kowalski", &members), [("mark kowalski", Some(0))]);
    }

    #[test]
    fn names_are_found_in_scripts_without_spaces() {
        let members = [member("小明", "王", ""), member("민수", "김", ""), member("太郎", "山田", "")];
        assert_eq!(all("请告诉小明这件事", &members), [("小明", Some(0))]);
        assert_eq!(all("김 민수는 왔다", &members), [("김 민수", Some(1))]);
        assert_eq!(all("山田太郎さん", &members), [("山田", Some(2)), ("太郎", Some(2))]);
    }

    #[test]
    fn empty_names_are_ignored() {
        assert_eq!(all("a b c", &[member("", " ", ""), member("A", "B", "")]), [("a b", Some(1))]);
        assert_eq!(all("anything", &[]), []);
    }
}
