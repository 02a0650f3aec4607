//! RPCs for other services acting on their own behalf.

use baton_access::service;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::tenancy::v1::{
    DescribeMemberRequest, DescribeMemberResponse, internal_service_server::InternalService,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::{convert, membership_resolver};

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
}
