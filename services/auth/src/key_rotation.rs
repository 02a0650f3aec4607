//! Key rotation: whether a signing key is next, current or retired. The state follows from the times at which the keys
//! begin to sign, so all instances agree without coordination.

use chrono::{DateTime, TimeDelta, Utc};

use crate::sessions::ACCESS_TOKEN_TTL_SECONDS;

/// A key is published this long before it signs. That is longer than any cache of a JWKS: five seconds in an instance
/// (`maintenance::signing_keys`), five minutes in transit (the gateway's `Cache-Control`), five minutes in a service
/// (`baton_access::token::REFRESHED_AFTER`).
pub(crate) const PUBLISH_LEAD: TimeDelta = TimeDelta::minutes(15);
/// A retired key stays published until its last token has expired, plus this time for clock skew.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// State of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, will sign.
    Next,
    /// Signs.
    Current,
    /// Published until its last token has expired.
    Retired,
}

/// Returns the index of the key that signs. `from` lists when each key begins to sign, in order. A key whose time has
/// not come signs only when it is the only one: another instance has just created the first key, and that instance's
/// clock is ahead.
pub(crate) fn signing_index(from: &[DateTime<Utc>], now: DateTime<Utc>) -> Option<usize> {
    let begun = from.partition_point(|from| *from <= now);
    (!from.is_empty()).then(|| begun.saturating_sub(1))
}

/// Returns the state of the key at `index`.
pub(crate) fn state(from: &[DateTime<Utc>], index: usize, now: DateTime<Utc>) -> KeyState {
    match signing_index(from, now) {
        Some(signer) if index == signer => KeyState::Current,
        Some(signer) if index < signer => KeyState::Retired,
        _ => KeyState::Next,
    }
}

/// Returns how many of the oldest keys can be deleted, since all tokens that they signed have expired.
pub(crate) fn expired_count(from: &[DateTime<Utc>], now: DateTime<Utc>) -> usize {
    let kept = TimeDelta::seconds(ACCESS_TOKEN_TTL_SECONDS.into()) + CLOCK_SKEW;
    // A key issues its last token when the next key begins to sign.
    from.iter().skip(1).take_while(|next| **next + kept <= now).count()
}

/// Returns when a key that is created now will begin to sign; `None` when no key is due. The newest key signs from
/// `newest` and is replaced after `interval`.
pub(crate) fn next_start(
    newest: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    interval: TimeDelta,
) -> Option<DateTime<Utc>> {
    let Some(newest) = newest else { return Some(now) };
    let planned = newest + interval;
    (planned - PUBLISH_LEAD <= now).then(|| planned.max(now + PUBLISH_LEAD))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn key_is_next_then_current_then_retired_then_expired() {
        let from = [at(0), at(1000)];
        assert_eq!((signing_index(&from, at(999)), signing_index(&from, at(1000))), (Some(0), Some(1)));
        assert_eq!([0, 1].map(|n| state(&from, n, at(999))), [KeyState::Current, KeyState::Next]);
        assert_eq!([0, 1].map(|n| state(&from, n, at(1000))), [KeyState::Retired, KeyState::Current]);
        assert_eq!((expired_count(&from, at(1000 + 1199)), expired_count(&from, at(1000 + 1200))), (0, 1));
        assert_eq!((signing_index(&[], at(0)), signing_index(&from, at(-5))), (None, Some(0)));
    }

    #[test]
    fn first_key_signs_at_once_and_next_one_is_published_in_time() {
        let interval = TimeDelta::days(30);
        assert_eq!(next_start(None, at(0), interval), Some(at(0)));
        assert_eq!(next_start(Some(at(0)), at(1), interval), None);
        let in_time = at(0) + interval - PUBLISH_LEAD;
        assert_eq!(next_start(Some(at(0)), in_time, interval), Some(at(0) + interval));
        // No instance ran for a year: the next key is still published before it signs.
        let late = at(365 * 86_400);
        assert_eq!(next_start(Some(at(0)), late, interval), Some(late + PUBLISH_LEAD));
    }

    /// The published keys and the signing key at one time.
    struct Moment {
        at: DateTime<Utc>,
        published: Vec<DateTime<Utc>>,
        signs: DateTime<Utc>,
    }

    proptest! {
        /// For any passage of time: a JWKS that is as old as a cache may be contains the key that signs now, and a
        /// token's key stays published while the token is valid.
        #[test]
        fn signing_key_is_always_published_to_every_verifier(
            steps in proptest::collection::vec(1_i64..4000, 1..200), interval in 1_i64..100_000
        ) {
            let interval = TimeDelta::seconds(interval);
            let (mut now, mut keys) = (at(0), vec![at(0)]);
            let mut history: Vec<Moment> = Vec::new();
            for step in steps {
                keys.drain(..expired_count(&keys, now));
                keys.extend(next_start(keys.last().copied(), now, interval));
                let signs = keys[signing_index(&keys, now).unwrap()];
                for past in history.iter().filter(|past| now - past.at <= TimeDelta::seconds(900)) {
                    prop_assert!(keys.contains(&past.signs), "a token of {} outlives its key at {now}", past.at);
                }
                if let Some(past) = history.iter().rev().find(|past| now - past.at >= PUBLISH_LEAD) {
                    prop_assert!(past.published.contains(&signs), "{signs} is unknown to a JWKS of {}", past.at);
                }
                history.push(Moment { at: now, published: keys.clone(), signs });
                now += TimeDelta::seconds(step);
            }
        }
    }
}
