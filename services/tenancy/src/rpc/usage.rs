//! RPC for the usage of quotas.

use baton_access::{limits, principal};
use baton_errors::Result;
use baton_proto::baton::tenancy::v1::{
    GetUsageRequest, GetUsageResponse, QuotaUsage, usage_service_server::UsageService,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, parse_account_id};
use crate::{
    application::usage,
    convert,
    member::INVITATION_TTL,
    store,
    tier::{Quota, percent_used},
};

#[tonic::async_trait]
impl UsageService for Rpc {
    async fn get_usage(&self, request: Request<GetUsageRequest>) -> Result<Response<GetUsageResponse>, Status> {
        let principal = principal(&request)?;
        let account_id = parse_account_id(principal, &request.get_ref().account_id)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let (plan, limits) = usage::load_limits(&mut tx, &self.tiers, account_id).await?;
        let seats = store::usage::count_seats(&mut tx, account_id, now - INVITATION_TTL).await?;
        let peaks = store::usage::peak_usage(&mut tx, account_id).await?;
        drop(tx);
        let requests = self.count_requests(account_id).await;
        let reported = |quota: Quota| {
            let peak = peaks.iter().find(|peak| peak.quota == quota.name());
            peak.map_or(0, |peak| quota.current_usage(peak.used, peak.changed_at, now))
        };
        let quotas = Quota::ALL.map(|quota| {
            let used = match quota {
                Quota::Users => i32::try_from(seats.taken).ok(),
                Quota::ApiRequestsPerHour => requests,
                Quota::AutomationExecutionsPerHour => None,
                _ => Some(reported(quota)),
            };
            let limit = quota.limit(&limits);
            QuotaUsage {
                quota: convert::quota(quota).into(),
                limit,
                used,
                percent: limit.zip(used).map(|(limit, used)| percent_used(used.into(), limit)),
            }
        });
        let subscription_tier = convert::tier(plan.tier).into();
        Ok(Response::new(GetUsageResponse { subscription_tier, quotas: quotas.into() }))
    }
}

impl Rpc {
    /// The requests of the current hour, as counted by the gateways in Redis; `None` when Redis is unavailable.
    async fn count_requests(&self, account_id: Uuid) -> Option<i32> {
        let mut connection = self.streams.connection();
        let command = redis::cmd("GET").arg(limits::requests_key(account_id)).to_owned();
        match command.query_async::<Option<i32>>(&mut connection).await {
            Ok(count) => Some(count.unwrap_or_default()),
            Err(error) => {
                tracing::warn!(%error, "cannot read the request count");
                None
            }
        }
    }
}
