//! One sign-in from its beginning to its callback: what ties the two together.
//!
//! Two random texts make it up. The state goes through the provider and comes back; the browser token stays with
//! the browser that began. PKCE verifier (RFC 7636) and nonce are HMACs of the state keyed with the browser
//! token, so the platform keeps two hashes and no secret, and a code that was stolen on its way is of no use in
//! any other browser.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use sha2::{Digest, Sha256};

/// How long the callback may take.
pub(crate) const LASTS: TimeDelta = TimeDelta::minutes(10);

/// One sign-in.
pub(crate) struct Flow {
    state: String,
    browser_token: String,
}

impl Flow {
    /// A new one.
    pub(crate) fn new() -> Self {
        let random = || URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        Self { state: random(), browser_token: random() }
    }

    /// The one that a callback claims to end.
    pub(crate) fn returned(state: String, browser_token: String) -> Self {
        Self { state, browser_token }
    }

    /// What goes through the provider.
    pub(crate) fn state(&self) -> &str {
        &self.state
    }

    /// What stays with the browser.
    pub(crate) fn browser_token(&self) -> &str {
        &self.browser_token
    }

    /// What is stored of the state.
    pub(crate) fn state_hash(&self) -> Vec<u8> {
        Sha256::digest(&self.state).to_vec()
    }

    /// What is stored of the browser token.
    pub(crate) fn browser_hash(&self) -> Vec<u8> {
        Sha256::digest(&self.browser_token).to_vec()
    }

    /// What the id_token must repeat.
    pub(crate) fn nonce(&self) -> String {
        self.derive("nonce")
    }

    /// What proves to the provider that the code comes from where the sign-in began.
    pub(crate) fn verifier(&self) -> String {
        self.derive("pkce")
    }

    /// What announces the verifier.
    pub(crate) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier()))
    }

    fn derive(&self, label: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.browser_token.as_bytes());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, format!("{label}\0{}", self.state).as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_and_nonce_come_back_with_both_halves_only() {
        let flow = Flow::new();
        let back = |state: &str, browser: &str| Flow::returned(state.to_owned(), browser.to_owned());
        let same = back(flow.state(), flow.browser_token());
        assert_eq!((same.verifier(), same.nonce()), (flow.verifier(), flow.nonce()));
        let other = Flow::new();
        for stolen in [back(flow.state(), other.browser_token()), back(other.state(), flow.browser_token())] {
            assert!(stolen.verifier() != flow.verifier() && stolen.nonce() != flow.nonce());
        }
        assert_ne!(flow.verifier(), flow.nonce());
        // RFC 7636, section 4.1: 43 to 128 unreserved characters.
        assert_eq!(flow.verifier().len(), 43);
    }
}
