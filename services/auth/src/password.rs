//! Password policy (ASVS 5.0, 6.2): long, not common, hard to guess. There are no composition rules.

use std::{collections::HashSet, sync::LazyLock};

use baton_errors::{Error, Reason, Result};
use baton_text::password::opaque;
use zxcvbn::{Score, zxcvbn};

/// Minimum length, in characters.
const MIN_LEN: usize = 12;
/// Maximum length in bytes: the limit of `buf.validate`, in the longest encoding.
const MAX_BYTES: usize = 1024;
/// Characters that zxcvbn estimates. Attackers' dictionaries end sooner.
const MAX_ESTIMATED_LEN: usize = 100;

/// Words that every user of this platform thinks of first (ASVS 5.0, 6.1.2). The user's own data is checked besides.
const CONTEXT_WORDS: [&str; 5] = ["baton", "batontask", "taskboard", "supermanager", "organisation"];

/// The most common passwords of at least 12 characters. The head of the file names the source.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("password/common.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// Checks a password against the policy. `known` is the user's data, `field` the request field for errors. The estimate
/// takes a few milliseconds.
///
/// # Errors
/// PASSWORD_TOO_WEAK when it is short, common or easy to guess; VALIDATION_FAILED when it is too long.
pub(crate) fn check(password: &str, known: &[&str], field: &str) -> Result<()> {
    let weak = |problem: &str| Err(Error::from(Reason::PasswordTooWeak).field(field, problem));
    if password.len() > MAX_BYTES {
        return Err(Error::invalid(field, format!("must be at most {MAX_BYTES} bytes")));
    }
    // Count the form that is hashed: a letter and its accent are one character.
    let password = &*opaque(password);
    if password.chars().count() < MIN_LEN {
        return weak("must have at least 12 characters");
    }
    if COMMON.contains(password.to_lowercase().as_str()) {
        return weak("must not be a common password");
    }
    let read: String = password.chars().take(MAX_ESTIMATED_LEN).collect();
    let known: Vec<&str> = known.iter().copied().chain(CONTEXT_WORDS).collect();
    if zxcvbn(&read, &known).score() < Score::Two {
        return weak("must not be easy to guess; a few unrelated words make a good password");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(password: &str) -> Option<Reason> {
        check(password, &["ada@example.org", "Ada", "Lovelace", "adalovelace"], "password").err().map(|e| e.reason())
    }

    #[test]
    fn common_short_and_personal_passwords_are_refused() {
        for bad in ["short", "password1234", "123456789012", "qwertyuiop12", "aaaaaaaaaaaaaaaa", "adalovelace1"] {
            assert_eq!(refused(bad), Some(Reason::PasswordTooWeak), "{bad}");
        }
        for ours in ["supermanager", "taskboard2026", "batontask123"] {
            assert_eq!(refused(ours), Some(Reason::PasswordTooWeak), "{ours}");
        }
        // Eleven characters are one too few, however hard to guess.
        assert_eq!(refused("v8#kQz!m2Wt"), Some(Reason::PasswordTooWeak));
        assert_eq!(refused("v8#kQz!m2Wtr"), None);
    }

    #[test]
    fn common_passwords_are_refused_despite_a_good_estimate() {
        // ASVS 5.0, 6.2.4: at least the 3,000 most common passwords that pass the other rules.
        assert!(COMMON.len() >= 3_000 && COMMON.iter().all(|common| common.chars().count() >= MIN_LEN));
        assert!(COMMON.iter().all(|common| *common == common.to_lowercase()));
        for common in ["t3uywqv52wmki", "T3uywqv52wmkI", "uriqjxowqldaa"] {
            assert!(zxcvbn(common, &[]).score() >= Score::Three, "{common}");
            assert_eq!(refused(common), Some(Reason::PasswordTooWeak), "{common}");
        }
    }

    #[test]
    fn long_passwords_are_accepted_without_composition_rules() {
        let longest = "größere Würfel im Nebel ".repeat(10);
        for good in ["correct horse battery staple", "tidal-lantern-42-orchid", "größere Würfel im Nebel", &longest]
        {
            assert_eq!(refused(good), None, "{good}");
        }
    }

    #[test]
    fn password_of_a_megabyte_is_refused_before_the_estimate() {
        assert_eq!(refused(&"x".repeat(1 << 20)), Some(Reason::ValidationFailed));
    }
}
