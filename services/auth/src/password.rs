//! What makes a password good enough (ASVS 5.0, 6.2): long, and hard to guess. No composition rules.

use baton_errors::{Error, Reason, Result};
use zxcvbn::{Score, zxcvbn};

/// Characters that a password has at least.
const SHORTEST: usize = 12;
/// zxcvbn reads no further; neither does an attacker's dictionary.
const READ: usize = 100;

/// Refuses a password that is short, common, or made of what is known of the person. The estimate takes
/// a few milliseconds.
pub(crate) fn check(password: &str, known: &[&str]) -> Result<()> {
    if password.chars().count() < SHORTEST {
        return Err(weak("it has fewer than 12 characters"));
    }
    let read: String = password.chars().take(READ).collect();
    let estimate = zxcvbn(&read, known);
    if estimate.score() < Score::Two {
        return Err(weak("it is easy to guess; a few unrelated words make a good one"));
    }
    Ok(())
}

fn weak(why: &str) -> Error {
    Error::from(Reason::PasswordTooWeak).field("password", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_short_and_personal_passwords_are_refused() {
        for bad in ["short", "password1234", "123456789012", "qwertyuiop12", "aaaaaaaaaaaaaaaa", "adalovelace1"] {
            let error = check(bad, &["ada@example.org", "Ada", "Lovelace", "adalovelace"]).unwrap_err();
            assert_eq!(error.reason(), Reason::PasswordTooWeak, "{bad}");
        }
    }

    #[test]
    fn long_ones_are_taken_whatever_they_are_made_of() {
        for good in ["correct horse battery staple", "tidal-lantern-42-orchid", "größere Würfel im Nebel"] {
            check(good, &[]).unwrap();
        }
    }
}
