//! Tasks, their work and their hands.

use baton_access::{Principal, principal};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::task::v1::{
    AcceptTaskRequest, AcceptTaskResponse, AssignTaskRequest, AssignTaskResponse, CompleteTaskRequest,
    CompleteTaskResponse, CreateTaskRequest, CreateTaskResponse, DeleteTaskRequest, DeleteTaskResponse, GetTaskRequest,
    GetTaskResponse, GetTimelineRequest, GetTimelineResponse, ListTasksRequest, ListTasksResponse, PauseTaskRequest,
    PauseTaskResponse, ReassignTaskRequest, ReassignTaskResponse, RejectTaskRequest, RejectTaskResponse,
    ResumeTaskRequest, ResumeTaskResponse, StartTaskRequest, StartTaskResponse, UpdateTaskRequest, UpdateTaskResponse,
    task_service_server::TaskService,
};
use baton_store::{Page, Tx};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Rpc,
    change::{Change, closed, get, lock, parent_of, save},
    list::Listed,
};
use crate::{
    assignment::{self, Member},
    convert,
    events::{self, Kind},
    fields::{self, Fields},
    filter::Scope,
    store,
    task::Task,
    visibility::Who,
};

#[tonic::async_trait]
impl TaskService for Rpc {
    async fn create_task(&self, request: Request<CreateTaskRequest>) -> Result<Response<CreateTaskResponse>, Status> {
        let change = Change::of("CreateTask", &request)?;
        let (who, clock) = (change.who(), self.db.clock());
        let message = request.get_ref().clone();
        let assignee = match &message.assigned_to {
            // A failure counts only once it is known that this is no repetition.
            Some(id) => Some(self.assignee(change.principal(), id).await),
            None => None,
        };
        let now = clock.now();
        let account_id = change.principal().account_id();
        let fields = Fields::new(message, convert::default_visibility(&who.membership.settings))?;
        let task = Task::new(clock.new_id(), account_id, who.id, fields, now);
        let assign = |task: &mut Task| match assignee {
            Some(assignee) => assignment::assign_new(task, who, assignee?, now),
            None => Ok(()),
        };
        let task = self.create(&change, task, assign).await?;
        Ok(Response::new(CreateTaskResponse { task: Some(task) }))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<GetTaskResponse>, Status> {
        let principal = principal(&request)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, Who::of(principal), &request.get_ref().id).await?;
        tx.commit().await?;
        Ok(Response::new(GetTaskResponse { task: Some(convert::task(task, self.db.clock().now())) }))
    }

    async fn update_task(&self, request: Request<UpdateTaskRequest>) -> Result<Response<UpdateTaskResponse>, Status> {
        let change = Change::of("UpdateTask", &request)?;
        let UpdateTaskRequest { id, task: new, update_mask } = request.get_ref().clone();
        let mask = update_mask.unwrap_or_default().paths;
        let mut tx = self.db.begin(change.principal().tenant()).await?;
        if mask.iter().any(|path| path == "parent_task_id") {
            store::task::lock_hierarchy(&mut tx).await?;
        }
        let before = lock(&mut tx, &change, &id).await?;
        change.who().may_change(&before)?;
        let mut after = before.clone();
        after.fields.change(&mask, new.unwrap_or_default())?;
        if after.fields.parent_task_id != before.fields.parent_task_id {
            may_be_part_of(&mut tx, change.who(), &after).await?;
        }
        let task = save(&mut tx, &before, after, Kind::Updated, None).await?;
        tx.commit().await?;
        Ok(Response::new(UpdateTaskResponse { task: Some(task) }))
    }

    async fn delete_task(&self, request: Request<DeleteTaskRequest>) -> Result<Response<DeleteTaskResponse>, Status> {
        let change = Change::of("DeleteTask", &request)?;
        let mut tx = self.db.begin(change.principal().tenant()).await?;
        let before = lock(&mut tx, &change, &request.get_ref().id).await?;
        change.who().may_delete(&before)?;
        let after = Task { version: before.version + 1, updated_at: self.db.clock().now(), ..before.clone() };
        store::task::delete(&mut tx, &after).await?;
        store::timeline::append(&mut tx, &after, Kind::Deleted, &serde_json::Map::new(), None).await?;
        tx.publish(events::task(Kind::Deleted, Some(&before), &after, Vec::new())).await?;
        if before.is_open() {
            closed(&mut tx, &before).await?;
        }
        tx.commit().await?;
        Ok(Response::new(DeleteTaskResponse {}))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let principal = principal(&request)?.clone();
        let ListTasksRequest { filter, page } = request.into_inner();
        let Listed { tasks, meta, .. } = self.list(&principal, Scope::Visible, filter, page).await?;
        Ok(Response::new(ListTasksResponse { tasks, meta: Some(meta) }))
    }

    async fn get_timeline(
        &self,
        request: Request<GetTimelineRequest>,
    ) -> Result<Response<GetTimelineResponse>, Status> {
        let principal = principal(&request)?;
        let GetTimelineRequest { id, page } = request.get_ref();
        let page = Page::of(page.as_ref(), id)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, Who::of(principal), id).await?;
        let (mut entries, total) = store::timeline::read(&mut tx, task.id, &page).await?;
        tx.commit().await?;
        let meta = page.meta(&mut entries, total, id, |entry| (Some(entry.version.to_string()), entry.id));
        let events = entries.into_iter().map(convert::entry).collect();
        Ok(Response::new(GetTimelineResponse { events, meta: Some(meta) }))
    }

    async fn start_task(&self, request: Request<StartTaskRequest>) -> Result<Response<StartTaskResponse>, Status> {
        let change = Change::of("StartTask", &request)?;
        let start = |task: &mut Task, who: Who<'_>, now| {
            who.may_work_on(task)?;
            task.start(now)
        };
        let task = self.change(&change, &request.get_ref().id, Kind::Started, None, start).await?;
        Ok(Response::new(StartTaskResponse { task: Some(task) }))
    }

    async fn pause_task(&self, request: Request<PauseTaskRequest>) -> Result<Response<PauseTaskResponse>, Status> {
        let change = Change::of("PauseTask", &request)?;
        let PauseTaskRequest { id, reason } = request.get_ref();
        let pause = |task: &mut Task, who: Who<'_>, now| {
            who.may_work_on(task)?;
            task.pause(fields::text(reason.clone(), "reason")?, now)
        };
        let task = self.change(&change, id, Kind::Paused, Some(reason), pause).await?;
        Ok(Response::new(PauseTaskResponse { task: Some(task) }))
    }

    async fn resume_task(&self, request: Request<ResumeTaskRequest>) -> Result<Response<ResumeTaskResponse>, Status> {
        let change = Change::of("ResumeTask", &request)?;
        let resume = |task: &mut Task, who: Who<'_>, now| {
            who.may_work_on(task)?;
            task.resume(now)
        };
        let task = self.change(&change, &request.get_ref().id, Kind::Resumed, None, resume).await?;
        Ok(Response::new(ResumeTaskResponse { task: Some(task) }))
    }

    async fn complete_task(
        &self,
        request: Request<CompleteTaskRequest>,
    ) -> Result<Response<CompleteTaskResponse>, Status> {
        let change = Change::of("CompleteTask", &request)?;
        let complete = |task: &mut Task, who: Who<'_>, now| {
            who.may_work_on(task)?;
            task.complete(now)
        };
        let task = self.change(&change, &request.get_ref().id, Kind::Completed, None, complete).await?;
        Ok(Response::new(CompleteTaskResponse { task: Some(task) }))
    }

    async fn assign_task(&self, request: Request<AssignTaskRequest>) -> Result<Response<AssignTaskResponse>, Status> {
        let change = Change::of("AssignTask", &request)?;
        let AssignTaskRequest { id, assigned_to } = request.get_ref();
        let assignee = self.assignee(change.principal(), assigned_to).await;
        let assign = |task: &mut Task, who: Who<'_>, now| assignment::assign(task, who, assignee?, now);
        let task = self.change(&change, id, Kind::Assigned, None, assign).await?;
        Ok(Response::new(AssignTaskResponse { task: Some(task) }))
    }

    async fn reassign_task(
        &self,
        request: Request<ReassignTaskRequest>,
    ) -> Result<Response<ReassignTaskResponse>, Status> {
        let change = Change::of("ReassignTask", &request)?;
        let ReassignTaskRequest { id, assigned_to } = request.get_ref();
        let assignee = self.assignee(change.principal(), assigned_to).await;
        let reassign = |task: &mut Task, who: Who<'_>, now| assignment::reassign(task, who, assignee?, now);
        let task = self.change(&change, id, Kind::Reassigned, None, reassign).await?;
        Ok(Response::new(ReassignTaskResponse { task: Some(task) }))
    }

    async fn accept_task(&self, request: Request<AcceptTaskRequest>) -> Result<Response<AcceptTaskResponse>, Status> {
        let change = Change::of("AcceptTask", &request)?;
        let task = self.change(&change, &request.get_ref().id, Kind::Accepted, None, assignment::accept).await?;
        Ok(Response::new(AcceptTaskResponse { task: Some(task) }))
    }

    async fn reject_task(&self, request: Request<RejectTaskRequest>) -> Result<Response<RejectTaskResponse>, Status> {
        let change = Change::of("RejectTask", &request)?;
        let RejectTaskRequest { id, reason } = request.get_ref();
        let reject = |task: &mut Task, who: Who<'_>, now| {
            reason.clone().map(|reason| fields::text(reason, "reason")).transpose()?;
            assignment::reject(task, who, now)
        };
        let task = self.change(&change, id, Kind::Rejected, reason.as_deref(), reject).await?;
        Ok(Response::new(RejectTaskResponse { task: Some(task) }))
    }
}

impl Rpc {
    /// The member to hand a task to. Asked before a transaction begins: none waits for another service.
    async fn assignee(&self, principal: &Principal, user_id: &str) -> Result<Member> {
        let user_id: Uuid = user_id.parse().map_err(|_| Error::from(Reason::AssigneeInvalid))?;
        self.members.assignee(principal, user_id).await
    }
}

/// Whether the task may be a part of the one that it names: one that the caller sees, and no part of it.
async fn may_be_part_of(tx: &mut Tx, who: Who<'_>, task: &Task) -> Result<()> {
    let Some(parent) = task.fields.parent_task_id else { return Ok(()) };
    parent_of(tx, who, parent, "task.parent_task_id").await?;
    if store::task::is_part_of(tx, parent, task.id).await? {
        return Err(Error::invalid("task.parent_task_id", "is the task itself or a part of it"));
    }
    Ok(())
}
