//! Slugs of accounts. What one is, and which are reserved, is `baton_text::slug`.

use baton_errors::{Error, Result};
use baton_text::slug;
use uuid::Uuid;

/// A slug that somebody asks for. Its form was checked when the message was decoded.
///
/// # Errors
/// VALIDATION_FAILED when it is reserved.
pub(crate) fn free(field: &str, slug: &str) -> Result<String> {
    if slug::is_reserved(slug) { Err(Error::invalid(field, "is reserved")) } else { Ok(slug.to_owned()) }
}

/// A slug made from the name of an account. Another account may have it already.
pub(crate) fn made(name: &str, id: Uuid) -> String {
    let slug = slug::from_name(name);
    if slug::is_reserved(&slug) { with_suffix(&slug, id) } else { slug }
}

/// The slug with a suffix from the random end of the account's id.
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
        fn any_name_gives_a_slug_that_the_table_takes(name in any::<String>(), id: u128) {
            let slug = made(&name, Uuid::from_u128(id));
            prop_assert!(!slug::is_reserved(&slug));
            for slug in [&slug, &with_suffix(&slug, Uuid::from_u128(id))] {
                prop_assert!((slug::MIN_LENGTH..=slug::MAX_LENGTH).contains(&slug.len()), "{}", slug);
            }
        }
    }
}
