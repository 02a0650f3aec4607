//! Consents: their states.

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::purpose::{self, Purpose};

/// The last answer to the notice of a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) given: bool,
    pub(crate) withdrawn: bool,
    pub(crate) version: i32,
    pub(crate) changed_at: DateTime<Utc>,
}

/// The state of a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsentState {
    NeverAsked,
    Given,
    Refused,
    Withdrawn,
    /// Given to a notice that has changed in substance since.
    Stale,
}

/// The state of a consent to this purpose.
pub(crate) fn state(purpose: &Purpose, answered: Option<Answered>) -> ConsentState {
    match answered {
        None => ConsentState::NeverAsked,
        Some(Answered { given: true, version, .. }) if version < purpose.valid_since => ConsentState::Stale,
        Some(Answered { given: true, .. }) => ConsentState::Given,
        Some(Answered { withdrawn: true, .. }) => ConsentState::Withdrawn,
        Some(Answered { .. }) => ConsentState::Refused,
    }
}

/// The next answer, after the last one. Refusing what was given withdraws it.
pub(crate) fn answer(last: Option<Answered>, given: bool, version: i32, now: DateTime<Utc>) -> Answered {
    let withdrawn = !given && last.is_some_and(|last| last.given || last.withdrawn);
    Answered { given, withdrawn, version, changed_at: now }
}

/// What proves an answer and tells whose it is. It is stored sealed with the person's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// The purpose as it was shown.
    pub(crate) purpose: String,
    pub(crate) address: String,
    pub(crate) user_agent: String,
}

impl Proof {
    /// The context that the proof of an answer is sealed for.
    pub(crate) fn context(answer: Uuid) -> String {
        format!("consent:{answer}")
    }
}

/// The purpose with this id, which has to need consent.
///
/// # Errors
/// PURPOSE_UNKNOWN, LEGAL_BASIS_FIXED.
pub(crate) fn consentable(id: &str) -> Result<&'static Purpose> {
    let purpose = purpose::find(id).ok_or_else(|| Error::from(Reason::PurposeUnknown))?;
    if purpose.needs_consent() { Ok(purpose) } else { Err(Reason::LegalBasisFixed.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consents_go_from_state_to_state() {
        let now = "2027-01-01T00:00:00Z".parse().unwrap();
        let purpose = purpose::find("analytics").unwrap();
        let mut last = None;
        assert_eq!(state(purpose, last), ConsentState::NeverAsked);
        for (given, expected) in [
            (false, ConsentState::Refused),
            (false, ConsentState::Refused),
            (true, ConsentState::Given),
            (true, ConsentState::Given),
            (false, ConsentState::Withdrawn),
            (false, ConsentState::Withdrawn),
            (true, ConsentState::Given),
        ] {
            last = Some(answer(last, given, 1, now));
            assert_eq!(state(purpose, last), expected);
        }
        let changed = Purpose { version: 3, valid_since: 2, ..purpose::PURPOSES[3] };
        assert_eq!(state(&changed, last), ConsentState::Stale);
        assert_eq!(state(&changed, Some(answer(last, false, 3, now))), ConsentState::Withdrawn);
    }

    #[test]
    fn only_what_needs_consent_can_be_consented_to() {
        assert_eq!(consentable("marketing").unwrap().id, "marketing");
        let reason = |id| consentable(id).unwrap_err().reason();
        assert_eq!((reason("service"), reason("unknown")), (Reason::LegalBasisFixed, Reason::PurposeUnknown));
    }
}
