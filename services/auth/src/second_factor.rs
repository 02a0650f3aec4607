//! A person's second factor, and how long it is deaf after wrong codes.

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// Wrong codes in a row after which the next has to wait. With a password known and a code right for three steps of
/// a million, an attacker has 1 in 50,000 until here, and about one guess a day in the end.
pub(crate) const FREE_CODES: i32 = 5;
/// The first wait; each further wrong code doubles it,
const SHORTEST: TimeDelta = TimeDelta::minutes(1);
/// up to this.
const LONGEST: TimeDelta = TimeDelta::days(1);

/// How a second factor was given (RFC 8176): by a one-time password, and so by several factors.
pub(crate) const METHODS: [&str; 2] = ["otp", "mfa"];

/// What is stored of a person's second factor. Secrets are sealed.
pub(crate) struct SecondFactor {
    pub(crate) user_id: Uuid,
    pub(crate) secret: Option<Vec<u8>>,
    pub(crate) pending_secret: Option<Vec<u8>>,
    pub(crate) pending_until: Option<DateTime<Utc>>,
    pub(crate) last_step: i64,
    pub(crate) wrong_codes: i32,
    pub(crate) blocked_until: Option<DateTime<Utc>>,
}

impl SecondFactor {
    /// The sealed secret that waits for its first code.
    pub(crate) fn pending(&self, now: DateTime<Utc>) -> Option<&[u8]> {
        let waits = self.pending_until.is_some_and(|until| until > now);
        self.pending_secret.as_deref().filter(|_| waits)
    }

    /// Refuses a code that comes too soon after wrong ones.
    pub(crate) fn listens(&self, now: DateTime<Utc>) -> Result<()> {
        match self.blocked_until.and_then(|until| (until - now).to_std().ok()).filter(|wait| !wait.is_zero()) {
            Some(wait) => Err(Error::from(Reason::TooManyAttempts).retry_after(wait)),
            None => Ok(()),
        }
    }
}

/// How long no code is looked at after so many wrong ones in a row.
pub(crate) fn delay(wrong_codes: i32) -> Option<TimeDelta> {
    let beyond = u32::try_from(wrong_codes - FREE_CODES).ok()?;
    let factor = 1_i32.checked_shl(beyond).filter(|factor| *factor > 0).unwrap_or(i32::MAX);
    Some(SHORTEST.checked_mul(factor).unwrap_or(LONGEST).min(LONGEST))
}

/// Where a secret is sealed for.
pub(crate) fn seal_context(user_id: Uuid) -> String {
    format!("totp:{user_id}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_wait_begins_with_the_fifth_and_doubles_up_to_a_day() {
        let minutes = |wrong| delay(wrong).map(|wait| wait.num_minutes());
        let expected = [None, None, None, None, None, Some(1), Some(2), Some(4), Some(8)];
        assert_eq!(std::array::from_fn(|wrong| minutes(i32::try_from(wrong).unwrap())), expected);
        assert_eq!(minutes(15), Some(1024));
        assert_eq!(minutes(16), Some(1440));
    }

    #[test]
    fn a_year_of_guessing_gets_nowhere() {
        // From each guess, three codes of a million are right.
        let (mut time, mut guesses) = (TimeDelta::zero(), 0);
        while time < TimeDelta::days(365) {
            guesses += 1;
            time += delay(guesses).unwrap_or_default();
        }
        assert!(f64::from(guesses) * 3e-6 < 0.002, "{guesses} guesses");
    }

    proptest! {
        #[test]
        fn more_wrong_codes_never_wait_less(wrong in 0..i32::MAX) {
            prop_assert!(delay(wrong) <= delay(wrong + 1));
            prop_assert!(delay(wrong).unwrap_or_default() <= LONGEST);
        }
    }
}
