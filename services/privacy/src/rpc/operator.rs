//! RPCs of operators.

use baton_access::caller;
use baton_errors::{Error, Reason, Result};
use baton_proto::{
    baton::privacy::v1::{
        GetRetentionReportRequest, GetRetentionReportResponse, LegalHold as ProtoHold, ListLegalHoldsRequest,
        ListLegalHoldsResponse, PlaceLegalHoldRequest, PlaceLegalHoldResponse, ReleaseLegalHoldRequest,
        ReleaseLegalHoldResponse, operator_service_server::OperatorService,
    },
    convert::timestamp,
};
use baton_store::Tenant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Rpc;
use crate::store::{self, legal_hold::LegalHold};

#[tonic::async_trait]
impl OperatorService for Rpc {
    async fn place_legal_hold(
        &self,
        request: Request<PlaceLegalHoldRequest>,
    ) -> Result<Response<PlaceLegalHoldResponse>, Status> {
        let placed_by = caller(&request)?.user_id;
        let PlaceLegalHoldRequest { user_id, ground } = request.into_inner();
        let hold = LegalHold { user_id: parse(&user_id)?, ground, placed_by, placed_at: self.db.clock().now() };
        let mut tx = self.db.begin(Tenant::user(placed_by)).await?;
        let placed = store::legal_hold::place(&mut tx, &hold).await?;
        tx.commit().await?;
        tracing::info!(operator.id = %placed_by, user.id = %placed.user_id, "a legal hold was placed");
        Ok(Response::new(PlaceLegalHoldResponse { legal_hold: Some(message(placed)) }))
    }

    async fn release_legal_hold(
        &self,
        request: Request<ReleaseLegalHoldRequest>,
    ) -> Result<Response<ReleaseLegalHoldResponse>, Status> {
        let operator = caller(&request)?.user_id;
        let user_id = parse(&request.get_ref().user_id)?;
        let mut tx = self.db.begin(Tenant::user(operator)).await?;
        if !store::legal_hold::release(&mut tx, user_id).await? {
            return Err(Error::from(Reason::LegalHoldNotFound).into());
        }
        tx.commit().await?;
        tracing::info!(operator.id = %operator, user.id = %user_id, "a legal hold was released");
        Ok(Response::new(ReleaseLegalHoldResponse {}))
    }

    async fn list_legal_holds(
        &self,
        request: Request<ListLegalHoldsRequest>,
    ) -> Result<Response<ListLegalHoldsResponse>, Status> {
        let mut tx = self.db.begin_read(Tenant::user(caller(&request)?.user_id)).await?;
        let holds = store::legal_hold::list(&mut tx).await?;
        Ok(Response::new(ListLegalHoldsResponse { legal_holds: holds.into_iter().map(message).collect() }))
    }

    async fn get_retention_report(
        &self,
        _: Request<GetRetentionReportRequest>,
    ) -> Result<Response<GetRetentionReportResponse>, Status> {
        let rules = self.eraser.retention().await?;
        let overdue = rules.iter().filter(|rule| rule.is_overdue).count();
        Ok(Response::new(GetRetentionReportResponse { rules, overdue: u32::try_from(overdue).unwrap_or(u32::MAX) }))
    }
}

fn parse(user_id: &str) -> Result<Uuid> {
    user_id.parse().map_err(|_| Error::invalid("user_id", "must be a UUID"))
}

fn message(hold: LegalHold) -> ProtoHold {
    let LegalHold { user_id, ground, placed_by, placed_at } = hold;
    ProtoHold {
        user_id: user_id.to_string(),
        ground,
        placed_by: placed_by.to_string(),
        placed_at: Some(timestamp(placed_at)),
    }
}
