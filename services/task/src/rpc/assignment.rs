//! Assignment RPCs: assignment history, assigned tasks, and suggested assignees.

use baton_access::principal;
use baton_errors::Result;
use baton_proto::baton::task::v1::{
    GetAssignmentHistoryRequest, GetAssignmentHistoryResponse, ListTasksAssignedByMeRequest,
    ListTasksAssignedByMeResponse, ListTasksAssignedToMeRequest, ListTasksAssignedToMeResponse, ListTeamTasksRequest,
    ListTeamTasksResponse, SuggestAssigneesRequest, SuggestAssigneesResponse,
    assignment_service_server::AssignmentService,
};
use baton_store::Page;
use chrono::TimeDelta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Rpc, list::TaskPage, lookup::get};
use crate::{
    assignee_ranking,
    convert::assignment as convert,
    policy::{
        assignment::{self, Assignee},
        visibility::Actor,
    },
    query::filter::Scope,
    store,
};

/// Suggestions when the request has no limit.
const DEFAULT_SUGGESTIONS: i32 = 5;
/// For a task without a due time, tasks due within this count as due before it.
const DEFAULT_HORIZON: TimeDelta = TimeDelta::days(7);

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
        let task = get(&mut tx, Actor::of(principal), id).await?;
        let (mut rows, total) = store::assignment_history::read(&mut tx, task.id, &page).await?;
        drop(tx);
        let meta = page.meta(&mut rows, total, id, |row| (Some(row.version.to_string()), row.id));
        let assignments = rows.into_iter().map(convert::assignment).collect();
        Ok(Response::new(GetAssignmentHistoryResponse { assignments, meta: Some(meta) }))
    }

    async fn list_tasks_assigned_to_me(
        &self,
        request: Request<ListTasksAssignedToMeRequest>,
    ) -> Result<Response<ListTasksAssignedToMeResponse>, Status> {
        let principal = principal(&request)?.clone();
        let ListTasksAssignedToMeRequest { filter, page } = request.into_inner();
        let scope = Scope::AssignedTo(principal.user_id());
        let TaskPage { tasks, meta, .. } = self.list(&principal, scope, filter, page).await?;
        Ok(Response::new(ListTasksAssignedToMeResponse { tasks, meta: Some(meta) }))
    }

    async fn list_tasks_assigned_by_me(
        &self,
        request: Request<ListTasksAssignedByMeRequest>,
    ) -> Result<Response<ListTasksAssignedByMeResponse>, Status> {
        let principal = principal(&request)?.clone();
        let ListTasksAssignedByMeRequest { filter, page } = request.into_inner();
        let scope = Scope::AssignedBy(principal.user_id());
        let TaskPage { tasks, meta, .. } = self.list(&principal, scope, filter, page).await?;
        Ok(Response::new(ListTasksAssignedByMeResponse { tasks, meta: Some(meta) }))
    }

    async fn list_team_tasks(
        &self,
        request: Request<ListTeamTasksRequest>,
    ) -> Result<Response<ListTeamTasksResponse>, Status> {
        let principal = principal(&request)?.clone();
        let ListTeamTasksRequest { filter, page } = request.into_inner();
        let TaskPage { tasks, meta, .. } = self.list(&principal, Scope::Team, filter, page).await?;
        Ok(Response::new(ListTeamTasksResponse { tasks, meta: Some(meta) }))
    }

    async fn suggest_assignees(
        &self,
        request: Request<SuggestAssigneesRequest>,
    ) -> Result<Response<SuggestAssigneesResponse>, Status> {
        let principal = principal(&request)?;
        let SuggestAssigneesRequest { id, limit } = request.get_ref();
        let actor = Actor::of(principal);
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, actor, id).await?;
        tx.commit().await?;
        assignment::can_transfer(&task, actor)?;
        let mut members = self.members.assignees(principal).await?;
        members.retain(|member| Some(member.user_id) != task.assigned_to);

        let now = self.db.clock().now();
        let horizon = task.fields.due_at.unwrap_or(now + DEFAULT_HORIZON);
        let ids: Vec<Uuid> = members.iter().map(|member| member.user_id).collect();
        let mut tx = self.db.begin(principal.tenant()).await?;
        let workloads = store::workload::of(&mut tx, &ids, now, horizon).await?;
        tx.commit().await?;
        let workload = |member: Assignee| (member, workloads.get(&member.user_id).copied().unwrap_or_default());
        let limit = usize::try_from(limit.unwrap_or(DEFAULT_SUGGESTIONS)).unwrap_or_default();
        let suggestions = assignee_ranking::rank(members.into_iter().map(workload), limit);
        let suggestions = suggestions.into_iter().map(convert::suggestion).collect();
        Ok(Response::new(SuggestAssigneesResponse { suggestions }))
    }
}
