//! Tasks by whose they are.

use baton_access::{
    Principal, principal,
    reach::{self, Relation},
};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::task::v1::{
    GetAccountBoardRequest, GetAccountBoardResponse, GetMyBoardRequest, GetMyBoardResponse, GetTeamBoardRequest,
    GetTeamBoardResponse, GetUserBoardRequest, GetUserBoardResponse, board_service_server::BoardService,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, list::Listed};
use crate::{filter::Scope, visibility::Who};

#[tonic::async_trait]
impl BoardService for Rpc {
    async fn get_my_board(&self, request: Request<GetMyBoardRequest>) -> Result<Response<GetMyBoardResponse>, Status> {
        let principal = principal(&request)?.clone();
        let GetMyBoardRequest { filter, page } = request.into_inner();
        let scope = Scope::BoardOf(principal.user_id());
        let Listed { columns, tasks, meta } = self.list(&principal, scope, filter, page).await?;
        Ok(Response::new(GetMyBoardResponse { columns, tasks, meta: Some(meta) }))
    }

    async fn get_user_board(
        &self,
        request: Request<GetUserBoardRequest>,
    ) -> Result<Response<GetUserBoardResponse>, Status> {
        let principal = principal(&request)?.clone();
        let GetUserBoardRequest { user_id, filter, page } = request.into_inner();
        let person = user_id.parse().map_err(|_| Error::from(Reason::BoardNotFound))?;
        self.may_see_board_of(&principal, person).await?;
        let scope = Scope::BoardOf(person);
        let Listed { columns, tasks, meta } = self.list(&principal, scope, filter, page).await?;
        Ok(Response::new(GetUserBoardResponse { columns, tasks, meta: Some(meta) }))
    }

    async fn get_team_board(
        &self,
        request: Request<GetTeamBoardRequest>,
    ) -> Result<Response<GetTeamBoardResponse>, Status> {
        let principal = principal(&request)?.clone();
        let GetTeamBoardRequest { filter, page } = request.into_inner();
        let Listed { columns, tasks, meta } = self.list(&principal, Scope::Team, filter, page).await?;
        Ok(Response::new(GetTeamBoardResponse { columns, tasks, meta: Some(meta) }))
    }

    async fn get_account_board(
        &self,
        request: Request<GetAccountBoardRequest>,
    ) -> Result<Response<GetAccountBoardResponse>, Status> {
        let principal = principal(&request)?.clone();
        let GetAccountBoardRequest { filter, page } = request.into_inner();
        // Whose role opens this board sees every task of the account.
        let Listed { columns, tasks, meta } = self.list(&principal, Scope::Visible, filter, page).await?;
        Ok(Response::new(GetAccountBoardResponse { columns, tasks, meta: Some(meta) }))
    }
}

impl Rpc {
    /// Whose boards one may see is data: [`reach::BOARDS`]. Of strangers the role has to be asked.
    async fn may_see_board_of(&self, principal: &Principal, person: Uuid) -> Result<()> {
        let who = Who::of(principal);
        let relation = who.relation(person);
        // Of one's own people the table opens all boards, whatever their roles.
        let may = relation < Relation::Other
            || who.runs_the_account()
                && self
                    .members
                    .find(principal, person)
                    .await?
                    .is_some_and(|member| reach::reaches(reach::BOARDS, principal.role(), member.role, relation));
        if may { Ok(()) } else { Err(Reason::BoardNotFound.into()) }
    }
}
