//! Sessions: how long they last, and the refresh tokens that carry them on.
//!
//! Refresh tokens come in generations. The first exchange of a token begins the next generation; for
//! [`GRACE`] the tokens of the one before may be exchanged again, into more tokens of the newest one: a client whose
//! calls crossed, or that lost an answer, is no thief (Okta calls it the grace period, Auth0 the reuse interval).
//! Whatever is older has been stolen from the client or by it: the session ends (RFC 9700, section 4.14.2). As
//! tokens of one generation make each other old, a thief inside the grace is found out as soon as the client, or the
//! thief, goes on.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use baton_access::{Caller, KeyGrant, PresentedKey, Sessions};
use baton_errors::{Reason, Result};
use baton_store::{Db, Tenant, Tx};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{api_key, events, store};

/// A session ends when it has not been refreshed for this long,
const IDLE: TimeDelta = TimeDelta::days(30);
/// and however it is used, after this: then the person signs in again (ASVS 5.0, 7.3.2).
const LONGEST: TimeDelta = TimeDelta::days(180);
/// How long a refresh token may be exchanged again after its first exchange.
const GRACE: TimeDelta = TimeDelta::seconds(10);
/// Tokens of a generation, at most.
const PER_GENERATION: i32 = 32;

/// When a session ends that was opened and last used at these times.
pub(crate) fn expiry(opened_at: DateTime<Utc>, used_at: DateTime<Utc>) -> DateTime<Utc> {
    (used_at + IDLE).min(opened_at + LONGEST)
}

/// A refresh token: what the client gets, and what is stored.
pub(crate) struct RefreshToken {
    pub(crate) text: String,
    pub(crate) hash: Vec<u8>,
}

impl RefreshToken {
    /// 256 random bits.
    pub(crate) fn new() -> Self {
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let hash = hash(&text);
        Self { text, hash }
    }
}

/// What is stored of a refresh token. It has 256 random bits, so a fast hash is enough.
pub(crate) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

/// How far the refresh tokens of a session have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation {
    /// The newest.
    pub(crate) number: i32,
    /// When its first token was made.
    pub(crate) begun_at: DateTime<Utc>,
    /// How many tokens it has.
    pub(crate) tokens: i32,
}

impl Generation {
    /// That of a session that has just been opened.
    pub(crate) fn first(now: DateTime<Utc>) -> Self {
        Self { number: 1, begun_at: now, tokens: 1 }
    }

    /// The generation after the exchange of a token of generation `presented`; its newest token is the answer.
    /// `None` when the token had its time.
    pub(crate) fn exchange(self, presented: i32, now: DateTime<Utc>) -> Option<Self> {
        if presented == self.number {
            return Some(Self { number: self.number + 1, begun_at: now, tokens: 1 });
        }
        let again = presented + 1 == self.number && now - self.begun_at <= GRACE && self.tokens < PER_GENERATION;
        again.then_some(Self { tokens: self.tokens + 1, ..self })
    }
}

/// Closes the open sessions of a person, but not `except`; each is told to all services. Answers how many it were.
pub(crate) async fn close_all(tx: &mut Tx, user_id: Uuid, except: Option<Uuid>, reason: &str) -> Result<usize> {
    let now = tx.db().clock().now();
    let closed = store::session::close_all(tx, user_id, except, reason, now).await?;
    let count = closed.len();
    tx.publish_all(closed.into_iter().map(|id| events::session_closed(user_id, id))).await?;
    Ok(count)
}

/// Open sessions, read from the service's own tables.
pub(crate) struct LocalSessions(pub(crate) Db);

#[async_trait]
impl Sessions for LocalSessions {
    async fn check(&self, caller: &Caller) -> Result<Option<DateTime<Utc>>> {
        let mut tx = self.0.begin_read(Tenant::user(caller.user_id)).await?;
        let now = self.0.clock().now();
        let proved_at = store::session::proved_at(&mut tx, caller.session_id, caller.user_id, now).await?;
        proved_at.map(Some).ok_or_else(|| Reason::SessionClosed.into())
    }

    async fn api_key(&self, key: &PresentedKey) -> Result<KeyGrant> {
        api_key::resolve(&self.0, &key.hash).await
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
    fn a_token_is_exchanged_once_and_again_only_within_the_grace() {
        let first = Generation::first(at(0));
        let second = first.exchange(1, at(60_000)).unwrap();
        assert_eq!(second, Generation { number: 2, begun_at: at(60_000), tokens: 1 });
        assert_eq!(second.exchange(1, at(70_000)).unwrap().tokens, 2, "the last moment of the grace");
        assert_eq!(second.exchange(1, at(70_001)), None, "too late");
        let third = second.exchange(2, at(61_000)).unwrap();
        assert_eq!(third.exchange(1, at(61_000)), None, "its successor was used");
        assert_eq!(third.exchange(4, at(61_000)), None, "never made");
    }

    #[test]
    fn the_grace_does_not_begin_again_with_each_exchange() {
        let mut generation = Generation::first(at(0)).exchange(1, at(0)).unwrap();
        generation = generation.exchange(1, at(9_000)).unwrap();
        assert_eq!(generation.exchange(1, at(11_000)), None);
    }

    #[test]
    fn a_generation_is_bounded() {
        let mut generation = Generation::first(at(0)).exchange(1, at(0)).unwrap();
        while let Some(next) = generation.exchange(1, at(1)) {
            generation = next;
        }
        assert_eq!(generation.tokens, PER_GENERATION);
    }

    #[test]
    fn a_session_ends_idle_or_old() {
        assert_eq!(expiry(at(0), at(0)), at(0) + IDLE);
        assert_eq!(expiry(at(0), at(0) + TimeDelta::days(170)), at(0) + LONGEST);
    }

    proptest! {
        /// Two hold the same token, one of them as a thief, and each goes on now and then, never within the grace of
        /// the other: the first time that both have, the session ends.
        #[test]
        fn two_who_share_a_token_do_not_both_go_on(
            turns in proptest::collection::vec((any::<bool>(), 10_001..1_000_000_i64), 2..40)
        ) {
            let mut generation = Generation::first(at(0));
            let mut held = [1, 1];
            let mut now = 0;
            let first = usize::from(turns[0].0);
            for (who, pause) in turns {
                now += pause;
                let who = usize::from(who);
                let exchanged = generation.exchange(held[who], at(now));
                prop_assert_eq!(exchanged.is_some(), who == first);
                let Some(next) = exchanged else { break };
                generation = next;
                held[who] = next.number;
            }
        }

        /// One who keeps to the rules is never signed out: any number of calls at once, up to the bound, all within
        /// the grace, and then any of the answers.
        #[test]
        fn a_client_whose_calls_cross_stays_signed_in(
            rounds in proptest::collection::vec((1..=PER_GENERATION, 0..=10_000_i64, 0..100_000_i64), 1..30)
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
