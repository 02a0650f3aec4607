//! RPCs by which operators account for what is done with the data of people.

use baton_access::caller;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::privacy::v1::{
        Breach as ProtoBreach, GetRegisterRequest, GetRegisterResponse, ImpactAssessment, ListBreachesRequest,
        ListBreachesResponse, RecordBreachRequest, RecordBreachResponse, ServiceRecord, UpdateBreachRequest,
        UpdateBreachResponse, accountability_service_server::AccountabilityService,
    },
    convert::{datetime, timestamp},
};
use baton_store::{Idempotency, Tenant};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{
    convert,
    purpose::PURPOSES,
    store::{
        self,
        breach::{Breach, Update},
    },
};

/// Time to notify the authority (GDPR, article 33, paragraph 1).
const NOTIFICATION_TIME: TimeDelta = TimeDelta::hours(72);

#[tonic::async_trait]
impl AccountabilityService for Rpc {
    async fn get_register(
        &self,
        request: Request<GetRegisterRequest>,
    ) -> Result<Response<GetRegisterResponse>, Status> {
        caller(&request)?;
        let described = self.sources.iter().map(|source| async {
            Ok::<_, Error>(ServiceRecord { service: source.name().to_owned(), tables: source.describe().await?.tables })
        });
        let mut services = try_join_all(described).await?;
        services
            .push(ServiceRecord { service: crate::SPEC.name.to_owned(), tables: self.eraser.describe_own().tables });
        let overdue = store::request::count_overdue(&self.db, self.db.clock().now()).await?;
        let assessed = PURPOSES.iter().filter_map(|purpose| Some((purpose.id, purpose.assessment?)));
        Ok(Response::new(GetRegisterResponse {
            purposes: PURPOSES.iter().map(|purpose| convert::purpose(purpose, "en")).collect(),
            assessments: assessed
                .map(|(purpose, id)| ImpactAssessment { purpose: purpose.to_owned(), id: id.to_owned() })
                .collect(),
            services,
            subprocessors: self.subprocessors.iter().cloned().map(convert::subprocessor).collect(),
            overdue_requests: u32::try_from(overdue).unwrap_or(u32::MAX),
        }))
    }

    async fn record_breach(
        &self,
        request: Request<RecordBreachRequest>,
    ) -> Result<Response<RecordBreachResponse>, Status> {
        let recorded_by = caller(&request)?.user_id;
        let call = Idempotency::of("AccountabilityService/RecordBreach", request.metadata(), request.get_ref())?;
        let categories = request.get_ref().categories().map(convert::category_name).collect();
        let RecordBreachRequest { summary, discovered_at, user_ids, .. } = request.into_inner();
        let people = parse_people(&user_ids)?;
        let now = self.db.clock().now();
        let discovered_at = parse_past("discovered_at", discovered_at, now)?;
        let discovered_at = discovered_at.ok_or_else(|| Error::invalid("discovered_at", "must be a time"))?;
        let breach = Breach {
            id: self.db.clock().new_id(),
            summary,
            discovered_at,
            notify_by: discovered_at + NOTIFICATION_TIME,
            categories,
            recorded_by,
            recorded_at: now,
            authority_notified_at: None,
            people_notified_at: None,
            exemption: String::new(),
            people: 0,
        };
        let mut tx = self.db.begin(Tenant::user(recorded_by)).await?;
        if let Some(response) = tx.replay(&call).await? {
            return Ok(Response::new(response));
        }
        store::breach::insert(&mut tx, &breach).await?;
        store::breach::add_people(&mut tx, breach.id, &people).await?;
        let stored = store::breach::get(&mut tx, breach.id).await?;
        let response = RecordBreachResponse { breach: stored.map(|breach| message(breach, now)) };
        tx.remember(&call, &response).await?;
        tx.commit().await?;
        tracing::warn!(breach.id = %breach.id, operator.id = %recorded_by, "a personal data breach was recorded");
        Ok(Response::new(response))
    }

    async fn update_breach(
        &self,
        request: Request<UpdateBreachRequest>,
    ) -> Result<Response<UpdateBreachResponse>, Status> {
        let operator = caller(&request)?.user_id;
        let UpdateBreachRequest { breach_id, user_ids, authority_notified_at, people_notified_at, exemption } =
            request.into_inner();
        let not_found = || Error::from(Reason::BreachNotFound);
        let (id, people) = (breach_id.parse().map_err(|_| not_found())?, parse_people(&user_ids)?);
        let now = self.db.clock().now();
        let update = Update {
            authority_notified_at: parse_past("authority_notified_at", authority_notified_at, now)?,
            people_notified_at: parse_past("people_notified_at", people_notified_at, now)?,
            exemption,
        };
        let mut tx = self.db.begin(Tenant::user(operator)).await?;
        if !store::breach::update(&mut tx, id, &update).await? {
            return Err(not_found().into());
        }
        store::breach::add_people(&mut tx, id, &people).await?;
        let stored = store::breach::get(&mut tx, id).await?;
        tx.commit().await?;
        Ok(Response::new(UpdateBreachResponse { breach: stored.map(|breach| message(breach, now)) }))
    }

    async fn list_breaches(
        &self,
        request: Request<ListBreachesRequest>,
    ) -> Result<Response<ListBreachesResponse>, Status> {
        let mut tx = self.db.begin_read(Tenant::user(caller(&request)?.user_id)).await?;
        let breaches = store::breach::list(&mut tx).await?;
        let now = self.db.clock().now();
        Ok(Response::new(ListBreachesResponse {
            breaches: breaches.into_iter().map(|breach| message(breach, now)).collect(),
        }))
    }
}

fn parse_people(ids: &[String]) -> Result<Vec<Uuid>> {
    let people = ids.iter().map(|id| id.parse()).collect::<Result<_, _>>();
    people.map_err(|_| Error::invalid("user_ids", "must be UUIDs"))
}

/// A time that is not in the future.
fn parse_past(field: &str, time: Option<Timestamp>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    let Some(time) = time else { return Ok(None) };
    let time = datetime(&time).ok_or_else(|| Error::invalid(field, "must be a time"))?;
    if time > now { Err(Error::invalid(field, "must not be in the future")) } else { Ok(Some(time)) }
}

fn message(breach: Breach, now: DateTime<Utc>) -> ProtoBreach {
    let is_open = breach.authority_notified_at.is_none() && breach.exemption.is_empty();
    ProtoBreach {
        id: breach.id.to_string(),
        summary: breach.summary,
        discovered_at: Some(timestamp(breach.discovered_at)),
        notify_by: Some(timestamp(breach.notify_by)),
        is_overdue: is_open && now > breach.notify_by,
        categories: breach.categories.iter().map(|name| convert::category(name).into()).collect(),
        people: u32::try_from(breach.people).unwrap_or(u32::MAX),
        authority_notified_at: breach.authority_notified_at.map(timestamp),
        people_notified_at: breach.people_notified_at.map(timestamp),
        exemption: breach.exemption,
        recorded_by: breach.recorded_by.to_string(),
        recorded_at: Some(timestamp(breach.recorded_at)),
    }
}
