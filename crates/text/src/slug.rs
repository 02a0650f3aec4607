//! Slugs: names for addresses of accounts.
//!
//! 3 to 63 characters: lower-case ASCII letters, digits, and hyphens between them. That is a label of DNS (RFC 1123, 2.1),
//! so an account can have a host name of its own.

use std::{collections::HashSet, sync::LazyLock};

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::characters::is_mark;

/// Characters of a slug, at least.
pub const MIN_LENGTH: usize = 3;
/// Characters of a slug, at most.
pub const MAX_LENGTH: usize = 63;
/// Characters of a slug that is made from a name: less than [`MAX_LENGTH`], so that a suffix fits.
const MAX_MADE: usize = 50;
/// For names that leave too little.
const FALLBACK: &str = "account";

static RESERVED: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let lines = include_str!("data/reserved_slugs.txt").lines();
    lines.filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect()
});

/// Whether nobody may take it: it is a route or a host of the product, or others would take its owner for the operator.
pub fn is_reserved(slug: &str) -> bool {
    // `xn--…` is how DNS writes international names: such a slug would show as another.
    RESERVED.contains(slug) || slug.as_bytes().get(2..4) == Some(b"--")
}

/// A slug made from a name. It may be taken, or reserved.
pub fn from_name(name: &str) -> String {
    let mut slug = String::new();
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd().normalize(name).to_lowercase();
    let mut rest = decomposed.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // Left out rather than turned into a hyphen: "Ada's" is one word.
            '\'' | '’' => {}
            // As German writes them without umlauts.
            'a' | 'o' | 'u' if rest.peek() == Some(&'\u{308}') => {
                slug.push(c);
                slug.push('e');
            }
            c if c.is_ascii_alphanumeric() => slug.push(c),
            c if is_mark(c) => {}
            c => match plain_letters(c) {
                Some(letters) => slug.push_str(letters),
                None if slug.is_empty() || slug.ends_with('-') => {}
                None => slug.push('-'),
            },
        }
    }
    slug.truncate(MAX_MADE);
    let slug = slug.trim_end_matches('-');
    if slug.len() < MIN_LENGTH { FALLBACK.to_owned() } else { slug.to_owned() }
}

/// Latin letters that Unicode does not decompose.
fn plain_letters(c: char) -> Option<&'static str> {
    Some(match c {
        'æ' => "ae",
        'đ' | 'ð' => "d",
        'ı' => "i",
        'ł' => "l",
        'ø' => "o",
        'œ' => "oe",
        'ß' => "ss",
        'þ' => "th",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_slug(text: &str) -> bool {
        (MIN_LENGTH..=MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
    }

    #[test]
    fn names_become_slugs() {
        for (name, slug) in [
            ("Acme Inc.", "acme-inc"),
            ("  Müller & Söhne -- GmbH ", "mueller-soehne-gmbh"),
            ("Mu\u{308}ller", "mueller"),
            ("Ada's Café", "adas-cafe"),
            ("Łódź", "lodz"),
            ("Ｆｕｌｌ Width ﬁne", "full-width-fine"),
            ("Þórður Ægisson", "thordur-aegisson"),
            ("株式会社", "account"),
            ("A!", "account"),
        ] {
            assert_eq!(from_name(name), slug);
        }
    }

    #[test]
    fn names_of_hosts_routes_and_roles_are_reserved() {
        for slug in ["admin", "api", "www", "docs", "support", "postmaster", "login", "baton", "null", "xn--80ak6aa92e"]
        {
            assert!(is_reserved(slug), "{slug}");
        }
        for slug in ["acme", "administrata", "api-makers", "www2-club"] {
            assert!(!is_reserved(slug), "{slug}");
        }
        assert!(RESERVED.iter().all(|slug| !slug.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))));
    }

    proptest! {
        #[test]
        fn any_name_gives_a_slug(name in any::<String>()) {
            prop_assert!(is_slug(&from_name(&name)), "{}", from_name(&name));
        }

        #[test]
        fn normal_forms_give_the_same_slug(name in "[a-zäöüéñ ]{0,30}") {
            let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(&name).into_owned();
            prop_assert_eq!(from_name(&name), from_name(&decomposed));
        }
    }
}
