//! Requests of people about their data: their states, and the rules of exports.

use std::time::Duration;

use baton_store::Tenant;
use chrono::{DateTime, Months, TimeDelta, Utc};
use uuid::Uuid;

/// Exports of a person in 24 hours.
pub(crate) const MAX_EXPORTS_PER_DAY: i64 = 3;
/// How long an export can be downloaded after it is ready.
pub(crate) const AVAILABLE_FOR: TimeDelta = TimeDelta::days(7);
/// An export that is not ready after this time has failed.
pub(crate) const EXPORT_TIMEOUT: TimeDelta = TimeDelta::days(1);
/// What an export is expected to take when none was made before.
const FIRST_ESTIMATE: TimeDelta = TimeDelta::minutes(5);
/// The shortest estimate.
const MIN_ESTIMATE: TimeDelta = TimeDelta::minutes(1);

/// The state of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestState {
    Processing,
    Ready,
    Expired,
    Failed,
    Scheduled,
    Held,
    Erasing,
    Verifying,
    Completed,
    Canceled,
    InForce,
    Lifted,
}

impl RequestState {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Processing, "processing"),
        (Self::Ready, "ready"),
        (Self::Expired, "expired"),
        (Self::Failed, "failed"),
        (Self::Scheduled, "scheduled"),
        (Self::Held, "held"),
        (Self::Erasing, "erasing"),
        (Self::Verifying, "verifying"),
        (Self::Completed, "completed"),
        (Self::Canceled, "canceled"),
        (Self::InForce, "in_force"),
        (Self::Lifted, "lifted"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }
}

/// What a person requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Export,
    Erasure,
    Restriction,
    Objection,
    Rectification,
    /// What an account has of a member, for its owner.
    MemberExport,
    /// What an account has of a member who has left it.
    MemberErasure,
}

impl RequestKind {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Export, "export"),
        (Self::Erasure, "erasure"),
        (Self::Restriction, "restriction"),
        (Self::Objection, "objection"),
        (Self::Rectification, "rectification"),
        (Self::MemberExport, "member_export"),
        (Self::MemberErasure, "member_erasure"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// A request of a person about their data.
#[derive(Debug, Clone)]
pub(crate) struct PrivacyRequest {
    pub(crate) id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) kind: RequestKind,
    pub(crate) state: RequestState,
    pub(crate) requested_at: DateTime<Utc>,
    pub(crate) due_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    /// When an erasure begins.
    pub(crate) erase_at: Option<DateTime<Utc>>,
    /// The account that has made the request, and its owner; `None` for the person's own.
    pub(crate) account: Option<Requester>,
}

/// An account that requests something about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Requester {
    pub(crate) account_id: Uuid,
    pub(crate) user_id: Uuid,
}

impl PrivacyRequest {
    /// In whose name its row is changed.
    pub(crate) fn tenant(&self) -> Tenant {
        tenant(self.account, self.user_id)
    }
}

/// In whose name the row of a request is changed: the account's, if it has made the request.
pub(crate) fn tenant(account: Option<Requester>, user_id: Uuid) -> Tenant {
    match account {
        Some(Requester { account_id, .. }) => Tenant { account_id, user_id },
        None => Tenant::user(user_id),
    }
}

/// A copy of a person's data.
#[derive(Debug, Clone)]
pub(crate) struct DataExport {
    pub(crate) request: PrivacyRequest,
    pub(crate) categories: Vec<String>,
    pub(crate) sha256: Option<Vec<u8>>,
    pub(crate) available_until: Option<DateTime<Utc>>,
}

impl PrivacyRequest {
    /// A new request for an export.
    pub(crate) fn export(id: Uuid, user_id: Uuid, now: DateTime<Utc>) -> Self {
        Self::new(id, user_id, (RequestKind::Export, RequestState::Processing), now)
    }

    /// A request that was made now.
    pub(crate) fn new(id: Uuid, user_id: Uuid, (kind, state): (RequestKind, RequestState), now: DateTime<Utc>) -> Self {
        let ended_at = (state == RequestState::Completed).then_some(now);
        let account = None;
        Self { id, user_id, kind, state, requested_at: now, due_at: due(now), ended_at, erase_at: None, account }
    }

    /// A request of an account about a member.
    pub(crate) fn of_account(
        id: Uuid,
        user_id: Uuid,
        kind_and_state: (RequestKind, RequestState),
        account: Requester,
        now: DateTime<Utc>,
    ) -> Self {
        Self { account: Some(account), ..Self::new(id, user_id, kind_and_state, now) }
    }
}

/// When a request has to be answered: within one month (GDPR, article 12, paragraph 3).
fn due(requested_at: DateTime<Utc>) -> DateTime<Utc> {
    requested_at.checked_add_months(Months::new(1)).unwrap_or(requested_at)
}

/// How long an export is expected to take: twice what the last ones took on average, in seconds.
pub(crate) fn estimate(average_seconds: Option<f64>) -> TimeDelta {
    let expected = average_seconds.and_then(|seconds| Duration::try_from_secs_f64(2.0 * seconds).ok());
    let expected = expected.and_then(|expected| TimeDelta::from_std(expected).ok());
    expected.map_or(FIRST_ESTIMATE, |expected| expected.max(MIN_ESTIMATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_due_after_a_month_whatever_its_length() {
        let due_of = |day: &str| due(day.parse().unwrap()).to_rfc3339();
        assert_eq!(due_of("2027-01-31T10:00:00Z"), "2027-02-28T10:00:00+00:00");
        assert_eq!(due_of("2027-03-15T10:00:00Z"), "2027-04-15T10:00:00+00:00");
    }

    #[test]
    fn estimates_follow_what_exports_have_taken() {
        assert_eq!(estimate(None), FIRST_ESTIMATE);
        assert_eq!(estimate(Some(0.2)), MIN_ESTIMATE);
        assert_eq!(estimate(Some(300.0)), TimeDelta::minutes(10));
        assert_eq!(estimate(Some(f64::NAN)), FIRST_ESTIMATE);
    }

    #[test]
    fn every_state_and_kind_has_a_name() {
        for (kind, name) in RequestKind::ALL {
            assert_eq!((RequestKind::from_name(name), kind.name()), (Some(kind), name));
        }
        for (state, name) in RequestState::ALL {
            assert_eq!((RequestState::from_name(name), state.name()), (Some(state), name));
        }
    }
}
