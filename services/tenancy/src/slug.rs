//! Slugs of accounts. `baton_text::slug` defines their form and the reserved ones.

use baton_errors::{Error, Result};
use baton_text::slug;
use uuid::Uuid;

/// Validates a requested slug. The codec has already validated its form.
///
/// # Errors
/// VALIDATION_FAILED when the slug is reserved.
pub(crate) fn parse(field: &str, slug: &str) -> Result<String> {
    if slug::is_reserved(slug) { Err(Error::invalid(field, "is reserved")) } else { Ok(slug.to_owned()) }
}

/// Derives a slug from an account's name. Another account may already have it.
pub(crate) fn derive(name: &str, id: Uuid) -> String {
    let slug = slug::from_name(name);
    if slug::is_reserved(&slug) { with_suffix(&slug, id) } else { slug }
}

/// Appends six hex digits of the account id's random part.
pub(crate) fn with_suffix(slug: &str, id: Uuid) -> String {
    let (_, random) = id.as_u64_pair();
    format!("{slug}-{:06x}", random & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_slug_derived_from_any_name_is_valid(name in any::<String>(), id: u128) {
            let slug = derive(&name, Uuid::from_u128(id));
            prop_assert!(!slug::is_reserved(&slug));
            for slug in [&slug, &with_suffix(&slug, Uuid::from_u128(id))] {
                prop_assert!((slug::MIN_LENGTH..=slug::MAX_LENGTH).contains(&slug.len()), "{}", slug);
            }
        }
    }
}
