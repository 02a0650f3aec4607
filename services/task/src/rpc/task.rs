//! Task RPCs: fields, lifecycle, trash, assignment.

use std::slice;

use baton_access::{Principal, principal};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::task::v1::{
    AcceptTaskRequest, AcceptTaskResponse, ArchiveTaskRequest, ArchiveTaskResponse, AssignTaskRequest,
    AssignTaskResponse, CancelTaskRequest, CancelTaskResponse, CompleteTaskRequest, CompleteTaskResponse,
    CreateTaskRequest, CreateTaskResponse, DeleteTaskRequest, DeleteTaskResponse, GetTaskEventRequest,
    GetTaskEventResponse, GetTaskRequest, GetTaskResponse, GetTimelineRequest, GetTimelineResponse,
    ListStateTimesRequest, ListStateTimesResponse, ListTaskHistoryRequest, ListTaskHistoryResponse, ListTasksRequest,
    ListTasksResponse, ListTrashRequest, ListTrashResponse, PauseTaskRequest, PauseTaskResponse, ReassignTaskRequest,
    ReassignTaskResponse, RejectTaskRequest, RejectTaskResponse, ReopenTaskRequest, ReopenTaskResponse,
    RestoreTaskRequest, RestoreTaskResponse, ResumeTaskRequest, ResumeTaskResponse, SkipTaskRequest, SkipTaskResponse,
    StartTaskRequest, StartTaskResponse, UnskipTaskRequest, UnskipTaskResponse, UpdateTaskRequest, UpdateTaskResponse,
    task_service_server::TaskService,
};
use baton_store::Page;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Rpc, history,
    list::TaskPage,
    lookup::{get, get_with_summary},
    mutation::{Mutation, lock},
    subtasks::{hide_logged_parents, hide_parents, parent_check},
};
use crate::{
    application::writer::UnitOfWork,
    convert,
    policy::{
        assignment::{self, Assignee},
        visibility::Actor,
    },
    query::filter::Scope,
    schedule::series::{self, RecurrencePatch},
    store,
    task::{
        Task,
        action::{TaskAction, Update},
        event_kind::EventKind,
        fields::Fields,
        subtasks::TaskSummary,
    },
    watchers::Audience,
};

#[tonic::async_trait]
impl TaskService for Rpc {
    async fn create_task(&self, request: Request<CreateTaskRequest>) -> Result<Response<CreateTaskResponse>, Status> {
        let mutation = Mutation::of("CreateTask", &request)?;
        let (actor, clock) = (mutation.actor(), self.db.clock());
        let message = request.get_ref();
        let assignee = match &message.assigned_to {
            // Propagate this error only after the idempotency check, so that a retry still gets its first response.
            Some(id) => Some(self.assignee(mutation.principal(), id).await),
            None => None,
        };
        let patch = convert::fields::new_recurrence(message);
        let holder = assignee.as_ref().and_then(|assignee| assignee.as_ref().ok()).map_or(actor.id, |it| it.user_id);
        let timezone = self.timezone(mutation.principal(), &patch, holder).await;
        let now = clock.now();
        let account_id = mutation.principal().account_id();
        let new = convert::fields::new_task(message.clone())?;
        let fields = Fields::new(new, convert::default_visibility(&actor.membership.settings))?;
        let mut task = Task::new(clock.new_id(), account_id, actor.id, fields, now);
        patch.apply(&mut task, timezone.as_deref(), "", (now, clock.new_id()))?;
        let assign = |task: &mut Task| match assignee {
            Some(assignee) => assignment::assign_new(task, actor, assignee?, now),
            None => Ok(()),
        };
        let task = self.create(&mutation, task, assign).await?;
        Ok(Response::new(CreateTaskResponse { task: Some(task) }))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<GetTaskResponse>, Status> {
        let principal = principal(&request)?;
        let GetTaskRequest { id, as_of } = request.get_ref();
        let mut now = self.db.clock().now();
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let (mut task, mut summary) = get_with_summary(&mut tx, Actor::of(principal), id, now).await?;
        if let Some(time) = as_of {
            now = convert::time(time, "as_of")?;
            let then = store::snapshot::as_of(&mut tx, &[task.id], now).await?.pop();
            task = then.ok_or_else(|| Error::from(Reason::TaskNotFound))?;
            summary = TaskSummary::default();
        }
        hide_parents(&mut tx, Actor::of(principal), slice::from_mut(&mut task)).await?;
        drop(tx);
        Ok(Response::new(GetTaskResponse { task: Some(convert::subtasks::task(task, summary, now)) }))
    }

    async fn update_task(&self, request: Request<UpdateTaskRequest>) -> Result<Response<UpdateTaskResponse>, Status> {
        let mutation = Mutation::of("UpdateTask", &request)?;
        let UpdateTaskRequest { id, task: new, update_mask } = request.get_ref().clone();
        let (mut mask, new) = (update_mask.unwrap_or_default().paths, new.unwrap_or_default());
        let recurrence = convert::fields::recurrence_change(&mut mask, &new);
        let timezone = self.timezone_of_task(mutation.principal(), &recurrence, &id).await?;
        let default = convert::default_visibility(&mutation.actor().membership.settings);
        let mut tx = self.db.begin(mutation.principal().tenant()).await?;
        if mask.iter().any(|path| path == "parent_task_id") {
            store::task::lock_hierarchy(&mut tx).await?;
        }
        let before = lock(&mut tx, &mutation, &id).await?;
        mutation.actor().can_change(&before)?;
        let (new, series_id) = (convert::fields::change(&mask, new)?, Some(self.db.clock().new_id()));
        let mut update = Update { recurrence, timezone, series_id, ..Update::new(mask, new, default) };
        if let Some(parent) = update.parent().filter(|&parent| before.fields.parent_task_id != Some(parent)) {
            let check = parent_check(&mut tx, mutation.actor(), &[before.id], parent, "task.parent_task_id").await?;
            update.parent_check = Some(check);
        }
        if update.changes_custom_fields() {
            update.definitions = store::custom_field::all(&mut tx).await?;
        }
        let action = TaskAction::Update(Box::new(update));
        let changed = action.apply(before, mutation.actor(), self.db.clock().now())?;
        let mut task = UnitOfWork::change(vec![changed], mutation.policy()).write_one(&mut tx).await?;
        hide_parents(&mut tx, mutation.actor(), slice::from_mut(&mut task)).await?;
        tx.commit().await?;
        let task = convert::task(task, self.db.clock().now());
        Ok(Response::new(UpdateTaskResponse { task: Some(task) }))
    }

    async fn delete_task(&self, request: Request<DeleteTaskRequest>) -> Result<Response<DeleteTaskResponse>, Status> {
        let mutation = Mutation::of("DeleteTask", &request)?;
        self.change(&mutation, &request.get_ref().id, TaskAction::Delete).await?;
        Ok(Response::new(DeleteTaskResponse {}))
    }

    async fn restore_task(
        &self,
        request: Request<RestoreTaskRequest>,
    ) -> Result<Response<RestoreTaskResponse>, Status> {
        let mutation = Mutation::of("RestoreTask", &request)?;
        let task = self.change(&mutation, &request.get_ref().id, TaskAction::Restore).await?;
        Ok(Response::new(RestoreTaskResponse { task: Some(task) }))
    }

    async fn list_trash(&self, request: Request<ListTrashRequest>) -> Result<Response<ListTrashResponse>, Status> {
        let principal = principal(&request)?;
        let page = Page::of(request.get_ref().page.as_ref(), &"trash")?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let (mut tasks, total) = store::trash::read(&mut tx, Actor::of(principal), &page).await?;
        hide_parents(&mut tx, Actor::of(principal), &mut tasks).await?;
        drop(tx);
        let meta = page.meta(&mut tasks, total, &"trash", store::trash::key);
        let now = self.db.clock().now();
        let tasks = tasks.into_iter().map(|task| convert::task(task, now)).collect();
        Ok(Response::new(ListTrashResponse { tasks, meta: Some(meta) }))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let principal = principal(&request)?.clone();
        let ListTasksRequest { filter, page } = request.into_inner();
        let TaskPage { tasks, meta, .. } = self.list(&principal, Scope::Visible, filter, page).await?;
        Ok(Response::new(ListTasksResponse { tasks, meta: Some(meta) }))
    }

    async fn list_task_history(
        &self,
        request: Request<ListTaskHistoryRequest>,
    ) -> Result<Response<ListTaskHistoryResponse>, Status> {
        Ok(Response::new(history::list(self, principal(&request)?, request.get_ref()).await?))
    }

    async fn get_task_event(
        &self,
        request: Request<GetTaskEventRequest>,
    ) -> Result<Response<GetTaskEventResponse>, Status> {
        let event = history::get(self, principal(&request)?, &request.get_ref().id).await?;
        Ok(Response::new(GetTaskEventResponse { event: Some(event) }))
    }

    async fn list_state_times(
        &self,
        request: Request<ListStateTimesRequest>,
    ) -> Result<Response<ListStateTimesResponse>, Status> {
        let tasks = history::state_times(self, principal(&request)?, &request.get_ref().task_ids).await?;
        Ok(Response::new(ListStateTimesResponse { tasks }))
    }

    async fn get_timeline(
        &self,
        request: Request<GetTimelineRequest>,
    ) -> Result<Response<GetTimelineResponse>, Status> {
        let principal = principal(&request)?;
        let GetTimelineRequest { id, page } = request.get_ref();
        let page = Page::of(page.as_ref(), id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), id).await?;
        let (mut entries, total) = store::timeline::read(&mut tx, task.id, &page).await?;
        hide_logged_parents(&mut tx, Actor::of(principal), &mut entries).await?;
        drop(tx);
        let meta = page.meta(&mut entries, total, id, |entry| (Some(entry.logged.version.to_string()), entry.id));
        let events = entries.into_iter().map(convert::entry).collect();
        Ok(Response::new(GetTimelineResponse { events, meta: Some(meta) }))
    }

    async fn start_task(&self, request: Request<StartTaskRequest>) -> Result<Response<StartTaskResponse>, Status> {
        let mutation = Mutation::of("StartTask", &request)?;
        let task = self.change(&mutation, &request.get_ref().id, TaskAction::Start).await?;
        Ok(Response::new(StartTaskResponse { task: Some(task) }))
    }

    async fn pause_task(&self, request: Request<PauseTaskRequest>) -> Result<Response<PauseTaskResponse>, Status> {
        let mutation = Mutation::of("PauseTask", &request)?;
        let PauseTaskRequest { id, reason } = request.get_ref();
        let task = self.change(&mutation, id, TaskAction::Pause(reason.clone())).await?;
        Ok(Response::new(PauseTaskResponse { task: Some(task) }))
    }

    async fn resume_task(&self, request: Request<ResumeTaskRequest>) -> Result<Response<ResumeTaskResponse>, Status> {
        let mutation = Mutation::of("ResumeTask", &request)?;
        let task = self.change(&mutation, &request.get_ref().id, TaskAction::Resume).await?;
        Ok(Response::new(ResumeTaskResponse { task: Some(task) }))
    }

    async fn complete_task(
        &self,
        request: Request<CompleteTaskRequest>,
    ) -> Result<Response<CompleteTaskResponse>, Status> {
        let mutation = Mutation::of("CompleteTask", &request)?;
        let task = self.change(&mutation, &request.get_ref().id, TaskAction::Complete).await?;
        Ok(Response::new(CompleteTaskResponse { task: Some(task) }))
    }

    async fn cancel_task(&self, request: Request<CancelTaskRequest>) -> Result<Response<CancelTaskResponse>, Status> {
        let mutation = Mutation::of("CancelTask", &request)?;
        let CancelTaskRequest { id, reason } = request.get_ref();
        let task = self.change(&mutation, id, TaskAction::Cancel(reason.clone())).await?;
        Ok(Response::new(CancelTaskResponse { task: Some(task) }))
    }

    async fn archive_task(
        &self,
        request: Request<ArchiveTaskRequest>,
    ) -> Result<Response<ArchiveTaskResponse>, Status> {
        let mutation = Mutation::of("ArchiveTask", &request)?;
        let task = self.change(&mutation, &request.get_ref().id, TaskAction::Archive).await?;
        Ok(Response::new(ArchiveTaskResponse { task: Some(task) }))
    }

    async fn reopen_task(&self, request: Request<ReopenTaskRequest>) -> Result<Response<ReopenTaskResponse>, Status> {
        let mutation = Mutation::of("ReopenTask", &request)?;
        let ReopenTaskRequest { id, reason } = request.get_ref();
        let task = self.change(&mutation, id, TaskAction::Reopen(reason.clone())).await?;
        Ok(Response::new(ReopenTaskResponse { task: Some(task) }))
    }

    async fn skip_task(&self, request: Request<SkipTaskRequest>) -> Result<Response<SkipTaskResponse>, Status> {
        let mutation = Mutation::of("SkipTask", &request)?;
        let SkipTaskRequest { id, occurrence_at, reason } = request.get_ref();
        let at = occurrence_at.as_ref().map(|time| convert::time(time, "occurrence_at")).transpose()?;
        let audience = self.audience_of(mutation.principal(), id).await;
        let skip = |task: &mut Task, instance: &_, now| series::skip(task, instance, at, now);
        let task = self.change_series(&mutation, id, reason.as_deref(), audience, skip).await?;
        Ok(Response::new(SkipTaskResponse { task: Some(task) }))
    }

    async fn unskip_task(&self, request: Request<UnskipTaskRequest>) -> Result<Response<UnskipTaskResponse>, Status> {
        let mutation = Mutation::of("UnskipTask", &request)?;
        let UnskipTaskRequest { id, occurrence_at } = request.get_ref();
        let at = convert::time(occurrence_at.as_ref().unwrap_or(&Timestamp::default()), "occurrence_at")?;
        let unskip = |task: &mut Task, instance: &_, _| series::unskip(task, instance, at);
        let task = self.change_series(&mutation, id, None, Ok(Audience::default()), unskip).await?;
        Ok(Response::new(UnskipTaskResponse { task: Some(task) }))
    }

    async fn assign_task(&self, request: Request<AssignTaskRequest>) -> Result<Response<AssignTaskResponse>, Status> {
        let mutation = Mutation::of("AssignTask", &request)?;
        let AssignTaskRequest { id, assigned_to } = request.get_ref();
        let action = self.assignee(mutation.principal(), assigned_to).await.map(TaskAction::Assign);
        let task = self.try_change(&mutation, id, EventKind::Assigned, action).await?;
        Ok(Response::new(AssignTaskResponse { task: Some(task) }))
    }

    async fn reassign_task(
        &self,
        request: Request<ReassignTaskRequest>,
    ) -> Result<Response<ReassignTaskResponse>, Status> {
        let mutation = Mutation::of("ReassignTask", &request)?;
        let ReassignTaskRequest { id, assigned_to } = request.get_ref();
        let action = self.assignee(mutation.principal(), assigned_to).await.map(TaskAction::Reassign);
        let task = self.try_change(&mutation, id, EventKind::Reassigned, action).await?;
        Ok(Response::new(ReassignTaskResponse { task: Some(task) }))
    }

    async fn accept_task(&self, request: Request<AcceptTaskRequest>) -> Result<Response<AcceptTaskResponse>, Status> {
        let mutation = Mutation::of("AcceptTask", &request)?;
        let task = self.change(&mutation, &request.get_ref().id, TaskAction::Accept).await?;
        Ok(Response::new(AcceptTaskResponse { task: Some(task) }))
    }

    async fn reject_task(&self, request: Request<RejectTaskRequest>) -> Result<Response<RejectTaskResponse>, Status> {
        let mutation = Mutation::of("RejectTask", &request)?;
        let RejectTaskRequest { id, reason } = request.get_ref();
        let task = self.change(&mutation, id, TaskAction::Reject(reason.clone())).await?;
        Ok(Response::new(RejectTaskResponse { task: Some(task) }))
    }
}

impl Rpc {
    /// The member to assign the task to. Read before a transaction begins: no transaction waits for another service.
    async fn assignee(&self, principal: &Principal, user_id: &str) -> Result<Assignee> {
        let user_id: Uuid = user_id.parse().map_err(|_| Error::from(Reason::AssigneeInvalid))?;
        self.members.assignee(principal, user_id).await
    }
}

impl Rpc {
    /// The time zone for a rule without one: the holder's, or `None` for the account's if auth is unavailable. Read
    /// before a transaction begins.
    async fn timezone(&self, principal: &Principal, patch: &RecurrencePatch, holder: Uuid) -> Option<String> {
        if !patch.needs_timezone() {
            return None;
        }
        let own = self.directory.timezone(holder).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the holder's time zone; the rule uses the account's");
            None
        });
        Some(own.unwrap_or_else(|| principal.membership.settings.timezone.clone()))
    }

    /// The time zone for a rule of an existing task.
    async fn timezone_of_task(
        &self,
        principal: &Principal,
        patch: &RecurrencePatch,
        id: &str,
    ) -> Result<Option<String>> {
        if !patch.needs_timezone() {
            return Ok(None);
        }
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, Actor::of(principal), id).await?;
        drop(tx);
        Ok(self.timezone(principal, patch, task.worker()).await)
    }
}
