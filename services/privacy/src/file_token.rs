//! Tokens of download URLs: they authorize to fetch one file for some minutes, without a session.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_runtime::Secret;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// How long a URL is valid.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Signs and verifies tokens. Clones share the key.
#[derive(Clone)]
pub(crate) struct FileTokens(hmac::Key);

impl FileTokens {
    pub(crate) fn new(key: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()))
    }

    /// A token for the file of this export, and when it expires.
    pub(crate) fn issue(&self, export_id: Uuid, now: DateTime<Utc>) -> (String, DateTime<Utc>) {
        let expires_at = now + LIFETIME;
        let seconds = expires_at.timestamp();
        let tag = hmac::sign(&self.0, &signed(export_id, seconds));
        (format!("{seconds}.{}", URL_SAFE_NO_PAD.encode(tag)), expires_at)
    }

    /// Whether the token is one for this export, and valid.
    pub(crate) fn verify(&self, token: &str, export_id: Uuid, now: DateTime<Utc>) -> bool {
        let Some((seconds, tag)) = token.split_once('.') else { return false };
        let (Ok(seconds), Ok(tag)) = (seconds.parse::<i64>(), URL_SAFE_NO_PAD.decode(tag)) else { return false };
        seconds > now.timestamp() && hmac::verify(&self.0, &signed(export_id, seconds), &tag).is_ok()
    }
}

fn signed(export_id: Uuid, seconds: i64) -> Vec<u8> {
    format!("export:{export_id}:{seconds}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_export_and_some_minutes() {
        let tokens = FileTokens::new(&Secret::new("a key"));
        let (id, other, now) = (Uuid::from_u128(1), Uuid::from_u128(2), "2027-01-01T00:00:00Z".parse().unwrap());
        let (token, expires_at) = tokens.issue(id, now);
        assert!(tokens.verify(&token, id, now));
        assert!(!tokens.verify(&token, other, now));
        assert!(!tokens.verify(&token, id, expires_at));
        let (seconds, tag) = token.split_once('.').unwrap();
        let later = format!("{}.{tag}", seconds.parse::<i64>().unwrap() + 60);
        for bad in [later.as_str(), "", ".", "1.", "x.y", &token[..token.len() - 1]] {
            assert!(!tokens.verify(bad, id, now), "{bad}");
        }
        assert!(!FileTokens::new(&Secret::new("another key")).verify(&token, id, now));
    }
}
