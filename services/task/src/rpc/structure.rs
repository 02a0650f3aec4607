//! Dependency and subtask RPCs.

use baton_access::principal;
use baton_errors::{Error, Result};
use baton_proto::baton::task::v1::{
    AddDependencyRequest, AddDependencyResponse, ListDependenciesRequest, ListDependenciesResponse,
    ListSubtasksRequest, ListSubtasksResponse, RemoveDependencyRequest, RemoveDependencyResponse, TaskDependencies,
    structure_service_server::StructureService,
};
use baton_store::ReadTx;
use tonic::{Request, Response, Status};

use super::{
    Rpc,
    list::TaskPage,
    lookup::{get, parent_of},
    mutation::Mutation,
};
use crate::{
    convert,
    events::publish::dependency as events,
    policy::visibility::Actor,
    query::filter::Scope,
    store,
    task::{Task, fields::id},
};

#[tonic::async_trait]
impl StructureService for Rpc {
    async fn list_dependencies(
        &self,
        request: Request<ListDependenciesRequest>,
    ) -> Result<Response<ListDependenciesResponse>, Status> {
        let principal = principal(&request)?;
        let actor = Actor::of(principal);
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let task = get(&mut tx, actor, &request.get_ref().id).await?;
        let dependencies = dependencies(&mut tx, actor, &task).await?;
        drop(tx);
        Ok(Response::new(ListDependenciesResponse { dependencies: Some(dependencies) }))
    }

    async fn add_dependency(
        &self,
        request: Request<AddDependencyRequest>,
    ) -> Result<Response<AddDependencyResponse>, Status> {
        let mutation = Mutation::of("AddDependency", &request)?;
        let AddDependencyRequest { id: task_id, blocked_by } = request.get_ref();
        let mut tx = self.db.begin(mutation.principal().tenant()).await?;
        if let Some(dependencies) = tx.replay(mutation.idempotency()).await? {
            return Ok(Response::new(AddDependencyResponse { dependencies: Some(dependencies) }));
        }
        store::dependency::lock(&mut tx).await?;
        let task = get(&mut tx, mutation.actor(), task_id).await?;
        mutation.actor().can_change(&task)?;
        let blocker = parent_of(&mut tx, mutation.actor(), id(blocked_by, "blocked_by")?, "blocked_by").await?;
        if blocker.id == task.id {
            return Err(Error::invalid("blocked_by", "must not be the task itself").into());
        }
        if store::dependency::add(&mut tx, task.id, blocker.id).await? {
            tx.publish(events::dependency(&task, blocker.id, true)).await?;
        }
        let dependencies = dependencies(&mut tx, mutation.actor(), &task).await?;
        tx.remember(mutation.idempotency(), &dependencies).await?;
        tx.commit().await?;
        Ok(Response::new(AddDependencyResponse { dependencies: Some(dependencies) }))
    }

    async fn remove_dependency(
        &self,
        request: Request<RemoveDependencyRequest>,
    ) -> Result<Response<RemoveDependencyResponse>, Status> {
        let principal = principal(&request)?;
        let actor = Actor::of(principal);
        let RemoveDependencyRequest { id: task_id, blocked_by } = request.get_ref();
        let blocked_by = id(blocked_by, "blocked_by")?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let task = get(&mut tx, actor, task_id).await?;
        actor.can_change(&task)?;
        let unblocked = store::dependency::lock_unblocked(&mut tx, &[blocked_by]).await?;
        let was_open = store::task::get(&mut tx, blocked_by).await?.is_some_and(|blocker| blocker.is_open());
        store::dependency::remove(&mut tx, task.id, blocked_by).await?;
        tx.publish(events::dependency(&task, blocked_by, false)).await?;
        if let Some(task) = unblocked.iter().find(|it| was_open && it.id == task.id) {
            tx.publish(events::unblocked(task)).await?;
        }
        tx.commit().await?;
        Ok(Response::new(RemoveDependencyResponse {}))
    }

    async fn list_subtasks(
        &self,
        request: Request<ListSubtasksRequest>,
    ) -> Result<Response<ListSubtasksResponse>, Status> {
        let principal = principal(&request)?.clone();
        let ListSubtasksRequest { id, filter, page } = request.into_inner();
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let parent = get(&mut tx, Actor::of(&principal), &id).await?;
        drop(tx);
        let mut filter = filter.unwrap_or_default();
        filter.parent_task_id = Some(parent.id.to_string());
        let TaskPage { tasks, meta } = self.list(&principal, Scope::Visible, Some(filter), page).await?;
        Ok(Response::new(ListSubtasksResponse { tasks, meta: Some(meta) }))
    }
}

async fn dependencies(tx: &mut ReadTx, actor: Actor<'_>, task: &Task) -> Result<TaskDependencies> {
    let linked = store::dependency::linked(tx, task.id).await?;
    Ok(convert::dependency::dependencies(task, linked, actor, tx.db().clock().now()))
}
