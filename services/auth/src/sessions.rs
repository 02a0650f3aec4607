//! Session lifetime and refresh token rotation.
//!
//! Refresh tokens have generations. The first exchange of a token starts the next generation. Within [`REUSE_INTERVAL`]
//! tokens of the previous generation may be exchanged again, into further tokens of the newest one: a client may have
//! sent calls in parallel or lost a response (Okta calls it the grace period, Auth0 the reuse interval). An older token
//! has been stolen from the client or by it, so the session is closed (RFC 9700, section 4.14.2). Tokens of one
//! generation invalidate each other. A thief who acts within the interval is therefore detected as soon as both client
//! and thief have refreshed again.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_runtime::random;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Method reference of a password (RFC 8176).
pub(crate) const AMR_PASSWORD: &str = "pwd";
/// Method reference of another identity provider. RFC 8176 has no name for it.
pub(crate) const AMR_FEDERATED: &str = "fed";
/// Lifetime of an access token, in seconds.
pub(crate) const ACCESS_TOKEN_TTL_SECONDS: i32 = 900;
/// A session expires when it has not been refreshed for this long.
const IDLE_TIMEOUT: TimeDelta = TimeDelta::days(30);
/// A session expires after this time however it is used (ASVS 5.0, 7.3.2).
const MAX_LIFETIME: TimeDelta = TimeDelta::days(180);
/// Time after its first exchange in which a refresh token may be exchanged again.
const REUSE_INTERVAL: TimeDelta = TimeDelta::seconds(10);
/// Maximum number of tokens in a generation.
const MAX_TOKENS_PER_GENERATION: i32 = 32;

/// A session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    pub(crate) device: String,
    pub(crate) address: Option<String>,
    pub(crate) amr: Vec<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) last_used_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Returns when a session expires that was opened and last used at these times.
pub(crate) fn expires_at(opened_at: DateTime<Utc>, used_at: DateTime<Utc>) -> DateTime<Utc> {
    (used_at + IDLE_TIMEOUT).min(opened_at + MAX_LIFETIME)
}

/// A refresh token: the text for the client, and the stored hash.
pub(crate) struct RefreshToken {
    pub(crate) text: String,
    pub(crate) hash: Vec<u8>,
}

impl RefreshToken {
    /// Generates 256 random bits.
    pub(crate) fn new() -> Self {
        let text = URL_SAFE_NO_PAD.encode(random::bytes::<32>());
        let hash = hash(&text);
        Self { text, hash }
    }
}

/// Hashes a refresh token for storage. It has 256 random bits, so a fast hash is enough.
pub(crate) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

/// The newest generation of a session's refresh tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) number: i32,
    /// When its first token was issued.
    pub(crate) started_at: DateTime<Utc>,
    /// Tokens that it has.
    pub(crate) tokens: i32,
}

impl Generation {
    /// The generation of a new session.
    pub(crate) fn first(now: DateTime<Utc>) -> Self {
        Self { number: 1, started_at: now, tokens: 1 }
    }

    /// Returns the generation after the exchange of a token of generation `presented`; the response holds its newest
    /// token. `None` when the token is no longer valid.
    pub(crate) fn exchange(self, presented: i32, now: DateTime<Utc>) -> Option<Self> {
        if presented == self.number {
            return Some(Self { number: self.number + 1, started_at: now, tokens: 1 });
        }
        let again = presented + 1 == self.number
            && now - self.started_at <= REUSE_INTERVAL
            && self.tokens < MAX_TOKENS_PER_GENERATION;
        again.then_some(Self { tokens: self.tokens + 1, ..self })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
    }

    #[test]
    fn token_is_exchanged_again_only_within_the_reuse_interval() {
        let first = Generation::first(at(0));
        let second = first.exchange(1, at(60_000)).unwrap();
        assert_eq!(second, Generation { number: 2, started_at: at(60_000), tokens: 1 });
        assert_eq!(second.exchange(1, at(70_000)).unwrap().tokens, 2, "the last moment of the reuse interval");
        assert_eq!(second.exchange(1, at(70_001)), None, "too late");
        let third = second.exchange(2, at(61_000)).unwrap();
        assert_eq!(third.exchange(1, at(61_000)), None, "its successor was used");
        assert_eq!(third.exchange(4, at(61_000)), None, "never made");
    }

    #[test]
    fn reuse_interval_does_not_restart_with_each_exchange() {
        let mut generation = Generation::first(at(0)).exchange(1, at(0)).unwrap();
        generation = generation.exchange(1, at(9_000)).unwrap();
        assert_eq!(generation.exchange(1, at(11_000)), None);
    }

    #[test]
    fn generation_is_bounded() {
        let mut generation = Generation::first(at(0)).exchange(1, at(0)).unwrap();
        while let Some(next) = generation.exchange(1, at(1)) {
            generation = next;
        }
        assert_eq!(generation.tokens, MAX_TOKENS_PER_GENERATION);
    }

    #[test]
    fn session_expires_when_idle_or_old() {
        assert_eq!(expires_at(at(0), at(0)), at(0) + IDLE_TIMEOUT);
        assert_eq!(expires_at(at(0), at(0) + TimeDelta::days(170)), at(0) + MAX_LIFETIME);
    }

    proptest! {
        /// Two parties hold the same token and refresh now and then, never within the reuse interval of each other: the
        /// session ends when both have refreshed.
        #[test]
        fn two_holders_of_one_token_cannot_both_continue(
            turns in proptest::collection::vec((any::<bool>(), 10_001..1_000_000_i64), 2..40)
        ) {
            let mut generation = Generation::first(at(0));
            let mut held = [1, 1];
            let mut now = 0;
            let first = usize::from(turns[0].0);
            for (holder, pause) in turns {
                now += pause;
                let holder = usize::from(holder);
                let exchanged = generation.exchange(held[holder], at(now));
                prop_assert_eq!(exchanged.is_some(), holder == first);
                let Some(next) = exchanged else { break };
                generation = next;
                held[holder] = next.number;
            }
        }

        /// A client that follows the rules is never signed out: any number of parallel calls up to the bound, all
        /// within the reuse interval, and then any of the responses.
        #[test]
        fn client_with_parallel_calls_stays_signed_in(
            rounds in proptest::collection::vec((1..=MAX_TOKENS_PER_GENERATION, 0..=10_000_i64, 0..100_000_i64), 1..30)
        ) {
            let mut generation = Generation::first(at(0));
            let mut now = 0;
            for (calls, spread, pause) in rounds {
                now += pause;
                let held = generation.number;
                for call in 0..calls {
                    let moment = at(now + spread * i64::from(call) / i64::from(calls));
                    generation = generation.exchange(held, moment).unwrap();
                }
                now += spread;
                prop_assert_eq!(generation.number, held + 1);
            }
        }
    }
}
