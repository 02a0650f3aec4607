//! Passwords, before hashing.

use std::borrow::Cow;

use crate::{characters::is_space, visible::nfc};

/// The form of a password that is hashed: OpaqueString of RFC 8265, 4.2.2. Spaces of any kind become the ASCII space,
/// and the rest is NFC, so that a password works regardless of keyboard and system. Case and width are kept.
///
/// No password is rejected: what RFC 8264 also forbids is rare, and existing passwords contain it.
pub fn opaque(password: &str) -> Cow<'_, str> {
    if password.is_ascii() {
        return Cow::Borrowed(password);
    }
    let spaced: String = password.chars().map(|c| if is_space(c) { ' ' } else { c }).collect();
    let normal = nfc(&spaced);
    if normal == password { Cow::Borrowed(password) } else { Cow::Owned(normal) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_password_have_the_same_form() {
        assert_eq!(opaque("cafe\u{301} au\u{a0}lait"), opaque("café au lait"));
        assert_eq!(opaque("  Π R² ＡB  "), "  Π R² ＡB  ", "neither trimmed nor folded");
    }

    proptest! {
        #[test]
        fn the_form_is_stable(password in any::<String>()) {
            let once = opaque(&password).into_owned();
            prop_assert_eq!(opaque(&once), once.as_str());
        }
    }
}
