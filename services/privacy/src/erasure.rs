//! Erasures of people: their codes, their times, and when they are complete.

use aws_lc_rs::{constant_time, digest, rand};
use baton_errors::{Error, Result};
use baton_store::subject_data::Subject;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::request::{RequestKind, Requester};

/// Job: erases a person. Payload: the request.
pub(crate) const ERASE_JOB: &str = "privacy.erase";
/// Job: counts what is left of a person. Payload: the request.
pub(crate) const COUNT_JOB: &str = "privacy.count";
/// Job: erases what an account has of a member. Payload: the request. Not [`ERASE_JOB`], because the previous program version
/// would erase everything of the person.
pub(crate) const ERASE_MEMBER_JOB: &str = "privacy.erase_member";
/// Job: counts what an account has left of a member. Payload: the request.
pub(crate) const COUNT_MEMBER_JOB: &str = "privacy.count_member";
/// Job: tells every service whether the processing of a person's data is restricted. Payload: the person.
pub(crate) const RESTRICT_JOB: &str = "privacy.restrict";
/// Time between the request and the erasure, in which it can be canceled.
pub(crate) const GRACE_PERIOD: TimeDelta = TimeDelta::days(30);
/// Time after the grace period in which the erasure is done and counted. A request has to be answered within a month; a
/// later time is told to the person with the first answer, as article 12, paragraph 3 of the GDPR demands.
const TIME_TO_ERASE: TimeDelta = TimeDelta::days(3);
/// How long a code is valid.
pub(crate) const CODE_LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// Time between two codes.
pub(crate) const CODE_INTERVAL: TimeDelta = TimeDelta::minutes(1);
/// Attempts with a code.
pub(crate) const MAX_ATTEMPTS: i32 = 5;
/// Time between the two counts that have to find nothing.
pub(crate) const RECOUNT_PAUSE: TimeDelta = TimeDelta::hours(1);
/// Codes are this many, from 00000000 on.
const CODES: u32 = 100_000_000;

/// An erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(crate) request_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) origin: Origin,
    pub(crate) reason: String,
    /// Part of the token that cancels it.
    pub(crate) nonce: Uuid,
    pub(crate) requested_at: DateTime<Utc>,
    pub(crate) erase_at: DateTime<Utc>,
    /// The account that erases what it has of a member; `None` for the erasure of a person from everywhere.
    pub(crate) account: Option<Requester>,
}

/// Who asked for an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The person.
    Person,
    /// Their deactivation, which cannot be undone any more.
    Deactivation,
    /// The ledger, which knows more than a restored database.
    Ledger,
    /// The owner of an account, about a member.
    Account,
}

impl Origin {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Deactivation => "deactivation",
            Self::Ledger => "ledger",
            Self::Account => "account",
        }
    }
}

impl Erasure {
    /// Who is erased, and where.
    pub(crate) fn subject(&self) -> Subject {
        Subject { user_id: self.user_id, account_id: self.account.map(|account| account.account_id) }
    }

    /// What is requested.
    pub(crate) fn kind(&self) -> RequestKind {
        if self.account.is_some() { RequestKind::MemberErasure } else { RequestKind::Erasure }
    }

    /// When it has to be done.
    pub(crate) fn due_at(&self) -> DateTime<Utc> {
        self.erase_at + TIME_TO_ERASE
    }
}

/// A code of eight digits.
///
/// # Errors
/// INTERNAL if the system has no randomness.
pub(crate) fn new_code() -> Result<String> {
    // The largest multiple of the number of codes, so that none is more likely than another.
    const LIMIT: u32 = u32::MAX - u32::MAX % CODES;
    loop {
        let mut bytes = [0; 4];
        rand::fill(&mut bytes).map_err(|_| Error::internal("no randomness"))?;
        let number = u32::from_be_bytes(bytes);
        if number < LIMIT {
            return Ok(format!("{:08}", number % CODES));
        }
    }
}

/// What is stored of a code.
pub(crate) fn hash_code(user_id: Uuid, code: &str) -> Vec<u8> {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(user_id.as_bytes());
    hash.update(code.as_bytes());
    hash.finish().as_ref().to_vec()
}

/// Whether the code is the one with this hash.
pub(crate) fn is_code(user_id: Uuid, code: &str, hash: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(&hash_code(user_id, code), hash).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_have_eight_digits_and_differ() {
        let codes: HashSet<String> = (0..1000).map(|_| new_code().unwrap()).collect();
        assert!(codes.len() > 990);
        assert!(codes.iter().all(|code| code.len() == 8 && code.bytes().all(|byte| byte.is_ascii_digit())));
    }

    #[test]
    fn a_code_is_one_persons() {
        let (ann, ben) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let hash = hash_code(ann, "01234567");
        assert!(is_code(ann, "01234567", &hash));
        assert!(!is_code(ben, "01234567", &hash) && !is_code(ann, "01234568", &hash) && !is_code(ann, "", &hash));
    }
}
