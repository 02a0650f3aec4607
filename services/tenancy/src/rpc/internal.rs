//! RPCs for other services acting on their own behalf.

use baton_access::service;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1::{
    BatchGetStandingsRequest, BatchGetStandingsResponse, DescribeMemberRequest, DescribeMemberResponse,
    GetHierarchyRequest, GetHierarchyResponse, HierarchyMember, Standing, internal_service_server::InternalService,
};
use baton_store::Tenant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{account::AccountStatus, convert, membership_resolver, store};

/// The service that makes anonymous profiles.
const PRIVACY: &str = "privacy";

#[tonic::async_trait]
impl InternalService for Rpc {
    async fn describe_member(
        &self,
        request: Request<DescribeMemberRequest>,
    ) -> Result<Response<DescribeMemberResponse>, Status> {
        tracing::debug!(service = service(&request)?.name, "member looked up");
        let id = |id: &str| id.parse::<Uuid>().map_err(|_| Error::from(Reason::NotAMember));
        let (account_id, user_id) = (id(&request.get_ref().account_id)?, id(&request.get_ref().user_id)?);
        let membership = membership_resolver::resolve(&self.db, &self.tiers, user_id, Some(account_id)).await?;
        Ok(Response::new(DescribeMemberResponse { membership: Some(convert::membership(membership)) }))
    }

    async fn batch_get_standings(
        &self,
        request: Request<BatchGetStandingsRequest>,
    ) -> Result<Response<BatchGetStandingsResponse>, Status> {
        if service(&request)?.name != PRIVACY {
            return Err(Error::from(Reason::ServiceOnly).into());
        }
        let ids: Vec<Uuid> = request.get_ref().user_ids.iter().filter_map(|id| id.parse().ok()).collect();
        let standings = store::hierarchy::standings(&self.db, &ids).await?;
        let standing =
            |(user_id, tier, role): (Uuid, String, String)| Standing { user_id: user_id.to_string(), tier, role };
        Ok(Response::new(BatchGetStandingsResponse { standings: standings.into_iter().map(standing).collect() }))
    }

    async fn get_hierarchy(
        &self,
        request: Request<GetHierarchyRequest>,
    ) -> Result<Response<GetHierarchyResponse>, Status> {
        tracing::debug!(service = service(&request)?.name, "hierarchy looked up");
        let GetHierarchyRequest { account_id, page_size, after } = request.into_inner();
        let account_id = account_id.parse().map_err(|_| Error::from(Reason::AccountNotFound))?;
        let after = after.map(|id| convert::parse_id("after", &id)).transpose()?;
        let mut tx = self.db.begin_read(Tenant { account_id, user_id: Uuid::nil() }).await?;
        let account = store::hierarchy::get_account(&mut tx, account_id).await?;
        let account = account.ok_or_else(|| Error::from(Reason::AccountNotFound))?;
        let members = store::hierarchy::list(&mut tx, account_id, after.unwrap_or_default(), page_size.into()).await?;
        let member = |member: store::hierarchy::HierarchyMember| HierarchyMember {
            user_id: member.user_id.to_string(),
            role: member.role.to_proto().into(),
            manager_id: member.manager_id.map(|id| id.to_string()).unwrap_or_default(),
        };
        Ok(Response::new(GetHierarchyResponse {
            is_suspended: account.status != AccountStatus::Active,
            second_factor_required: account.require_second_factor,
            members: members.into_iter().map(member).collect(),
        }))
    }
}
