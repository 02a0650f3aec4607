//! What an account uses of what its tier allows.

use baton_access::{limits, principal};
use baton_errors::Result;
use baton_proto::baton::tenancy::v1::{
    GetUsageRequest, GetUsageResponse, QuotaUsage, usage_service_server::UsageService,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, account_of};
use crate::{
    convert,
    member::INVITATION,
    store,
    tier::{Quota, percent},
    usage,
};

#[tonic::async_trait]
impl UsageService for Rpc {
    async fn get_usage(&self, request: Request<GetUsageRequest>) -> Result<Response<GetUsageResponse>, Status> {
        let principal = principal(&request)?;
        let account_id = account_of(principal, &request.get_ref().account_id)?;
        let now = self.db.clock().now();
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let (plan, limits) = usage::limits(&mut tx, &self.tiers, account_id).await?;
        let seats = store::usage::seats(&mut tx, account_id, now - INVITATION).await?;
        let most = store::usage::most(&mut tx, account_id).await?;
        drop(tx);
        let requests = self.requests(account_id).await;
        let reported = |quota: Quota| {
            let most = most.iter().find(|most| most.quota == quota.name());
            most.map_or(0, |most| quota.current(most.used, most.changed_at, now))
        };
        let quotas = Quota::ALL.map(|quota| {
            let used = match quota {
                Quota::Users => i32::try_from(seats.taken).ok(),
                Quota::ApiRequestsPerHour => requests,
                _ => Some(reported(quota)),
            };
            let limit = quota.of(&limits);
            QuotaUsage {
                quota: quota.to_proto().into(),
                limit,
                used,
                percent: limit.zip(used).map(|(limit, used)| percent(used.into(), limit)),
            }
        });
        let subscription_tier = convert::tier(plan.tier).into();
        Ok(Response::new(GetUsageResponse { subscription_tier, quotas: quotas.into() }))
    }
}

impl Rpc {
    /// The requests of the current hour, as the gateways count them; `None` when nobody can tell.
    async fn requests(&self, account_id: Uuid) -> Option<i32> {
        let mut connection = self.streams.connection();
        let asked = redis::cmd("GET").arg(limits::requests_key(account_id)).to_owned();
        match asked.query_async::<Option<i32>>(&mut connection).await {
            Ok(count) => Some(count.unwrap_or_default()),
            Err(error) => {
                tracing::warn!(%error, "cannot tell how many requests were counted");
                None
            }
        }
    }
}
