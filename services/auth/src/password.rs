//! What makes a password good enough (ASVS 5.0, 6.2): long, not a common one, and hard to guess. No composition
//! rules.

use std::{collections::HashSet, sync::LazyLock};

use baton_errors::{Error, Reason, Result};
use baton_text::password::opaque;
use zxcvbn::{Score, zxcvbn};

/// Characters that a password has at least.
const SHORTEST: usize = 12;
/// Bytes that a password has at most: what `buf.validate` lets through, in the longest encoding.
const LONGEST_BYTES: usize = 1024;
/// zxcvbn reads no further; neither does an attacker's dictionary.
const READ: usize = 100;

/// What everybody here thinks of first (ASVS 5.0, 6.1.2), beside what is known of the person.
const CONTEXT_WORDS: [&str; 5] = ["baton", "batontask", "taskboard", "supermanager", "organisation"];

/// The commonest passwords of at least 12 characters; see the head of the file.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("password/common.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// Refuses a password that is short, common, or made of what is known of the person; `field` is where it was
/// given. The estimate takes a few milliseconds.
pub(crate) fn check(password: &str, known: &[&str], field: &str) -> Result<()> {
    let weak = |why: &str| Err(Error::from(Reason::PasswordTooWeak).field(field, why));
    if password.len() > LONGEST_BYTES {
        return Err(Error::invalid(field, format!("is longer than {LONGEST_BYTES} bytes")));
    }
    // As it is hashed: a letter and its accent are one character.
    let password = &*opaque(password);
    if password.chars().count() < SHORTEST {
        return weak("it has fewer than 12 characters");
    }
    if COMMON.contains(password.to_lowercase().as_str()) {
        return weak("it is among the passwords that everybody tries first");
    }
    let read: String = password.chars().take(READ).collect();
    let known: Vec<&str> = known.iter().copied().chain(CONTEXT_WORDS).collect();
    if zxcvbn(&read, &known).score() < Score::Two {
        return weak("it is easy to guess; a few unrelated words make a good one");
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
        // The eleventh character is one too few, however hard to guess the others are.
        assert_eq!(refused("v8#kQz!m2Wt"), Some(Reason::PasswordTooWeak));
        assert_eq!(refused("v8#kQz!m2Wtr"), None);
    }

    #[test]
    fn the_list_refuses_what_the_estimate_would_take() {
        // ASVS 5.0, 6.2.4: at least the 3,000 commonest that the other rules let through.
        assert!(COMMON.len() >= 3_000 && COMMON.iter().all(|common| common.chars().count() >= SHORTEST));
        assert!(COMMON.iter().all(|common| *common == common.to_lowercase()));
        for common in ["t3uywqv52wmki", "T3uywqv52wmkI", "uriqjxowqldaa"] {
            assert!(zxcvbn(common, &[]).score() >= Score::Three, "{common}");
            assert_eq!(refused(common), Some(Reason::PasswordTooWeak), "{common}");
        }
    }

    #[test]
    fn long_ones_are_taken_whatever_they_are_made_of() {
        let longest = "größere Würfel im Nebel ".repeat(10);
        for good in ["correct horse battery staple", "tidal-lantern-42-orchid", "größere Würfel im Nebel", &longest]
        {
            assert_eq!(refused(good), None, "{good}");
        }
    }

    #[test]
    fn a_megabyte_is_refused_unread() {
        assert_eq!(refused(&"x".repeat(1 << 20)), Some(Reason::ValidationFailed));
    }
}
