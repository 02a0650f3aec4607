//! RPCs for purposes and consents.

use std::{collections::HashMap, time::Duration};

use baton_access::caller;
use baton_catalog::Payload;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::privacy::v1::{
        self as proto, Consent, ConsentAnswer, ConsentEvent, Effective, LegalBasis as ProtoBasis, ListConsentsRequest,
        ListConsentsResponse, ListPurposesRequest, ListPurposesResponse, RecordConsentsRequest, RecordConsentsResponse,
        WithdrawConsentRequest, WithdrawConsentResponse, consent_service_server::ConsentService,
    },
    convert::timestamp,
};
use baton_runtime::origin::Origin;
use baton_store::{Event, Tenant, Tx};
use tokio::time::timeout;
use tonic::{Request, Response, Status, metadata::MetadataMap};
use uuid::Uuid;

use super::{Rpc, rights::publish};
use crate::{
    consent::{self, Answered, ConsentState, Proof},
    convert,
    purpose::{PURPOSES, Purpose},
    request::PrivacyRequest,
    store::{
        self,
        consent::{Evidence, StateChange},
    },
};

#[tonic::async_trait]
impl ConsentService for Rpc {
    async fn list_purposes(
        &self,
        request: Request<ListPurposesRequest>,
    ) -> Result<Response<ListPurposesResponse>, Status> {
        let language = &request.get_ref().language;
        let purposes = PURPOSES.iter().map(|purpose| convert::purpose(purpose, language)).collect();
        Ok(Response::new(ListPurposesResponse { purposes }))
    }

    async fn list_consents(
        &self,
        request: Request<ListConsentsRequest>,
    ) -> Result<Response<ListConsentsResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let states = store::consent::states(&mut tx, user_id).await?;
        let consents = PURPOSES.iter().filter(|purpose| purpose.needs_consent()).map(|purpose| {
            let answered = states.get(purpose.id).copied();
            Consent {
                r#type: purpose.id.to_owned(),
                state: proto::ConsentState::from(consent::state(purpose, answered)).into(),
                version: answered.map(|answered| answered.version),
                answered_at: answered.map(|answered| timestamp(answered.changed_at)),
            }
        });
        Ok(Response::new(ListConsentsResponse { consents: consents.collect() }))
    }

    async fn record_consents(
        &self,
        request: Request<RecordConsentsRequest>,
    ) -> Result<Response<RecordConsentsResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let objects = has_privacy_control(request.metadata());
        let answers = request.into_inner().consents;
        // All of them are checked before one is stored.
        let mut checked: Vec<(&'static Purpose, &ConsentAnswer)> = Vec::with_capacity(answers.len());
        for answer in &answers {
            let purpose = consent::consentable(&answer.r#type)?;
            if ![ProtoBasis::Unspecified, ProtoBasis::Consent].contains(&answer.legal_basis()) {
                return Err(Error::from(Reason::LegalBasisFixed).into());
            }
            if answer.version != purpose.version {
                return Err(Error::from(Reason::NoticeOutdated).with("version", purpose.version.to_string()).into());
            }
            if checked.iter().any(|(known, _)| known.id == purpose.id) {
                return Err(Error::invalid("consents", "must answer each purpose once").into());
            }
            checked.push((purpose, answer));
        }
        let answers = checked.iter().map(|(purpose, answer)| {
            let is_objected = objects && purpose.is_objected_by_control;
            let method = if is_objected { "privacy_control".to_owned() } else { convert::method_name(answer.method()) };
            let given = answer.given && !is_objected;
            Answer { shown: answer.purpose.clone().unwrap_or_default(), ..self.new_answer(purpose, given, &method) }
        });
        let answers: Vec<Answer> = answers.collect();
        let (changes, states) = self.answer(user_id, &answers, None).await?;
        // Whoever gives consent need not wait for collectors; whoever withdraws it does, and is told otherwise by
        // WithdrawConsent only.
        for change in changes.iter().filter(|change| !change.given) {
            self.collectors.apply(change).await;
        }
        let active = PURPOSES.iter().filter(|purpose| {
            let answered = states.get(purpose.id).copied();
            purpose.needs_consent() && consent::state(purpose, answered) == ConsentState::Given
        });
        Ok(Response::new(RecordConsentsResponse {
            consents_processed: i32::try_from(checked.len()).unwrap_or(i32::MAX),
            data_collection_active: active.map(|purpose| purpose.id.to_owned()).collect(),
        }))
    }

    async fn withdraw_consent(
        &self,
        request: Request<WithdrawConsentRequest>,
    ) -> Result<Response<WithdrawConsentResponse>, Status> {
        let user_id = caller(&request)?.user_id;
        let purpose = consent::consentable(&request.get_ref().r#type)?;
        let answer = Answer { only_withdraws: true, ..self.new_answer(purpose, false, "withdrawal") };
        let effective = self.refuse(user_id, answer, None).await?;
        Ok(Response::new(WithdrawConsentResponse { effective: effective.into() }))
    }
}

/// How long a withdrawal waits for the vault.
const VAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// An answer to be recorded.
pub(super) struct Answer {
    id: Uuid,
    purpose: &'static Purpose,
    given: bool,
    /// The purpose as it was shown.
    shown: String,
    method: String,
    /// Whether it is nothing unless a consent was given.
    only_withdraws: bool,
}

impl Rpc {
    pub(super) fn new_answer(&self, purpose: &'static Purpose, given: bool, method: &str) -> Answer {
        let id = self.db.clock().new_id();
        Answer { id, purpose, given, shown: String::new(), method: method.to_owned(), only_withdraws: false }
    }

    /// Records answers, and the request that they belong to; returns what has changed, and what holds.
    pub(super) async fn answer(
        &self,
        user_id: Uuid,
        answers: &[Answer],
        request: Option<&PrivacyRequest>,
    ) -> Result<(Vec<StateChange>, HashMap<String, Answered>)> {
        let sealed = self.seal_proofs(user_id, answers).await?;
        let recorded = self.record_withdrawals(user_id, answers).await?;
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        store::consent::lock(&mut tx, user_id).await?;
        let mut states = store::consent::states(&mut tx, user_id).await?;
        let mut changes = Vec::new();
        for (n, answer) in answers.iter().enumerate() {
            let proof = sealed.get(n).map(Vec::as_slice);
            changes.extend(record(&mut tx, user_id, (answer, proof), &mut states).await?);
        }
        if let Some(request) = request {
            store::request::insert(&mut tx, request).await?;
            publish(&mut tx, Payload::PrivacyRequestCompleted, request).await?;
        }
        tx.commit().await?;
        self.withdrawals.know(&recorded).await?;
        Ok((changes, states))
    }

    /// Records an answer that refuses or withdraws consent, and applies it at every collector.
    pub(super) async fn refuse(
        &self,
        user_id: Uuid,
        answer: Answer,
        request: Option<&PrivacyRequest>,
    ) -> Result<Effective> {
        let (mut changes, states) = self.answer(user_id, std::slice::from_ref(&answer), request).await?;
        let mut change = changes.pop();
        if change.is_none() && states.get(answer.purpose.id).is_some_and(|last| last.withdrawn) {
            // A repeated call answers for the earlier withdrawal.
            let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
            change = store::consent::get(&mut tx, user_id, answer.purpose.id).await?;
        }
        let is_applied = match &change {
            Some(change) => self.collectors.apply(change).await,
            None => true,
        };
        Ok(if is_applied { Effective::Now } else { Effective::Pending })
    }

    /// Seals what proves the answers with the person's key. Without the vault nobody gives consent; a withdrawal does not wait
    /// for it, and is stored without proof.
    async fn seal_proofs(&self, user_id: Uuid, answers: &[Answer]) -> Result<Vec<Vec<u8>>> {
        let only_refuses = answers.iter().all(|answer| !answer.given);
        let key = self.names.vault().key(user_id);
        let key = if only_refuses {
            timeout(VAULT_TIMEOUT, key).await.unwrap_or_else(|_| Err(Reason::Unavailable.into()))
        } else {
            key.await
        };
        let key = match key {
            Ok(key) => key,
            Err(error) if only_refuses => {
                tracing::warn!(%error, "a refusal of consent is stored without proof");
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let Origin { address, user_agent, .. } = Origin::current();
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        let seal = |answer: &Answer| {
            let (address, user_agent) = (address.clone(), user_agent.clone());
            let proof = Proof { purpose: answer.shown.clone(), address, user_agent };
            key.seal(&Proof::context(answer.id), &serde_json::to_vec(&proof).map_err(Error::internal)?)
        };
        answers.iter().map(seal).collect()
    }

    /// Records those answers in the ledger that withdraw a consent, before they do; returns their ids.
    async fn record_withdrawals(&self, user_id: Uuid, answers: &[Answer]) -> Result<Vec<Uuid>> {
        if answers.iter().all(|answer| answer.given) {
            return Ok(Vec::new());
        }
        let mut tx = self.db.begin_read(Tenant::user(user_id)).await?;
        let states = store::consent::states(&mut tx, user_id).await?;
        drop(tx);
        let is_given = |answer: &&Answer| states.get(answer.purpose.id).is_some_and(|last| last.given);
        let mut recorded = Vec::new();
        for answer in answers.iter().filter(|answer| !answer.given).filter(is_given) {
            self.withdrawals.record(answer.id, user_id, answer.purpose.id).await?;
            recorded.push(answer.id);
        }
        Ok(recorded)
    }
}

/// Records an answer; `None` if it changes nothing.
async fn record(
    tx: &mut Tx,
    user_id: Uuid,
    (answer, proof): (&Answer, Option<&[u8]>),
    states: &mut HashMap<String, Answered>,
) -> Result<Option<StateChange>> {
    let Answer { id, purpose, given, ref method, only_withdraws, .. } = *answer;
    let last = states.get(purpose.id).copied();
    let is_same = last.is_some_and(|last| last.given == given && last.version == purpose.version);
    if is_same || only_withdraws && !last.is_some_and(|last| last.given) {
        return Ok(None);
    }
    let answered = consent::answer(last, given, purpose.version, tx.db().clock().now());
    let evidence = Evidence {
        given,
        legal_basis: purpose.legal_basis.name(),
        method,
        version: purpose.version,
        notice_hash: &purpose.notice_hash(),
        sealed: proof,
    };
    let change = store::consent::add(tx, (id, user_id), purpose.id, &evidence, answered).await?;
    let event = ConsentEvent {
        user_id: user_id.to_string(),
        purpose: purpose.id.to_owned(),
        given,
        version: purpose.version,
        epoch: change.epoch,
    };
    tx.publish(Event::new(Payload::ConsentChanged(event), Uuid::nil(), user_id)).await?;
    states.insert(purpose.id.to_owned(), answered);
    Ok(Some(change))
}

/// Whether the client sends Global Privacy Control (`Sec-GPC: 1`).
fn has_privacy_control(metadata: &MetadataMap) -> bool {
    metadata.get("sec-gpc").is_some_and(|value| value == "1")
}
