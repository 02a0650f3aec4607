//! RPCs for purposes and consents.

use std::collections::HashMap;

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
use tonic::{Request, Response, Status, metadata::MetadataMap};
use uuid::Uuid;

use super::Rpc;
use crate::{
    consent::{self, Answered, ConsentState},
    convert,
    purpose::{PURPOSES, Purpose},
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
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        store::consent::lock(&mut tx, user_id).await?;
        let mut states = store::consent::states(&mut tx, user_id).await?;
        let mut changes = Vec::new();
        for (purpose, answer) in &checked {
            let is_objected = objects && purpose.is_objected_by_control;
            let method = if is_objected { "privacy_control".to_owned() } else { convert::method_name(answer.method()) };
            let given = answer.given && !is_objected;
            changes.extend(
                record(
                    &mut tx,
                    user_id,
                    purpose,
                    (given, answer.purpose.as_deref().unwrap_or_default(), &method),
                    &mut states,
                )
                .await?,
            );
        }
        tx.commit().await?;
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
        let mut tx = self.db.begin(Tenant::user(user_id)).await?;
        store::consent::lock(&mut tx, user_id).await?;
        let mut states = store::consent::states(&mut tx, user_id).await?;
        let last = states.get(purpose.id).copied();
        let change = if last.is_some_and(|last| last.given) {
            record(&mut tx, user_id, purpose, (false, "", "withdrawal"), &mut states).await?
        } else {
            // A repeated call answers for the earlier withdrawal.
            let known = store::consent::get(&mut tx, user_id, purpose.id).await?;
            known.filter(|_| last.is_some_and(|last| last.withdrawn))
        };
        tx.commit().await?;
        let is_applied = match &change {
            Some(change) => self.collectors.apply(change).await,
            None => true,
        };
        let effective = if is_applied { Effective::Now } else { Effective::Pending };
        Ok(Response::new(WithdrawConsentResponse { effective: effective.into() }))
    }
}

/// Records an answer: whether consent is given, the purpose as it was shown, and the method. `None` if it changes nothing.
async fn record(
    tx: &mut Tx,
    user_id: Uuid,
    purpose: &'static Purpose,
    (given, shown, method): (bool, &str, &str),
    states: &mut HashMap<String, Answered>,
) -> Result<Option<StateChange>> {
    let last = states.get(purpose.id).copied();
    if last.is_some_and(|last| last.given == given && last.version == purpose.version) {
        return Ok(None);
    }
    let answered = consent::answer(last, given, purpose.version, tx.db().clock().now());
    let Origin { address, user_agent, .. } = Origin::current();
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    let evidence = Evidence {
        given,
        legal_basis: purpose.legal_basis.name(),
        purpose: shown,
        method,
        version: purpose.version,
        notice_hash: &purpose.notice_hash(),
        address: &address,
        user_agent: &user_agent,
    };
    let change = store::consent::add(tx, user_id, purpose.id, &evidence, answered).await?;
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
