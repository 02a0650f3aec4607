//! Tokens in mailed links.
//!
//! A token consists of ids and an HMAC-SHA-256 over them. So no secret has to be stored, and a mail can be written (and
//! written again) after the commit, from the ids alone. The ids, or the row that they name, contain what invalidates a
//! token, such as a nonce that changes or a time.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_runtime::Secret;
use uuid::Uuid;

const TAG_BYTES: usize = 32;

/// Issues and opens the mailed tokens of one service.
#[derive(Debug, Clone)]
pub struct MailedTokens(hmac::Key);

impl MailedTokens {
    /// Uses `key`: at least 32 bytes, in base64.
    ///
    /// # Errors
    /// If the key does not have that form.
    pub fn new(key: &Secret) -> anyhow::Result<Self> {
        let key = base64::engine::general_purpose::STANDARD.decode(key.expose())?;
        anyhow::ensure!(key.len() >= TAG_BYTES, "the key for mailed tokens must be at least 32 bytes");
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// Issues a token for these ids, valid for one purpose only.
    pub fn issue<const N: usize>(&self, purpose: &str, ids: [Uuid; N]) -> String {
        let mut token = ids.map(Uuid::into_bytes).concat();
        let tag = hmac::sign(&self.0, &signed(purpose, &token));
        token.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The ids of a token; `None` if it was not issued with this key for this purpose.
    pub fn open<const N: usize>(&self, purpose: &str, token: &str) -> Option<[Uuid; N]> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (ids, tag) = token.split_at_checked(N * 16)?;
        hmac::verify(&self.0, &signed(purpose, ids), tag).ok()?;
        let mut found = [Uuid::nil(); N];
        for (id, bytes) in found.iter_mut().zip(ids.chunks_exact(16)) {
            *id = Uuid::from_slice(bytes).ok()?;
        }
        Some(found)
    }
}

fn signed(purpose: &str, ids: &[u8]) -> Vec<u8> {
    [purpose.as_bytes(), b"\0", ids].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(seed: u8) -> MailedTokens {
        let key = base64::engine::general_purpose::STANDARD.encode([seed; 32]);
        MailedTokens::new(&Secret::new(key)).unwrap()
    }

    proptest! {
        #[test]
        fn token_opens_only_with_its_key_and_purpose(a: u128, b: u128) {
            let ids = [Uuid::from_u128(a), Uuid::from_u128(b)];
            let token = tokens(1).issue("invite", ids);
            prop_assert_eq!(tokens(1).open("invite", &token), Some(ids));
            prop_assert_eq!(tokens(2).open::<2>("invite", &token), None);
            prop_assert_eq!(tokens(1).open::<2>("verify", &token), None);
            prop_assert_eq!(tokens(1).open::<1>("invite", &token), None);
        }

        #[test]
        fn arbitrary_text_is_not_a_token(text in ".*") {
            prop_assert_eq!(tokens(1).open::<1>("invite", &text), None);
        }
    }
}
