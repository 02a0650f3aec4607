//! Encryption of secrets at rest that must be read again, such as signing keys and TOTP secrets: AES-256-GCM (NIST SP
//! 800-38D). Secrets that are only compared are hashed instead.
//!
//! Keys come from configuration, each with an id that is stored with the ciphertext. To rotate, put a new key first: it
//! seals from then on. The old key opens what it sealed until that is sealed again ([`Sealer::is_current`]).

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use baton_runtime::Secret;

/// First byte of sealed data: the version of the format.
const FORMAT: u8 = 1;
const KEY_BYTES: usize = 32;

/// Seals and opens secrets. Clones share the keys.
#[derive(Clone)]
pub struct Sealer(Arc<[(String, LessSafeKey)]>);

impl Sealer {
    /// Uses `keys`: `id:key` separated by commas, each key 32 random bytes in base64. The first key seals, all open.
    ///
    /// # Errors
    /// If there is no key, or one does not have that form.
    pub fn new(keys: &Secret) -> anyhow::Result<Self> {
        let mut parsed: Vec<(String, LessSafeKey)> = Vec::new();
        for key in keys.expose().split(',').map(str::trim).filter(|key| !key.is_empty()) {
            let (id, key) = key.split_once(':').context("a sealing key must have the form id:base64")?;
            let fits =
                (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            ensure!(fits, "the id of a sealing key must be 1 to 64 letters, digits, '-', '_' or '.'");
            ensure!(parsed.iter().all(|(known, _)| known != id), "two sealing keys have the id {id}");
            let key = STANDARD.decode(key).ok().filter(|key| key.len() == KEY_BYTES);
            let key = key.with_context(|| format!("sealing key {id} must be 32 bytes in base64"))?;
            let key = UnboundKey::new(&AES_256_GCM, &key).ok().context("a sealing key does not fit AES-256")?;
            parsed.push((id.to_owned(), LessSafeKey::new(key)));
        }
        ensure!(!parsed.is_empty(), "there is no sealing key");
        Ok(Self(parsed.into()))
    }

    /// Seals `secret` for a `context`, such as `totp:<user id>`. It can be opened only with the same context, so a row
    /// cannot be swapped for another.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn seal(&self, context: &str, secret: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (id, key) = self.0.first().context("there is no sealing key")?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok().context("no randomness")?;
        let mut sealed = vec![FORMAT, u8::try_from(id.len())?];
        sealed.extend_from_slice(id.as_bytes());
        sealed.extend_from_slice(&nonce);
        let mut text = secret.to_vec();
        let aad = Aad::from(context.as_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .ok()
            .context("the secret cannot be sealed")?;
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Opens sealed data with the same context.
    ///
    /// # Errors
    /// If it was sealed for another context, with a key that is not configured, or was modified.
    pub fn open(&self, context: &str, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (id, rest) = key_id(sealed).context("the sealed data has an unknown format")?;
        let key = self.0.iter().find(|(known, _)| known.as_bytes() == id);
        let (_, key) = key.with_context(|| format!("sealing key {} is not configured", String::from_utf8_lossy(id)))?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().context("the sealed data is truncated")?;
        let mut text = text.to_vec();
        let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context.as_bytes()), &mut text);
        let length = opened.ok().context("the sealed data was modified, or has another context")?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Whether the current key sealed this; if not, seal it again when convenient.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        key_id(sealed).is_some_and(|(id, _)| self.0.first().is_some_and(|(first, _)| first.as_bytes() == id))
    }
}

fn key_id(sealed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&format, rest) = sealed.split_first()?;
    let (&length, rest) = rest.split_first()?;
    (format == FORMAT).then(|| rest.split_at_checked(length.into())).flatten()
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(ids: &[(&str, u8)]) -> Sealer {
        let keys: Vec<_> = ids.iter().map(|(id, seed)| format!("{id}:{}", STANDARD.encode([*seed; 32]))).collect();
        Sealer::new(&Secret::new(keys.join(","))).unwrap()
    }

    proptest! {
        #[test]
        fn sealed_data_opens_only_with_its_context(secret: Vec<u8>, flip: prop::sample::Index) {
            let sealer = sealer(&[("a", 1)]);
            let sealed = sealer.seal("here", &secret).unwrap();
            prop_assert_eq!(sealer.open("here", &sealed).unwrap(), secret);
            prop_assert!(sealer.open("there", &sealed).is_err());
            let mut changed = sealed.clone();
            changed[flip.index(sealed.len())] ^= 1;
            prop_assert!(sealer.open("here", &changed).is_err());
        }

        #[test]
        fn arbitrary_bytes_do_not_open(bytes: Vec<u8>) {
            prop_assert!(sealer(&[("a", 1)]).open("here", &bytes).is_err());
        }
    }

    #[test]
    fn new_first_key_seals_and_old_key_still_opens() {
        let sealed = sealer(&[("old", 1)]).seal("here", b"secret").unwrap();
        let rotated = sealer(&[("new", 2), ("old", 1)]);
        assert_eq!(rotated.open("here", &sealed).unwrap(), b"secret");
        assert!(!rotated.is_current(&sealed));
        assert!(rotated.is_current(&rotated.seal("here", b"secret").unwrap()));
        assert!(sealer(&[("new", 2)]).open("here", &sealed).is_err());
    }

    #[test]
    fn malformed_keys_are_refused() {
        let key = STANDARD.encode([1; 32]);
        for keys in
            ["".to_owned(), key.clone(), format!("a:{key},a:{key}"), "a:c2hvcnQ=".to_owned(), format!(" :{key}")]
        {
            assert!(Sealer::new(&Secret::new(keys.clone())).is_err(), "{keys}");
        }
    }
}
