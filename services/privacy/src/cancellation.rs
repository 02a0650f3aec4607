//! Tokens that cancel an erasure, and show it afterwards.

use baton_access::MailedTokens;
use uuid::Uuid;

use crate::erasure::Erasure;

const PURPOSE: &str = "erasure";

/// Issues and opens them. Clones share the key.
#[derive(Clone)]
pub(crate) struct CancellationTokens(pub(crate) MailedTokens);

impl CancellationTokens {
    pub(crate) fn issue(&self, erasure: &Erasure) -> String {
        self.0.issue(PURPOSE, [erasure.request_id, erasure.nonce])
    }

    /// The request and the nonce.
    pub(crate) fn open(&self, token: &str) -> Option<[Uuid; 2]> {
        self.0.open(PURPOSE, token)
    }
}
