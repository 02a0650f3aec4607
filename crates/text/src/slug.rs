//! Slugs: names of accounts in URLs.
//!
//! 3 to 63 characters: lower-case ASCII letters and digits, and hyphens between them. That is a DNS label (RFC 1123,
//! 2.1), so an account can have its own host name.

use std::{collections::HashSet, sync::LazyLock};

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::characters::is_mark;

/// Characters of a slug, at least.
pub const MIN_LENGTH: usize = 3;
/// Characters of a slug, at most.
pub const MAX_LENGTH: usize = 63;
/// Characters of a slug that is derived from a name, at most: less than [`MAX_LENGTH`], so that a suffix fits.
const MAX_DERIVED_LEN: usize = 50;
/// Slug for names that leave too few characters.
const FALLBACK: &str = "account";

static RESERVED: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let lines = include_str!("data/reserved_slugs.txt").lines();
    lines.filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect()
});

/// Whether the slug is reserved: it is a route or a host of the product, or could impersonate the operator.
pub fn is_reserved(slug: &str) -> bool {
    // `xn--…` encodes an international name in DNS, so such a slug would be displayed differently.
    RESERVED.contains(slug) || slug.as_bytes().get(2..4) == Some(b"--")
}

/// Derives a slug from a name. It may be taken or reserved.
pub fn from_name(name: &str) -> String {
    let mut slug = String::new();
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd().normalize(name).to_lowercase();
    let mut rest = decomposed.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // Removed instead of replaced by a hyphen: "Ada's" is one word.
            '\'' | '’' => {}
            // The German spelling without umlauts.
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
    slug.truncate(MAX_DERIVED_LEN);
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
        fn any_name_yields_a_valid_slug(name in any::<String>()) {
            prop_assert!(is_slug(&from_name(&name)), "{}", from_name(&name));
        }

        #[test]
        fn normal_forms_of_a_name_yield_the_same_slug(name in "[a-zäöüéñ ]{0,30}") {
            let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(&name).into_owned();
            prop_assert_eq!(from_name(&name), from_name(&decomposed));
        }
    }
}
