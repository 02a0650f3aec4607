//! State of a sign-in between its start and its callback.
//!
//! It consists of two random texts. The state travels through the provider and back; the browser token stays with the
//! browser that started the flow. PKCE verifier (RFC 7636) and nonce are HMACs of the state, keyed with the browser
//! token. The platform therefore stores two hashes and no secret, and a stolen code is useless in any other browser.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_runtime::random;
use chrono::TimeDelta;
use sha2::{Digest, Sha256};

/// Time from the start to the callback.
pub(crate) const FLOW_TTL: TimeDelta = TimeDelta::minutes(10);

/// One sign-in.
pub(crate) struct Flow {
    state: String,
    browser_token: String,
}

impl Flow {
    /// Generates a new flow.
    pub(crate) fn new() -> Self {
        let random = || URL_SAFE_NO_PAD.encode(random::bytes::<32>());
        Self { state: random(), browser_token: random() }
    }

    /// Restores the flow of a callback.
    pub(crate) fn from_callback(state: String, browser_token: String) -> Self {
        Self { state, browser_token }
    }

    /// Returns the state parameter.
    pub(crate) fn state(&self) -> &str {
        &self.state
    }

    /// Returns the token for the browser.
    pub(crate) fn browser_token(&self) -> &str {
        &self.browser_token
    }

    /// Returns the stored hash of the state.
    pub(crate) fn state_hash(&self) -> Vec<u8> {
        Sha256::digest(&self.state).to_vec()
    }

    /// Returns the stored hash of the browser token.
    pub(crate) fn browser_hash(&self) -> Vec<u8> {
        Sha256::digest(&self.browser_token).to_vec()
    }

    /// Returns the nonce that the id_token must repeat.
    pub(crate) fn nonce(&self) -> String {
        self.derive("nonce")
    }

    /// Returns the PKCE verifier.
    pub(crate) fn verifier(&self) -> String {
        self.derive("pkce")
    }

    /// Returns the PKCE challenge.
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
    fn verifier_and_nonce_need_state_and_browser_token() {
        let flow = Flow::new();
        let back = |state: &str, browser: &str| Flow::from_callback(state.to_owned(), browser.to_owned());
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
