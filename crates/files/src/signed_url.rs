//! What a URL of a folder is good for, signed: `<claims>.<HMAC-SHA256>`, both in base64url.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use baton_runtime::Secret;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Keeps these signatures apart from whatever else the key might sign.
const CONTEXT: &[u8] = b"baton file ticket 1\n";
const KEY_BYTES: usize = 32;

/// What its bearer may do until `expires`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    #[serde(rename = "k")]
    pub(crate) key: String,
    #[serde(rename = "a")]
    pub(crate) allows: Allows,
    /// In Unix seconds.
    #[serde(rename = "e")]
    pub(crate) expires: i64,
}

/// One method, and how it is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Allows {
    #[serde(rename = "put")]
    Put {
        #[serde(rename = "s")]
        size: u32,
    },
    #[serde(rename = "get")]
    Get {
        #[serde(rename = "d")]
        disposition: String,
        #[serde(rename = "t")]
        content_type: String,
    },
}

/// Signs tickets, and knows its own again. Clones share the key.
#[derive(Debug, Clone)]
pub(crate) struct Signer(Arc<hmac::Key>);

impl Signer {
    /// # Errors
    /// When the key is not 32 bytes in base64.
    pub(crate) fn new(key: &Secret) -> anyhow::Result<Self> {
        let bytes = STANDARD.decode(key.expose()).ok().filter(|bytes| bytes.len() == KEY_BYTES);
        let bytes = bytes.ok_or_else(|| anyhow::anyhow!("the signing key of files is not 32 bytes in base64"))?;
        Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes))))
    }

    pub(crate) fn sign(&self, ticket: &Ticket) -> serde_json::Result<String> {
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(ticket)?);
        let mut tag = hmac::Context::with_key(&self.0);
        tag.update(CONTEXT);
        tag.update(claims.as_bytes());
        Ok(format!("{claims}.{}", URL_SAFE_NO_PAD.encode(tag.sign())))
    }

    /// The ticket, if it is one of ours and still good.
    pub(crate) fn verify(&self, token: &str, now: DateTime<Utc>) -> Option<Ticket> {
        let (claims, tag) = token.split_once('.')?;
        let signed = [CONTEXT, claims.as_bytes()].concat();
        hmac::verify(&self.0, &signed, &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        let ticket: Ticket = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        (now.timestamp() < ticket.expires).then_some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn signer(byte: u8) -> Signer {
        Signer::new(&Secret::new(STANDARD.encode([byte; 32]))).unwrap()
    }

    fn ticket(now: DateTime<Utc>) -> Ticket {
        Ticket { key: "accounts/1".to_owned(), allows: Allows::Put { size: 7 }, expires: now.timestamp() + 60 }
    }

    #[test]
    fn a_ticket_is_good_until_it_expires_and_under_its_own_key() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let token = signer(1).sign(&ticket(now)).unwrap();
        assert_eq!(signer(1).verify(&token, now), Some(ticket(now)));
        assert_eq!(signer(1).verify(&token, now + TimeDelta::seconds(59)), Some(ticket(now)));
        assert_eq!(signer(1).verify(&token, now + TimeDelta::seconds(60)), None);
        assert_eq!(signer(2).verify(&token, now), None);
    }

    #[test]
    fn keys_of_another_form_are_refused() {
        for key in ["", "c2hvcnQ=", "no base64"] {
            assert!(Signer::new(&Secret::new(key)).is_err(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn a_ticket_that_was_changed_is_none(place: prop::sample::Index, to in "[A-Za-z0-9_.-]") {
            let now = DateTime::UNIX_EPOCH;
            let token = signer(1).sign(&ticket(now)).unwrap();
            let at = place.index(token.len());
            let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
            // The last letter of base64 has bits to spare, which decoders may not overlook.
            prop_assert_eq!(signer(1).verify(&changed, now).is_some(), changed == token);
        }

        #[test]
        fn no_text_is_a_ticket(text in ".*") {
            prop_assert_eq!(signer(1).verify(&text, DateTime::UNIX_EPOCH), None);
        }
    }
}
