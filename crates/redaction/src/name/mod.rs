//! Names of people who are no members: by the words beside them, and by a lexicon.

mod context;
pub(crate) mod lexicon;
mod word;

use std::{cell::OnceCell, collections::HashSet, ops::Range};

use context::{Announced, announced, is_certain_particle, is_organisation, is_particle};
use lexicon::Meaning;
use word::{Case, Gap, Word, words};

use crate::{Entity, Found, fold::fold};

/// Words of a name, at most. Longer rows of capitals are headings.
const MAX_WORDS: usize = 7;
/// Words that show the language of a text.
const LANGUAGE_SAMPLE: usize = 40;

/// Adds the names of a text.
pub(crate) fn find(text: &str, found: &mut Vec<Found>) {
    let words = words(text);
    let english = OnceCell::new();
    let is_english = || *english.get_or_init(|| is_english(text, &words));
    let mut names: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let end = row_end(text, &words, at);
        if end == at {
            names.extend(lower_case_name(text, &words, at));
            at += 1;
            continue;
        }
        names_of_row(text, &words, at..end, &is_english, &mut names);
        at = end;
    }
    add_more(text, &words, &mut names);
    let range = |name: Range<usize>| Some(words.get(name.start)?.start..words.get(name.end.checked_sub(1)?)?.end);
    found.extend(names.into_iter().filter_map(range).map(|range| Found::new(range, Entity::Name)));
}

/// Whether most words without a capital are English. Nouns of German have capitals, and many are surnames in the lexicon.
fn is_english(text: &str, words: &[Word]) -> bool {
    let lower = words.iter().filter(|word| word.case == Case::Lower && word.end - word.start > 2);
    let (count, english) = lower.take(LANGUAGE_SAMPLE).fold((0, 0), |(count, english), word| {
        (count + 1, english + usize::from(lexicon::look_up(&text[word.start..word.end]).is_word()))
    });
    english * 10 >= count * 7
}

/// Where a row of words with capitals ends that begins here. Particles and the dots of initials may stand between them.
fn row_end(text: &str, words: &[Word], first: usize) -> usize {
    if words[first].case == Case::Lower {
        return first;
    }
    let mut end = first + 1;
    let mut at = end;
    while let Some(word) = words.get(at) {
        let before = &words[at - 1];
        let is_joined = match word.gap {
            Gap::Space => true,
            Gap::Dot => before.case == Case::Initial,
            _ => false,
        };
        if !is_joined || word.begins_sentence {
            break;
        }
        at += 1;
        if word.case != Case::Lower {
            end = at;
        } else if !is_particle(&text[word.start..word.end]) {
            break;
        }
    }
    end
}

/// Adds the names in a row of words with capitals.
fn names_of_row(
    text: &str,
    words: &[Word],
    row: Range<usize>,
    is_english: &dyn Fn() -> bool,
    names: &mut Vec<Range<usize>>,
) {
    let is_organisation = is_organisation(text, &words[row.clone()]);
    let mut at = row.start;
    while at < row.end {
        let end = (at..row.end).find(|&index| !may_be_part(text, words, index, at, row.end)).unwrap_or(row.end);
        if end == at {
            at += 1;
            continue;
        }
        if let Some(name) = name_in(text, words, at..end, is_organisation, is_english) {
            names.push(name);
        }
        at = end;
    }
}

/// Whether a word of a row may belong to a name. Words of English do not, unless they are names as well, or announced.
fn may_be_part(text: &str, words: &[Word], index: usize, first: usize, end: usize) -> bool {
    let word = &words[index];
    let Some(meaning) = word.meaning else {
        // Initials, and particles within.
        return word.case == Case::Initial && text[word.start..word.end] != *"I"
            || word.case == Case::Lower && index > first;
    };
    let is_announced = || index == first && announced(text, words, index, index + 1) >= Announced::Surely;
    let is_particle = is_particle(&text[word.start..word.end]);
    if index > first && is_particle || is_announced() {
        return true;
    }
    // At the beginning of a sentence it is an article.
    if is_particle && word.begins_sentence {
        return false;
    }
    let is_name = meaning.is_first() || meaning.is_surname();
    if meaning.is_no_name() {
        // "Paris Hilton", but not "Paris".
        let next = words.get(index + 1).filter(|_| index + 1 < end).and_then(|next| next.meaning);
        return is_name
            && (meaning.is_first() && next.is_some_and(is_certain_surname) || index > first && meaning.is_surname());
    }
    is_name || meaning.is_unknown() || meaning.is_proper() && index > first
}

fn is_certain_first(meaning: Meaning) -> bool {
    meaning.is_first() && !meaning.is_common() && !meaning.is_no_name()
}

fn is_certain_surname(meaning: Meaning) -> bool {
    meaning.is_surname() && !meaning.is_common() && !meaning.is_no_name()
}

/// The name among words that may all be parts of one.
fn name_in(
    text: &str,
    words: &[Word],
    mut range: Range<usize>,
    is_organisation: bool,
    is_english: &dyn Fn() -> bool,
) -> Option<Range<usize>> {
    // Particles at the end belong to nothing, and neither do initials without a name after them at the beginning.
    while range.len() > 1 && words[range.end - 1].case == Case::Lower {
        range.end -= 1;
    }
    let sentence_word =
        |index: usize| words[index].begins_sentence && words[index].meaning.is_some_and(Meaning::is_common);
    let announcement = announced(text, words, range.start, range.end);
    // "Will Ada come?"
    if range.len() > 1 && sentence_word(range.start) && words[range.start + 1].meaning.is_some_and(is_certain_first) {
        range.start += 1;
    }
    if range.len() > MAX_WORDS {
        return None;
    }
    let meanings: Vec<Meaning> = words[range.clone()].iter().filter_map(|word| word.meaning).collect();
    let (&first, rest) = meanings.split_first()?;
    let is_upper = words[range.clone()].iter().any(|word| word.case == Case::Upper);
    let starts_with_particle = range.start > 0 && words[range.start].gap == Gap::Space && {
        let before = &words[range.start - 1];
        is_certain_particle(&text[before.start..before.end])
    };
    let accepted = match announcement {
        Announced::Surely | Announced::Name => true,
        _ if starts_with_particle && !first.is_word() => true,
        _ if is_organisation => {
            is_certain_first(first) && rest.is_empty() && !is_upper && announcement >= Announced::Maybe
        }
        // Capitals throughout shout, or abbreviate.
        _ if is_upper => is_certain_first(first) && !rest.is_empty() && !first.is_word(),
        _ if rest.is_empty() => is_single_name(first, announcement, range.len() > 1, is_english),
        Announced::Likely | Announced::Maybe => !meanings.iter().all(|meaning| meaning.is_common()) || first.is_first(),
        Announced::Place | Announced::No => {
            let has_certain = is_certain_first(first) || rest.iter().copied().any(is_certain_surname);
            // Two words that mean nothing in English are a name from elsewhere.
            let is_foreign = meanings.len() == range.len()
                && !first.is_word()
                && meanings.iter().all(|meaning| meaning.is_unknown());
            let has_joint = meanings.len() < range.len() && meanings.len() > 1 && !first.is_word();
            has_certain
                || is_foreign
                || has_joint
                || first.is_frequent_first()
                    && rest.iter().any(|meaning| meaning.is_frequent_surname())
                    && !sentence_word(range.start)
        }
    };
    let start = if starts_with_particle { range.start - 1 } else { range.start };
    accepted.then_some(start..range.end)
}

/// Whether a word alone, or with initials, is a name.
fn is_single_name(meaning: Meaning, announcement: Announced, has_initial: bool, is_english: &dyn Fn() -> bool) -> bool {
    let is_name = meaning.is_first() || meaning.is_surname();
    match announcement {
        Announced::Surely | Announced::Name => true,
        _ if meaning.is_no_name() => false,
        Announced::Likely => meaning.is_first() || is_certain_surname(meaning) || meaning.is_unknown(),
        Announced::Maybe => is_name && !meaning.is_common() || meaning.is_unknown(),
        Announced::Place => is_certain_first(meaning),
        Announced::No => {
            is_certain_first(meaning)
                || has_initial && is_name
                || is_certain_surname(meaning) && !meaning.is_word() && is_english()
        }
    }
}

/// The name that begins with this word without a capital: after "my name is" some people write none.
fn lower_case_name(text: &str, words: &[Word], at: usize) -> Option<Range<usize>> {
    let is_after_name = at > 0 && announced(text, words, at, at + 1) == Announced::Name;
    let is_part = |index: usize| {
        let word = &words[index];
        let meaning = lexicon::look_up(&text[word.start..word.end]);
        meaning.is_unknown() || is_certain_first(meaning) || is_certain_surname(meaning) || word.end - word.start == 1
    };
    if !is_after_name || !is_part(at) {
        return None;
    }
    let is_next = |index: &usize| {
        let word = &words[*index];
        let is_joined =
            word.gap == Gap::Space || word.gap == Gap::Dot && words[index - 1].end - words[index - 1].start == 1;
        is_joined && is_part(*index)
    };
    Some(at..at + 1 + (at + 1..words.len()).take(2).take_while(is_next).count())
}

/// Adds the words that are names elsewhere in the text, and those in a list with names.
fn add_more(text: &str, words: &[Word], names: &mut Vec<Range<usize>>) {
    if names.is_empty() {
        return;
    }
    let spelling = |word: &Word| fold(&text[word.start..word.end]);
    let mut is_in_name = vec![false; words.len()];
    let mut known = HashSet::new();
    for name in names.iter() {
        is_in_name[name.clone()].fill(true);
        let parts = words[name.clone()].iter().filter(|word| word.case == Case::Capitalised);
        known.extend(parts.filter(|word| word.meaning.is_some_and(|meaning| !meaning.is_word())).map(spelling));
    }
    for (index, word) in words.iter().enumerate() {
        let Some(meaning) = word.meaning.filter(|_| !is_in_name[index] && word.case == Case::Capitalised) else {
            continue;
        };
        let may_be = !meaning.is_no_name() && (meaning.is_unknown() || meaning.is_first()) && !word.begins_sentence;
        // "Ada, Xyz and Bob": a neighbour in the list is a name.
        let is_listed = |this: usize, other: Option<usize>| {
            other.is_some_and(|other| is_in_name[other]) && words[this].gap == Gap::Comma
        };
        let is_and =
            |index: usize| matches!(&text[words[index].start..words[index].end], "and" | "or" | "und" | "et" | "y");
        let by_and = index > 1
            && is_and(index - 1)
            && word.gap == Gap::Space
            && words[index - 1].gap == Gap::Space
            && is_in_name[index - 2];
        let by_list = is_listed(index, index.checked_sub(1));
        if may_be && (by_and || by_list) || known.contains(&spelling(word)) {
            is_in_name[index] = true;
            names.push(index..index + 1);
        }
    }
}

#[cfg(test)]
mod tests;
