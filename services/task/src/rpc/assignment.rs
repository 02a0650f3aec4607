//! Through whose hands tasks went, whose they are in, and whose would be good ones.

use baton_access::principal;
use baton_errors::Result;
use baton_proto::{
    baton::task::v1::{
        self as proto, GetAssignmentHistoryRequest, GetAssignmentHistoryResponse, ListTasksAssignedByMeRequest,
        ListTasksAssignedByMeResponse, ListTasksAssignedToMeRequest, ListTasksAssignedToMeResponse,
        ListTeamTasksRequest, ListTeamTasksResponse, SuggestAssigneesRequest, SuggestAssigneesResponse,
        assignment_service_server::AssignmentService,
    },
    convert::timestamp,
};
use baton_store::Page;
use chrono::TimeDelta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, change::get, list::Listed};
use crate::{
    list::filter::Scope,
    people::{
        assignment::{self, Member},
        hands::How,
        suggestion::{self, Suggestion},
        visibility::Who,
    },
    store::{self, hands::Hand},
};

/// How many members are suggested to who does not say.
const SUGGESTED: i32 = 5;
/// What is due within this counts as due before a task that has no due time.
const SOON: TimeDelta = TimeDelta::days(7);

#[tonic::async_trait]
impl AssignmentService for Rpc {
    async fn get_assignment_history(
        &self,
        request: Request<GetAssignmentHistoryRequest>,
    ) -> Result<Response<GetAssignmentHistoryResponse>, Status> {
        let principal = principal(&request)?;
        let GetAssignmentHistoryRequest { id, page } = request.get_ref();
        let page = Page::of(page.as_ref(), id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, Who::of(principal), id).await?;
        let (mut hands, total) = store::hands::read(&mut tx, task.id, &page).await?;
        drop(tx);
        let meta = page.meta(&mut hands, total, id, |hand| (Some(hand.version.to_string()), hand.id));
        let assignments = hands.into_iter().map(Into::into).collect();
        Ok(Response::new(GetAssignmentHistoryResponse { assignments, meta: Some(meta) }))
    }

    async fn list_tasks_assigned_to_me(
        &self,
        request: Request<ListTasksAssignedToMeRequest>,
    ) -> Result<Response<ListTasksAssignedToMeResponse>, Status> {
        let principal = principal(&request)?.clone();
        let ListTasksAssignedToMeRequest { filter, page } = request.into_inner();
        let scope = Scope::HeldBy(principal.user_id());
        let Listed { tasks, meta, .. } = self.list(&principal, scope, filter, page).await?;
        Ok(Response::new(ListTasksAssignedToMeResponse { tasks, meta: Some(meta) }))
    }

    async fn list_tasks_assigned_by_me(
        &self,
        request: Request<ListTasksAssignedByMeRequest>,
    ) -> Result<Response<ListTasksAssignedByMeResponse>, Status> {
        let principal = principal(&request)?.clone();
        let ListTasksAssignedByMeRequest { filter, page } = request.into_inner();
        let scope = Scope::GivenBy(principal.user_id());
        let Listed { tasks, meta, .. } = self.list(&principal, scope, filter, page).await?;
        Ok(Response::new(ListTasksAssignedByMeResponse { tasks, meta: Some(meta) }))
    }

    async fn list_team_tasks(
        &self,
        request: Request<ListTeamTasksRequest>,
    ) -> Result<Response<ListTeamTasksResponse>, Status> {
        let principal = principal(&request)?.clone();
        let ListTeamTasksRequest { filter, page } = request.into_inner();
        let Listed { tasks, meta, .. } = self.list(&principal, Scope::Team, filter, page).await?;
        Ok(Response::new(ListTeamTasksResponse { tasks, meta: Some(meta) }))
    }

    async fn suggest_assignees(
        &self,
        request: Request<SuggestAssigneesRequest>,
    ) -> Result<Response<SuggestAssigneesResponse>, Status> {
        let principal = principal(&request)?;
        let SuggestAssigneesRequest { id, limit } = request.get_ref();
        let who = Who::of(principal);
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, who, id).await?;
        tx.commit().await?;
        assignment::may_hand_on(&task, who)?;
        let mut members = self.members.assignees(principal).await?;
        members.retain(|member| Some(member.user_id) != task.assigned_to);

        let now = self.db.clock().now();
        let horizon = task.fields.due_at.unwrap_or(now + SOON);
        let people: Vec<Uuid> = members.iter().map(|member| member.user_id).collect();
        let mut tx = self.db.begin(principal.tenant()).await?;
        let loads = store::workload::of(&mut tx, &people, now, horizon).await?;
        tx.commit().await?;
        let load = |member: Member| (member, loads.get(&member.user_id).copied().unwrap_or_default());
        let limit = usize::try_from(limit.unwrap_or(SUGGESTED)).unwrap_or_default();
        let suggestions = suggestion::rank(members.into_iter().map(load), limit);
        Ok(Response::new(SuggestAssigneesResponse { suggestions: suggestions.into_iter().map(Into::into).collect() }))
    }
}

impl From<Hand> for proto::Assignment {
    fn from(hand: Hand) -> Self {
        let how = How::from_name(&hand.how).map_or(proto::AssignmentHow::Unspecified, How::to_proto);
        Self {
            id: hand.id.to_string(),
            assigned_to: hand.assigned_to.to_string(),
            assigned_by: hand.assigned_by.to_string(),
            how: how.into(),
            assigned_at: Some(timestamp(hand.assigned_at)),
            accepted_at: hand.accepted_at.map(timestamp),
            rejected_at: hand.rejected_at.map(timestamp),
            rejection_reason: hand.rejection_reason,
            ended_at: hand.ended_at.map(timestamp),
        }
    }
}

impl From<Suggestion> for proto::SuggestedAssignee {
    fn from(suggestion: Suggestion) -> Self {
        let reason = |reason: suggestion::Reason| proto::SuggestionReason {
            kind: reason.kind.into(),
            value: reason.value,
            adds: reason.adds,
            weight: reason.weight,
        };
        Self {
            user_id: suggestion.member.user_id.to_string(),
            role: suggestion.member.role.to_proto().into(),
            score: suggestion.score,
            reasons: suggestion.reasons.into_iter().map(reason).collect(),
        }
    }
}
