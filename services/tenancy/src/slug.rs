//! Names for addresses: lower-case letters, digits and hyphens, 3 to 63 of them.

use uuid::Uuid;

/// What is made leaves room for [`with_suffix`].
const LONGEST: usize = 50;
const SHORTEST: usize = 3;
/// For names that leave too little.
const FALLBACK: &str = "account";

/// A slug made from the name of an account. Another account may have it already.
pub(crate) fn from_name(name: &str) -> String {
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        match fold(c) {
            Some(letters) => slug.push_str(letters),
            None if c.is_ascii_alphanumeric() => slug.push(c),
            None if slug.is_empty() || slug.ends_with('-') => {}
            None => slug.push('-'),
        }
    }
    slug.truncate(LONGEST);
    let slug = slug.trim_end_matches('-');
    if slug.len() < SHORTEST { FALLBACK.to_owned() } else { slug.to_owned() }
}

/// The slug with a suffix from the random end of the account's id.
pub(crate) fn with_suffix(slug: &str, id: Uuid) -> String {
    let (_, random) = id.as_u64_pair();
    format!("{slug}-{:06x}", random & 0xff_ffff)
}

/// The plain letters of a Latin letter with a mark. Lower case only.
fn fold(c: char) -> Option<&'static str> {
    Some(match c {
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'ä' | 'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' | 'ģ' => "g",
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => "i",
        'ķ' => "k",
        'ł' | 'ļ' | 'ľ' => "l",
        'ñ' | 'ń' | 'ň' | 'ņ' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' | 'ō' | 'ő' => "o",
        'ö' | 'œ' => "oe",
        'ř' => "r",
        'ś' | 'š' | 'ş' | 'ș' => "s",
        'ß' => "ss",
        'ť' | 'ţ' | 'ț' => "t",
        'þ' => "th",
        'ù' | 'ú' | 'û' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
        'ü' => "ue",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        // Left out rather than turned into a hyphen: "Ada's" is one word.
        '\'' | '’' => "",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_slugs() {
        for (name, slug) in [
            ("Acme Inc.", "acme-inc"),
            ("  Müller & Söhne -- GmbH ", "mueller-soehne-gmbh"),
            ("Ada's Café", "adas-cafe"),
            ("Łódź", "lodz"),
            ("株式会社", "account"),
            ("A!", "account"),
        ] {
            assert_eq!(from_name(name), slug);
        }
    }

    proptest! {
        #[test]
        fn any_name_gives_a_slug_that_the_table_takes(name in ".{0,100}", id: u128) {
            let slug = from_name(&name);
            for slug in [&slug, &with_suffix(&slug, Uuid::from_u128(id))] {
                prop_assert!((3..=63).contains(&slug.len()), "{}", slug);
                prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", slug);
                prop_assert!(!slug.starts_with('-') && !slug.ends_with('-'), "{}", slug);
            }
        }
    }
}
