//! Conversions between the domain and the contract.

use baton_catalog::Payload;
use baton_proto::{
    baton::privacy::v1::{
        self as proto, DataCategory, DataExportStatus, PrivacyRequestEvent, PrivacyRequestKind, PrivacyRequestState,
        SubjectCount,
    },
    convert::timestamp,
};
use baton_store::{Event, personal_data::CATEGORIES};
use chrono::TimeDelta;
use uuid::Uuid;

use crate::{
    consent::ConsentState,
    policy::Subprocessor,
    purpose::{self, LegalBasis, Purpose},
    receipt::PublicKey,
    request::{AVAILABLE_FOR, DataExport, PrivacyRequest, RequestKind, RequestState, Requester},
};

/// The categories by name; all when none is named.
pub(crate) fn category_names(named: impl Iterator<Item = DataCategory>) -> Vec<String> {
    let mut names: Vec<String> = named.map(category_name).collect();
    if names.is_empty() {
        names = CATEGORIES.iter().map(|&name| name.to_owned()).collect();
    }
    names
}

/// The name of a category.
pub(crate) fn category_name(category: DataCategory) -> String {
    category.as_str_name().trim_start_matches("DATA_CATEGORY_").to_lowercase()
}

/// The category with this name.
pub(crate) fn category(name: &str) -> DataCategory {
    DataCategory::from_str_name(&format!("DATA_CATEGORY_{}", name.to_uppercase())).unwrap_or_default()
}

/// An export; `estimate` is what it is expected to take.
pub(crate) fn data_export(export: DataExport, estimate: TimeDelta) -> proto::DataExport {
    let DataExport { request, categories, sha256, available_until } = export;
    let is_processing = request.state == RequestState::Processing;
    let expected = is_processing.then(|| request.requested_at + estimate);
    proto::DataExport {
        export_id: request.id.to_string(),
        status: match request.state {
            RequestState::Processing => DataExportStatus::Processing,
            RequestState::Ready => DataExportStatus::Ready,
            RequestState::Expired => DataExportStatus::Expired,
            // The others are those of erasures.
            _ => DataExportStatus::Failed,
        }
        .into(),
        categories: categories.iter().map(|name| category(name).into()).collect(),
        requested_at: Some(timestamp(request.requested_at)),
        estimated_completion: expected.map(timestamp),
        download_available_until: available_until.or(expected.map(|at| at + AVAILABLE_FOR)).map(timestamp),
        sha256: sha256.map(|hash| hexadecimal(&hash)),
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl From<RequestState> for PrivacyRequestState {
    fn from(state: RequestState) -> Self {
        match state {
            RequestState::Processing => Self::Processing,
            RequestState::Ready => Self::Ready,
            RequestState::Expired => Self::Expired,
            RequestState::Failed => Self::Failed,
            RequestState::Scheduled => Self::Scheduled,
            RequestState::Held => Self::Held,
            RequestState::Erasing => Self::Erasing,
            RequestState::Verifying => Self::Verifying,
            RequestState::Completed => Self::Completed,
            RequestState::Canceled => Self::Canceled,
            RequestState::InForce => Self::InForce,
            RequestState::Lifted => Self::Lifted,
        }
    }
}

impl From<RequestKind> for PrivacyRequestKind {
    fn from(kind: RequestKind) -> Self {
        match kind {
            RequestKind::Export => Self::Export,
            RequestKind::Erasure => Self::Erasure,
            RequestKind::Restriction => Self::Restriction,
            RequestKind::Objection => Self::Objection,
            RequestKind::Rectification => Self::Rectification,
            RequestKind::MemberExport => Self::MemberExport,
            RequestKind::MemberErasure => Self::MemberErasure,
        }
    }
}

/// A request, with the receipts of an erasure.
pub(crate) fn request(request: PrivacyRequest, receipts: Vec<String>) -> proto::PrivacyRequest {
    proto::PrivacyRequest {
        id: request.id.to_string(),
        kind: PrivacyRequestKind::from(request.kind).into(),
        state: PrivacyRequestState::from(request.state).into(),
        requested_at: Some(timestamp(request.requested_at)),
        due_at: Some(timestamp(request.due_at)),
        ended_at: request.ended_at.map(timestamp),
        grace_period_ends: request.erase_at.filter(|_| request.account.is_none()).map(timestamp),
        receipts,
    }
}

impl From<ConsentState> for proto::ConsentState {
    fn from(state: ConsentState) -> Self {
        match state {
            ConsentState::NeverAsked => Self::NeverAsked,
            ConsentState::Given => Self::Given,
            ConsentState::Refused => Self::Refused,
            ConsentState::Withdrawn => Self::Withdrawn,
            ConsentState::Stale => Self::Stale,
        }
    }
}

/// A purpose with its notice in this language.
pub(crate) fn purpose(purpose: &Purpose, language: &str) -> proto::Purpose {
    let (language, text) = purpose.notice(language);
    let legal_basis = match purpose.legal_basis {
        LegalBasis::Consent => proto::LegalBasis::Consent,
        LegalBasis::Contract => proto::LegalBasis::Contract,
        LegalBasis::LegalObligation => proto::LegalBasis::LegalObligation,
        LegalBasis::LegitimateInterest => proto::LegalBasis::LegitimateInterest,
    };
    proto::Purpose {
        id: purpose.id.to_owned(),
        legal_basis: legal_basis.into(),
        needs_consent: purpose.needs_consent(),
        notice: Some(proto::Notice {
            version: purpose.version,
            language: language.to_owned(),
            text: text.to_owned(),
            sha256: hexadecimal(&purpose::hash(text)),
        }),
        retention: purpose.retention.to_owned(),
        recipients: purpose.recipients.iter().map(|&recipient| recipient.to_owned()).collect(),
        assessment: purpose.assessment.map(str::to_owned),
    }
}

/// Somebody who processes data for the operator.
pub(crate) fn subprocessor(subprocessor: Subprocessor) -> proto::Subprocessor {
    let Subprocessor { name, purpose, data, country } = subprocessor;
    proto::Subprocessor { name, purpose, data, country }
}

/// How consent was asked for, as it is stored.
pub(crate) fn method_name(method: proto::ConsentMethod) -> String {
    method.as_str_name().trim_start_matches("CONSENT_METHOD_").to_lowercase()
}

/// A request of an account, with the receipts of an erasure.
pub(crate) fn member_request(request: PrivacyRequest, receipts: Vec<String>) -> proto::MemberPrivacyRequest {
    let requested_by = request.account.map(|account| account.user_id.to_string()).unwrap_or_default();
    proto::MemberPrivacyRequest {
        user_id: request.user_id.to_string(),
        requested_by,
        request: Some(self::request(request, receipts)),
    }
}

/// The event about a request of an account.
pub(crate) fn member_event(
    payload: fn(PrivacyRequestEvent) -> Payload,
    account: Requester,
    request_id: Uuid,
    user_id: Uuid,
    (kind, state): (RequestKind, RequestState),
) -> Event {
    Event::new(payload(message(request_id, user_id, kind, state)), account.account_id, request_id)
}

/// The event about a request.
pub(crate) fn event(
    payload: fn(PrivacyRequestEvent) -> Payload,
    request_id: Uuid,
    user_id: Uuid,
    kind: RequestKind,
    state: RequestState,
) -> Event {
    Event::new(payload(message(request_id, user_id, kind, state)), Uuid::nil(), request_id)
}

fn message(request_id: Uuid, user_id: Uuid, kind: RequestKind, state: RequestState) -> PrivacyRequestEvent {
    PrivacyRequestEvent {
        request_id: request_id.to_string(),
        user_id: user_id.to_string(),
        kind: PrivacyRequestKind::from(kind).into(),
        state: PrivacyRequestState::from(state).into(),
    }
}

/// The treatment as it is stored: `delete`.
pub(crate) fn treatment_name(count: &SubjectCount) -> String {
    count.treatment().as_str_name().trim_start_matches("SUBJECT_TREATMENT_").to_lowercase()
}

/// A public key of receipts.
pub(crate) fn receipt_key(key: PublicKey) -> proto::ReceiptKey {
    let PublicKey { x, kid } = key;
    proto::ReceiptKey {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x,
        kid,
        alg: "EdDSA".to_owned(),
        r#use: "sig".to_owned(),
    }
}
