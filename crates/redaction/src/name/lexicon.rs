//! First names, surnames, and words of English: `data/LICENSE` has their sources.

use std::sync::LazyLock;

use fst::Map;

use crate::fold::fold;

const FIRST: u64 = 1;
const SURNAME: u64 = 1 << 1;
const WORD: u64 = 1 << 2;
const COMMON: u64 = 1 << 3;
const NO_NAME: u64 = 1 << 4;
const PROPER: u64 = 1 << 5;
const FREQUENT_FIRST: u64 = 1 << 6;
const FREQUENT_SURNAME: u64 = 1 << 7;

static LEXICON: LazyLock<Option<Map<&'static [u8]>>> =
    LazyLock::new(|| Map::new(include_bytes!(concat!(env!("OUT_DIR"), "/lexicon.fst")).as_slice()).ok());

/// Endings of surnames in languages that the lexicon has few names of: Slavic, Nordic, Georgian, Armenian, Hungarian,
/// Finnish, Lithuanian, Greek, Basque.
const SURNAME_ENDINGS: &[&str] = &[
    "ov", "ova", "ev", "eva", "yev", "yeva", "sky", "skiy", "skij", "skaya", "ski", "ska", "sson", "sdottir", "dottir",
    "ssen", "nsen", "rsen", "lsen", "ksen", "vic", "vich", "vna", "ovich", "evich", "ic", "cki", "cka", "czyk", "wicz",
    "czak", "enko", "chuk", "shvili", "svili", "dze", "yan", "ian", "nen", "opoulos", "idis", "akis", "aitis",
    "auskas", "iene", "ssy", "strom", "qvist", "kvist", "berg", "gren", "lund", "dahl", "stein", "escu", "oglu",
    "etxea", "ovski", "evski", "kova", "mann", "elli", "etti", "ini", "ucci", "ykh", "ikh", "zade", "bekov", "nik",
    "cek", "sek", "cik", "dal", "stad", "sdatter",
];
/// Letters of a surname with one of these endings, at least.
const MIN_SURNAME: usize = 6;

/// What the lexicon says of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meaning(u64);

impl Meaning {
    /// A first name.
    pub(crate) fn is_first(self) -> bool {
        self.0 & FIRST != 0
    }

    /// A surname.
    pub(crate) fn is_surname(self) -> bool {
        self.0 & SURNAME != 0
    }

    /// A first name that many have, such as "Mark".
    pub(crate) fn is_frequent_first(self) -> bool {
        self.0 & FREQUENT_FIRST != 0
    }

    /// A surname that many have, such as "Brown".
    pub(crate) fn is_frequent_surname(self) -> bool {
        self.0 & FREQUENT_SURNAME != 0
    }

    /// A word of English.
    pub(crate) fn is_word(self) -> bool {
        self.0 & (WORD | COMMON) != 0
    }

    /// A word that everybody uses.
    pub(crate) fn is_common(self) -> bool {
        self.0 & COMMON != 0
    }

    /// A place, a product, a day: no name of a person on its own.
    pub(crate) fn is_no_name(self) -> bool {
        self.0 & NO_NAME != 0
    }

    /// A proper noun that is neither a common name nor one of the above: "Beethoven", "Volvo".
    pub(crate) fn is_proper(self) -> bool {
        self.0 & PROPER != 0
    }

    /// Nothing is known of it.
    pub(crate) fn is_unknown(self) -> bool {
        self.0 == 0
    }
}

/// Looks up a word in any spelling. A word with hyphens means what all its parts mean.
pub(crate) fn look_up(word: &str) -> Meaning {
    let folded = fold(word);
    let mut parts = folded.split('-').filter(|part| !part.is_empty()).map(look_up_part);
    let first = parts.next().unwrap_or_default();
    let (any, count) = parts.fold((first, 1), |(any, count), bits| (any | bits, count + 1));
    // "Olli-Pekka" is a name by one part, and "Follow-Up" is a word.
    let is_name = any & (FIRST | SURNAME) != 0 && count > 1 && any & COMMON == 0;
    Meaning(if is_name { any & (FIRST | SURNAME) } else { any })
}

fn look_up_part(part: &str) -> u64 {
    let letters: String = part.chars().filter(|c| *c != '\'').collect();
    let bits = LEXICON.as_ref().and_then(|map| map.get(letters.as_bytes())).unwrap_or_default();
    if bits == 0 && letters.chars().count() >= MIN_SURNAME && SURNAME_ENDINGS.iter().any(|end| letters.ends_with(end)) {
        return SURNAME;
    }
    bits
}

/// Whether a folded word is common.
pub(crate) fn is_common(folded: &str) -> bool {
    Meaning(look_up_part(folded)).is_common()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_meanings() {
        for (word, first, surname, common, no_name) in [
            ("Anna", true, true, false, false),
            ("SØREN", true, false, false, false),
            ("Mark", true, true, true, false),
            ("Monday", false, true, false, true),
            ("Berlin", true, true, false, true),
            ("Kubernetes", false, false, false, true),
            ("Bernharðsson", false, true, false, false),
            ("report", false, false, true, false),
            ("Anna-Lena", true, true, false, false),
        ] {
            let meaning = look_up(word);
            let all = (meaning.is_first(), meaning.is_surname(), meaning.is_common(), meaning.is_no_name());
            assert_eq!(all, (first, surname, common, no_name), "{word}");
        }
        assert!(look_up("Xyzzyx").is_unknown());
        assert!(look_up("").is_unknown());
    }
}
