//! What each signing key is at a moment: next, current or retired. It follows from the times at which they begin
//! to sign, so all instances agree without a word.

use chrono::{DateTime, TimeDelta, Utc};

use crate::keys::ACCESS_TOKEN_SECONDS;

/// A key is published for this long before it signs. Longer than anyone keeps a JWKS: five seconds in an instance
/// (`keys::LOOK_EVERY`), five minutes on its way (the gateway's `Cache-Control`), five at a service
/// (`baton_access::token::REFRESHED_AFTER`).
pub(crate) const PUBLISHED_BEFORE: TimeDelta = TimeDelta::minutes(15);
/// A retired key is published until the last token that it signed has expired, and this much longer: clocks differ.
const SPARE: TimeDelta = TimeDelta::minutes(5);

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and will sign.
    Next,
    /// Signs.
    Current,
    /// Published until its last token has expired.
    Retired,
}

/// Which of the keys signs; `from` says when each begins to, in order. One whose time has not come signs only when
/// there is no other: another instance has just made the first, and its clock is ahead.
pub(crate) fn signer(from: &[DateTime<Utc>], now: DateTime<Utc>) -> Option<usize> {
    let begun = from.partition_point(|from| *from <= now);
    (!from.is_empty()).then(|| begun.saturating_sub(1))
}

/// What the key at this place is.
pub(crate) fn state(from: &[DateTime<Utc>], place: usize, now: DateTime<Utc>) -> KeyState {
    match signer(from, now) {
        Some(signer) if place == signer => KeyState::Current,
        Some(signer) if place < signer => KeyState::Retired,
        _ => KeyState::Next,
    }
}

/// How many of the oldest keys can go: every token that they signed has expired.
pub(crate) fn ended(from: &[DateTime<Utc>], now: DateTime<Utc>) -> usize {
    let kept = TimeDelta::seconds(ACCESS_TOKEN_SECONDS.into()) + SPARE;
    // A key's last token is from the moment at which the one after it began.
    from.iter().skip(1).take_while(|next| **next + kept <= now).count()
}

/// When the key that is to be made now will begin to sign; `None` when none is to be made. The newest key signs from
/// `newest` and is to be replaced after `every`.
pub(crate) fn due(newest: Option<DateTime<Utc>>, now: DateTime<Utc>, every: TimeDelta) -> Option<DateTime<Utc>> {
    let Some(newest) = newest else { return Some(now) };
    let planned = newest + every;
    (planned - PUBLISHED_BEFORE <= now).then(|| planned.max(now + PUBLISHED_BEFORE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_key_is_next_then_current_then_retired_then_gone() {
        let from = [at(0), at(1000)];
        assert_eq!((signer(&from, at(999)), signer(&from, at(1000))), (Some(0), Some(1)));
        assert_eq!([0, 1].map(|n| state(&from, n, at(999))), [KeyState::Current, KeyState::Next]);
        assert_eq!([0, 1].map(|n| state(&from, n, at(1000))), [KeyState::Retired, KeyState::Current]);
        assert_eq!((ended(&from, at(1000 + 1199)), ended(&from, at(1000 + 1200))), (0, 1));
        assert_eq!((signer(&[], at(0)), signer(&from, at(-5))), (None, Some(0)));
    }

    #[test]
    fn the_first_key_signs_at_once_and_the_next_is_made_in_time() {
        let every = TimeDelta::days(30);
        assert_eq!(due(None, at(0), every), Some(at(0)));
        assert_eq!(due(Some(at(0)), at(1), every), None);
        let in_time = at(0) + every - PUBLISHED_BEFORE;
        assert_eq!(due(Some(at(0)), in_time, every), Some(at(0) + every));
        // Everything stood still for a year: published before it signs all the same.
        let late = at(365 * 86_400);
        assert_eq!(due(Some(at(0)), late, every), Some(late + PUBLISHED_BEFORE));
    }

    /// What was published then, and which key signed.
    struct Moment {
        at: DateTime<Utc>,
        published: Vec<DateTime<Utc>>,
        signs: DateTime<Utc>,
    }

    proptest! {
        /// However the clock goes on: who fetched the keys as long ago as a JWKS may be kept knows the one that signs,
        /// and a token is verified by a published key for as long as it lives.
        #[test]
        fn nobody_ever_meets_a_token_of_a_key_that_they_do_not_know(
            steps in proptest::collection::vec(1_i64..4000, 1..200), every in 1_i64..100_000
        ) {
            let every = TimeDelta::seconds(every);
            let (mut now, mut keys) = (at(0), vec![at(0)]);
            let mut history: Vec<Moment> = Vec::new();
            for step in steps {
                keys.drain(..ended(&keys, now));
                keys.extend(due(keys.last().copied(), now, every));
                let signs = keys[signer(&keys, now).unwrap()];
                for past in history.iter().filter(|past| now - past.at <= TimeDelta::seconds(900)) {
                    prop_assert!(keys.contains(&past.signs), "a token of {} outlives its key at {now}", past.at);
                }
                if let Some(past) = history.iter().rev().find(|past| now - past.at >= PUBLISHED_BEFORE) {
                    prop_assert!(past.published.contains(&signs), "{signs} is unknown to a JWKS of {}", past.at);
                }
                history.push(Moment { at: now, published: keys.clone(), signs });
                now += TimeDelta::seconds(step);
            }
        }
    }
}
