//! RPCs for pseudonyms and for budgets of differential privacy.

use baton_access::{caller, service};
use baton_anonymization::{budget::Epsilon, k_anonymity};
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::privacy::v1::{
        AnonymousProfile, IssuePseudonymsRequest, IssuePseudonymsResponse, ListAnonymousProfilesRequest,
        ListAnonymousProfilesResponse, ListBudgetsRequest, ListBudgetsResponse, PrivacyBudget, RevealPseudonymRequest,
        RevealPseudonymResponse, RevealState, SpendBudgetRequest, SpendBudgetResponse, StoreReleaseRequest,
        StoreReleaseResponse, anonymization_service_server::AnonymizationService,
    },
    convert::timestamp,
};
use baton_store::Tenant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    application::pseudonyms::hash,
    purpose,
    store::{
        self,
        budget::{Budget, Payment, Release},
        reveal::{APPROVAL_TTL, Reveal},
    },
};

#[tonic::async_trait]
impl AnonymizationService for Rpc {
    async fn issue_pseudonyms(
        &self,
        request: Request<IssuePseudonymsRequest>,
    ) -> Result<Response<IssuePseudonymsResponse>, Status> {
        service(&request)?;
        let IssuePseudonymsRequest { purpose, user_ids, reversible } = request.into_inner();
        purpose::find(&purpose).ok_or_else(|| Error::from(Reason::PurposeUnknown))?;
        let people: Vec<Uuid> = user_ids
            .iter()
            .map(|id| id.parse())
            .collect::<Result<_, _>>()
            .map_err(|_| Error::invalid("user_ids", "must be UUIDs"))?;
        if !reversible {
            return Ok(Response::new(IssuePseudonymsResponse { pseudonyms: self.names.one_way(&purpose, &people)? }));
        }
        // Whoever is erased gets no new key, which nobody would destroy.
        let erased = store::erasure::erased_of(&self.db, &people).await?;
        let others: Vec<Uuid> = people.iter().copied().filter(|person| !erased.contains(person)).collect();
        let mut names = self.names.reversible(&purpose, others).await?.into_iter();
        let name =
            |person: &Uuid| if erased.contains(person) { String::new() } else { names.next().unwrap_or_default() };
        let pseudonyms = people.iter().map(name).collect();
        Ok(Response::new(IssuePseudonymsResponse { pseudonyms }))
    }

    async fn reveal_pseudonym(
        &self,
        request: Request<RevealPseudonymRequest>,
    ) -> Result<Response<RevealPseudonymResponse>, Status> {
        let operator = caller(&request)?.user_id;
        let RevealPseudonymRequest { pseudonym, purpose, reason } = request.into_inner();
        let person = self.names.open(&purpose, &pseudonym).await?;
        let person = person.ok_or_else(|| Error::from(Reason::PseudonymUnknown))?;
        let (id, now) = (self.db.clock().new_id(), self.db.clock().now());
        let reveal = Reveal { pseudonym: &hash(&pseudonym), purpose: &purpose, reason: &reason, operator };
        let mut tx = self.db.begin(Tenant::user(operator)).await?;
        let requested = store::reveal::request(&mut tx, reveal, id, now).await?;
        tx.commit().await?;
        let (id, is_approved) = (requested.id, requested.is_approved);
        tracing::warn!(reveal.id = %id, operator.id = %operator, is_approved, "an operator opens a pseudonym");
        let state = if is_approved { RevealState::Revealed } else { RevealState::AwaitingApproval };
        Ok(Response::new(RevealPseudonymResponse {
            reveal_id: id.to_string(),
            state: state.into(),
            user_id: is_approved.then(|| person.to_string()),
            expires_at: (!is_approved).then(|| timestamp(requested.requested_at + APPROVAL_TTL)),
        }))
    }

    async fn list_anonymous_profiles(
        &self,
        request: Request<ListAnonymousProfilesRequest>,
    ) -> Result<Response<ListAnonymousProfilesResponse>, Status> {
        let operator = caller(&request)?.user_id;
        let anonymized = self.profiles.collect().await?;
        tracing::info!(operator.id = %operator, rows = anonymized.rows.len(), "anonymous profiles were listed");
        let profiles = anonymized.rows.into_iter().map(|row| {
            let k_anonymity::AnonymousProfile {
                id,
                created_at,
                tier,
                company_domain,
                role_category,
                geographic_region,
            } = row;
            AnonymousProfile { id, created_at, tier, company_domain, role_category, geographic_region }
        });
        Ok(Response::new(ListAnonymousProfilesResponse {
            profiles: profiles.collect(),
            dropped: u32::try_from(anonymized.dropped).unwrap_or(u32::MAX),
        }))
    }

    async fn spend_budget(
        &self,
        request: Request<SpendBudgetRequest>,
    ) -> Result<Response<SpendBudgetResponse>, Status> {
        service(&request)?;
        let SpendBudgetRequest { scope, purpose, query_sha256, epsilon_thousandths } = request.into_inner();
        let epsilon = Epsilon::from_thousandths(epsilon_thousandths)
            .map_err(|_| Error::invalid("epsilon_thousandths", "must be from 1 to 1000"))?;
        let release = Release { scope: &scope, purpose: &purpose, query: &query_sha256 };
        match store::budget::pay(&self.db, release, epsilon, self.db.clock().now()).await? {
            Payment::Paid { result, remaining } => {
                Ok(Response::new(SpendBudgetResponse { result, remaining_thousandths: remaining }))
            }
            Payment::Exhausted(remaining) => {
                let refused = Error::from(Reason::BudgetExhausted);
                Err(refused.with("remaining_thousandths", remaining.0.to_string()).into())
            }
        }
    }

    async fn store_release(
        &self,
        request: Request<StoreReleaseRequest>,
    ) -> Result<Response<StoreReleaseResponse>, Status> {
        service(&request)?;
        let StoreReleaseRequest { scope, purpose, query_sha256, result } = request.into_inner();
        let release = Release { scope: &scope, purpose: &purpose, query: &query_sha256 };
        let result = store::budget::store_result(&self.db, release, &result).await?;
        let result = result.ok_or_else(|| Error::from(Reason::ReleaseNotFound))?;
        Ok(Response::new(StoreReleaseResponse { result }))
    }

    async fn list_budgets(
        &self,
        request: Request<ListBudgetsRequest>,
    ) -> Result<Response<ListBudgetsResponse>, Status> {
        caller(&request)?;
        let budgets = store::budget::list(&self.db, self.db.clock().now()).await?;
        let budgets = budgets.into_iter().map(|Budget { scope, purpose, quarter, spent, max_spent }| PrivacyBudget {
            scope,
            purpose,
            quarter,
            spent_thousandths: spent.unsigned_abs(),
            remaining_thousandths: (max_spent - spent).max(0).unsigned_abs(),
        });
        Ok(Response::new(ListBudgetsResponse { budgets: budgets.collect() }))
    }
}
