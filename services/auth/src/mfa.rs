//! The second factor of a user, and its lockout after wrong codes.

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// Wrong codes in a row that cause no lockout. An attacker who knows the password, with three of a million codes valid
/// at a time, has a chance of 1 in 50,000 until here, and about one guess a day in the end.
pub(crate) const FREE_WRONG_CODES: i32 = 5;
/// The first lockout. Each further wrong code doubles it.
const MIN_LOCKOUT: TimeDelta = TimeDelta::minutes(1);
/// The longest lockout.
const MAX_LOCKOUT: TimeDelta = TimeDelta::days(1);

/// Authentication methods of a TOTP code (RFC 8176).
pub(crate) const AMR_METHODS: [&str; 2] = ["otp", "mfa"];

/// A user's stored second factor. Secrets are sealed.
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
    /// Returns the sealed secret that awaits its first code, unless it has expired.
    pub(crate) fn valid_pending_secret(&self, now: DateTime<Utc>) -> Option<&[u8]> {
        let waits = self.pending_until.is_some_and(|until| until > now);
        self.pending_secret.as_deref().filter(|_| waits)
    }

    /// Refuses codes during a lockout.
    ///
    /// # Errors
    /// TOO_MANY_ATTEMPTS, with the time to wait.
    pub(crate) fn check_lockout(&self, now: DateTime<Utc>) -> Result<()> {
        match self.blocked_until.and_then(|until| (until - now).to_std().ok()).filter(|wait| !wait.is_zero()) {
            Some(wait) => Err(Error::from(Reason::TooManyAttempts).retry_after(wait)),
            None => Ok(()),
        }
    }
}

/// Returns how long codes are refused after this many wrong ones in a row.
pub(crate) fn lockout(wrong_codes: i32) -> Option<TimeDelta> {
    let beyond = u32::try_from(wrong_codes - FREE_WRONG_CODES).ok()?;
    let factor = 1_i32.checked_shl(beyond).filter(|factor| *factor > 0).unwrap_or(i32::MAX);
    Some(MIN_LOCKOUT.checked_mul(factor).unwrap_or(MAX_LOCKOUT).min(MAX_LOCKOUT))
}

/// Context in which a user's TOTP secret is sealed.
pub(crate) fn seal_context(user_id: Uuid) -> String {
    format!("totp:{user_id}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lockout_starts_at_the_fifth_wrong_code_and_doubles_up_to_a_day() {
        let minutes = |wrong| lockout(wrong).map(|wait| wait.num_minutes());
        let expected = [None, None, None, None, None, Some(1), Some(2), Some(4), Some(8)];
        assert_eq!(std::array::from_fn(|wrong| minutes(i32::try_from(wrong).unwrap())), expected);
        assert_eq!(minutes(15), Some(1024));
        assert_eq!(minutes(16), Some(1440));
    }

    #[test]
    fn a_year_of_guessing_has_a_negligible_chance() {
        // Three of a million codes are valid at a time.
        let (mut time, mut guesses) = (TimeDelta::zero(), 0);
        while time < TimeDelta::days(365) {
            guesses += 1;
            time += lockout(guesses).unwrap_or_default();
        }
        assert!(f64::from(guesses) * 3e-6 < 0.002, "{guesses} guesses");
    }

    proptest! {
        #[test]
        fn lockout_never_shrinks_with_more_wrong_codes(wrong in 0..i32::MAX) {
            prop_assert!(lockout(wrong) <= lockout(wrong + 1));
            prop_assert!(lockout(wrong).unwrap_or_default() <= MAX_LOCKOUT);
        }
    }
}
